"""Gray pictures as PNG data URIs, for a page without other files."""

from __future__ import annotations

import base64
import io

import numpy as np

from dpuflow.ir.graph import Array


def png_uri(gray: Array) -> str:
    """A ``data:`` URI of a uint8 picture (H, W), losslessly as PNG."""
    from PIL import Image  # comes with matplotlib

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(gray, dtype=np.uint8)).save(stream, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def contact_sheet(pictures: Array, columns: int, gap: int = 2) -> Array:
    """Pictures (N, H, W) side by side on white, ``columns`` to a row, as one uint8 picture."""
    count, height, width = pictures.shape
    columns = max(min(columns, count), 1)
    rows = -(-count // columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap), 255, np.uint8)
    for index, picture in enumerate(pictures):
        top, left = gap + index // columns * (height + gap), gap + index % columns * (width + gap)
        sheet[top:top + height, left:left + width] = picture
    return sheet
