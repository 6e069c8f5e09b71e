"""Pen strokes of the Chars74K handwriting drawn as pictures.

Points lie on an 800 x 600 page: scaled by 1.5 onto 1200 x 900, drawn with a round pen of 36 px in
black on white, box-downscaled to 120 x 90 (data specification, "Strokes").
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dpuflow.data.classes import LABELS
from dpuflow.data.pictures import Item
from dpuflow.errors import DataError
from dpuflow.ir.graph import Array

PAGE_WIDTH, PAGE_HEIGHT = 1200, 900
PEN = 36
REDUCTION = 10


def render_strokes(text: bytes, where: Path) -> Iterator[Item]:
    """The pictures of ``{character: [sample][stroke][[x, y], ...]}``, uint8 (90, 120), in class order.

    The group of a sample is its writer, the number of the sample. DataError if the text is no such thing.
    """
    try:
        table = json.loads(text)
        for label, character in enumerate(LABELS):
            for writer, strokes in enumerate(table[character]):
                yield Item(draw(strokes), label, f"hnd/Sample{label + 1:03d}/{writer + 1:03d}", f"hnd:{writer + 1:03d}")
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"not a table of pen strokes ({type(error).__name__}: {error})", where=where,
                        expected="{character: [sample][stroke][[x, y], ...]}", remedy="copy the file again") from None


def draw(strokes: Any) -> Array:
    """One character from its strokes, lists of points on the 800 x 600 page; uint8 (90, 120)."""
    import cv2

    page = np.full((PAGE_HEIGHT, PAGE_WIDTH), 255, np.uint8)
    for stroke in strokes:
        # Three halves of a whole number need no rounding beyond a half pixel: add, then halve.
        points = (np.array(stroke, dtype=np.int32).reshape(-1, 2) * 3 + 1) // 2
        cv2.polylines(page, [points], False, 0, PEN)
        for x, y in points[[0, -1]].tolist():
            cv2.circle(page, (x, y), PEN // 2, 0, cv2.FILLED)
    size = (PAGE_WIDTH // REDUCTION, PAGE_HEIGHT // REDUCTION)
    return np.asarray(cv2.resize(page, size, interpolation=cv2.INTER_AREA))
