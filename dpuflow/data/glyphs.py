"""Font glyphs that look like those of Chars74K Fnt, drawn from font files.

Each glyph is drawn large, black on white; its tight ink box is scaled so that the longer side is 96
and pasted in the middle of 128 x 128 (data specification, "Font glyphs"). Faces with blank or
missing glyphs, and faces whose a and b or A and B are equal, are rejected. A family with fewer than
four faces is filled to four with synthetic slant and weight.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TypeVar

import numpy as np

from dpuedge.image import resize
from dpuflow.data.classes import LABELS
from dpuflow.data.fonts import Face, FontFile, find_faces
from dpuflow.data.pictures import Item, Pictures, gather
from dpuflow.errors import DataError
from dpuflow.ir.graph import Array

EM = 220
SIDE, BOX = 128, 96
VARIANTS = 4
MAX_FACES = 8  # of one family: a family of seventy optical sizes teaches little more
SLANT_DEGREES = 12.0
INK = 128  # darker than this is ink
MISSING = "\uffff"

T = TypeVar("T")
Progress = Callable[[Sequence[Face]], Iterable[Face]]


def glyph_pictures(files: Iterable[FontFile], max_faces: int = MAX_FACES,
                   progress: Progress = lambda faces: faces) -> Pictures:
    """Glyphs of all usable faces of some font files: uint8 (128, 128), the family as the group.

    DataError if no face can be used.
    """
    pictures = gather(_all_glyphs(find_faces(files), max_faces, progress))
    if not len(pictures):
        raise DataError("no usable font found",
                        expected=".ttf or .otf files with all 62 characters",
                        remedy="install the train extra, or give folders that hold fonts")
    return pictures


def _all_glyphs(faces: Sequence[Face], max_faces: int, progress: Progress) -> Iterator[Item]:
    chosen = [face for _, group in groupby(faces, key=lambda face: face.family)
              for face in spread(list(group), max_faces)]
    drawn = ((face, draw_face(face)) for face in progress(chosen))
    usable = ((face, glyphs) for face, glyphs in drawn if glyphs is not None)
    for family, group in groupby(usable, key=lambda pair: pair[0].family):
        for number, (name, glyphs) in enumerate(fill_variants([(face.name, glyphs) for face, glyphs in group])):
            for label, glyph in enumerate(glyphs):
                place = f"glyphs/Sample{label + 1:03d}/{family}-{number:02d} ({name})"
                yield Item(boxed(glyph), label, place, f"font:{family}")


def spread(items: list[T], count: int) -> list[T]:
    """At most ``count`` of a list, evenly spread over it."""
    if len(items) <= count:
        return items
    return [items[index * len(items) // count] for index in range(count)]


def draw_face(face: Face) -> list[Array] | None:
    """Ink masks of the 62 characters (uint8, 255 = ink, tight), or None if the face is not usable."""
    from PIL import ImageFont

    try:
        font = ImageFont.truetype(io.BytesIO(face.file.data), EM, index=face.index,
                                  layout_engine=ImageFont.Layout.BASIC)
        missing = _mask(font, MISSING)
        masks = [_mask(font, character) for character in LABELS]
    except (OSError, ValueError, MemoryError):
        return None
    glyphs = [mask for mask in masks if mask is not None]
    if len(glyphs) < len(LABELS) or any(_same_shape(glyph, missing) for glyph in glyphs):
        return None
    upper, lower = LABELS.index("A"), LABELS.index("a")
    if _equal(glyphs[upper], glyphs[upper + 1]) or _equal(glyphs[lower], glyphs[lower + 1]):
        return None
    return None if _is_unicase(glyphs) else glyphs


def _is_unicase(glyphs: Sequence[Array]) -> bool:
    """Whether small letters are drawn as capitals, so that they cannot be told apart in the box."""
    different = 0
    for letter in "abdeghnqrt":
        small, capital = (boxed(glyphs[LABELS.index(x)]) for x in (letter, letter.upper()))
        apart = np.count_nonzero((small < INK) != (capital < INK))
        different += int(apart > 0.3 * np.count_nonzero(small < INK))
    return different < 5


def _mask(font: object, character: str) -> Array | None:
    """The tight ink mask of one character, or None if it is blank or unreasonably large."""
    core = font.getmask(character, mode="L")  # type: ignore[attr-defined]
    width, height = core.size
    if not 0 < width <= 8 * EM or not 0 < height <= 8 * EM:
        return None
    return tight(np.array(core, dtype=np.uint8).reshape(height, width))


def _equal(one: Array, other: Array | None) -> bool:
    return other is not None and one.shape == other.shape and bool((one == other).all())


def _same_shape(one: Array, other: Array | None) -> bool:
    """Whether two masks agree but for a twentieth of their ink: hinting moves the edges of equal outlines."""
    if other is None or abs(one.shape[0] - other.shape[0]) + abs(one.shape[1] - other.shape[1]) > EM // 20:
        return False
    ink, other_ink = boxed(one) < INK, boxed(other) < INK
    return bool(np.count_nonzero(ink != other_ink) * 20 <= np.count_nonzero(ink))


def tight(mask: Array) -> Array | None:
    """The part of a mask that holds ink, or None if there is none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    return mask[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]


def fill_variants(faces: list[tuple[str, list[Array]]]) -> list[tuple[str, list[Array]]]:
    """A family's faces, filled to four with slanted, emboldened and both."""
    filled = list(faces)
    name, base = faces[0]
    synthetic: tuple[tuple[str, Callable[[Array], Array]], ...] = (
        ("bold", embolden), ("slanted", slant), ("bold slanted", lambda mask: slant(embolden(mask))),
    )
    for style, change in synthetic:
        if len(filled) < VARIANTS:
            filled.append((f"{name}, synthetic {style}", [change(mask) for mask in base]))
    return filled


def slant(mask: Array) -> Array:
    """A mask sheared by 12 degrees to the right."""
    import cv2

    height, width = mask.shape
    shear = math.tan(math.radians(SLANT_DEGREES))
    moved = cv2.warpAffine(mask, np.array([[1, -shear, shear * height], [0, 1, 0]], dtype=np.float64),
                           (width + math.ceil(shear * height) + 1, height))
    found = tight(np.asarray(moved))
    return mask if found is None else found


def embolden(mask: Array) -> Array:
    """A mask whose strokes are an em / 24 wider."""
    import cv2

    grow = EM // 48
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1, 2 * grow + 1))
    return np.asarray(cv2.dilate(np.pad(mask, grow), kernel))


def boxed(mask: Array) -> Array:
    """Black ink on white, uint8 (128, 128), the longer side of the ink 96, centred."""
    height, width = mask.shape
    longer = max(height, width)
    # The shorter side to the nearest pixel, in integers.
    new = [max((2 * side * BOX + longer) // (2 * longer), 1) for side in (height, width)]
    ink = resize(mask, new[0], new[1])
    canvas = np.full((SIDE, SIDE), 255, np.uint8)
    top, left = (SIDE - new[0]) // 2, (SIDE - new[1]) // 2
    canvas[top:top + new[0], left:left + new[1]] = 255 - ink
    return canvas
