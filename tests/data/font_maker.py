"""Small font files made on the spot: every character a different set of boxes."""

from __future__ import annotations

import io

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from dpuflow.data.classes import LABELS
from dpuflow.data.fonts import FontFile


def _glyph(number: int, same_case: bool, blank: bool, weight: int = 100) -> object:
    pen = TTGlyphPen(None)
    boxes = [] if blank else [(0, 0, weight, 700), (weight, 0, 400, weight)]
    shape = (number - 36 + 10 if same_case and number >= 36 else number) + 1
    for bit in range(6):
        if shape >> bit & 1 and not blank:
            boxes.append((150 + 90 * (bit % 3), 200 + 250 * (bit // 3), 230 + 90 * (bit % 3), 400 + 250 * (bit // 3)))
    for left, bottom, right, top in boxes:
        pen.moveTo((left, bottom))
        for point in ((left, top), (right, top), (right, bottom)):
            pen.lineTo(point)
        pen.closePath()
    return pen.glyph()


def make_font(family: str, style: str = "Regular", characters: str = "".join(LABELS), same_case: bool = False,
              blank: str = "", missing: str = "", weight: int = 100) -> FontFile:
    """A TrueType font; ``blank`` characters have no outline, ``missing`` ones the outline of .notdef.

    Fonts of different ``weight`` share no glyph.
    """
    names = [".notdef", *(f"g{ord(character)}" for character in characters)]
    notdef = _glyph(63, False, False, weight)
    glyphs = {".notdef": notdef}
    for character in characters:
        number = LABELS.index(character)
        glyphs[f"g{ord(character)}"] = notdef if character in missing else _glyph(
            number, same_case, character in blank, weight)
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(character): f"g{ord(character)}" for character in characters})
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(names, (600, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": style})
    builder.setupOS2()
    builder.setupPost()
    stream = io.BytesIO()
    builder.save(stream)
    return FontFile(f"{family}-{style}.ttf", stream.getvalue())
