"""Captchas of the set's look, drawn on the spot, for machines without the set and for tests.

Data specification, "Captcha look": a background that brightens to the right, five bold glyphs that
touch, sharp at the left and torn row by row over a dark halo at the right, and one tapering curve
through them. Never for a reported accuracy.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from dpuflow.data.captcha import HEIGHT, WIDTH, Alphabet, Captchas
from dpuflow.data.fonts import Face, FontFile, find_faces
from dpuflow.errors import DataError
from dpuflow.ir.graph import Array

COMMON = "n"  # drawn twice as often as each of the others
_BASELINE = 43
_TEXT_LEFT, _ADVANCE = 22.0, 22.0
_CURVE_LEFT, _CURVE_RIGHT = 19, 181
_TEAR = 2.5  # pixels by which rows are moved at the right end of the text
_FINE = 8  # fractions of a pixel, for drawing lines


def draw_captchas(count: int, seed: int, files: Iterable[FontFile], alphabet: Alphabet | None = None) -> Captchas:
    """``count`` drawn captchas with different words; the same for the same seed and fonts.

    DataError when no font can be used, or when there are not so many words.
    """
    alphabet = alphabet or Alphabet()
    faces = bold_faces(find_faces(files))
    if not faces:
        raise DataError("no usable font found", expected=".ttf or .otf files with letters and digits",
                        remedy="install the train extra")
    rng = np.random.default_rng(seed)
    words = draw_words(count, rng, alphabet)
    images = [draw_captcha(word, faces[int(rng.integers(len(faces)))], rng) for word in words]
    return Captchas(images, tuple(words), tuple(f"drawn/{word}.png" for word in words))


def bold_faces(faces: Sequence[Face]) -> list[Face]:
    """The bold upright faces, those without serifs if there are such; all faces if none is bold."""
    bold = [face for face in faces if "bold" in face.name.lower() and not _leans(face)]
    plain = [face for face in bold if "serif" not in face.name.lower()]
    return plain or bold or list(faces)


def _leans(face: Face) -> bool:
    return any(word in face.name.lower() for word in ("italic", "oblique", "mono"))


def draw_words(count: int, rng: np.random.Generator, alphabet: Alphabet) -> list[str]:
    """Different words of the alphabet, ``n`` twice as frequent as the other symbols."""
    if count > len(alphabet.symbols) ** alphabet.length // 2:
        raise DataError("there are not so many different words", got=count,
                        expected=f"at most {len(alphabet.symbols) ** alphabet.length // 2}")
    weights = np.array([2.0 if symbol == COMMON else 1.0 for symbol in alphabet.symbols])
    words: dict[str, None] = {}
    while len(words) < count:
        words.setdefault(alphabet.decode(rng.choice(len(weights), alphabet.length, p=weights / weights.sum()).tolist()))
    return list(words)


def draw_captcha(word: str, face: Face, rng: np.random.Generator) -> Array:
    """One captcha, gray uint8 (50, 200)."""
    import cv2

    ink = _torn(_text_ink(word, face, rng), rng)
    growing = np.linspace(0, 1, WIDTH, dtype=np.float32)[None, :] ** 1.5
    halo = cv2.GaussianBlur(ink, (0, 0), 1.6) * growing * np.float32(0.6)
    ink = np.maximum(np.maximum(ink, halo), curve_ink(rng))
    ground = 192 + 56 * np.minimum(np.arange(WIDTH, dtype=np.float32) / 180, 1)
    return np.asarray(np.clip(ground[None, :] * (1 - ink) + np.float32(0.5), 0, 255), dtype=np.uint8)


def _text_ink(word: str, face: Face, rng: np.random.Generator) -> Array:
    """The glyphs' coverage, float32 (50, 200) in 0..1."""
    from PIL import ImageFont

    size = int(rng.integers(36, 41))
    font = ImageFont.truetype(io.BytesIO(face.file.data), size, index=face.index,
                              layout_engine=ImageFont.Layout.BASIC)
    ink = np.zeros((HEIGHT, WIDTH), np.float32)
    left = _TEXT_LEFT + rng.uniform(-2, 2)
    for symbol in word:
        _paste(ink, font, symbol, left)
        left += _ADVANCE + rng.uniform(-2, 2)
    return ink


def _paste(ink: Array, font: object, symbol: str, left: float) -> None:
    """Add one glyph about ``left``, on the baseline, what lies outside cut off."""
    box = font.getbbox(symbol, anchor="ls")  # type: ignore[attr-defined]
    mask, _ = font.getmask2(symbol, mode="L", anchor="ls")  # type: ignore[attr-defined]
    width, height = mask.size
    if not width or not height:
        return
    glyph = np.array(mask, dtype=np.float32).reshape(height, width) / np.float32(255)
    x, y = int(left + (_ADVANCE - width) / 2), _BASELINE + box[1]
    rows, columns = slice(max(y, 0), min(y + height, HEIGHT)), slice(max(x, 0), min(x + width, WIDTH))
    part = glyph[rows.start - y:max(rows.stop, 0) - y, columns.start - x:columns.stop - x]
    if part.size:
        ink[rows, columns] = np.maximum(ink[rows, columns], part)


def _torn(ink: Array, rng: np.random.Generator) -> Array:
    """Rows moved against each other, more so to the right."""
    import cv2

    moves = rng.uniform(-_TEAR, _TEAR, (HEIGHT, 1)).astype(np.float32)
    across = np.arange(WIDTH, dtype=np.float32)[None, :]
    grows = np.clip((across - _TEXT_LEFT) / (5 * _ADVANCE), 0, 1)
    down = np.repeat(np.arange(HEIGHT, dtype=np.float32)[:, None], WIDTH, axis=1)
    return np.asarray(cv2.remap(ink, across + moves * grows, down, cv2.INTER_LINEAR), dtype=np.float32)


def curve_ink(rng: np.random.Generator) -> Array:
    """One curve through the text with a hook at its left end, thick there and thin at the right."""
    import cv2

    ink = np.zeros((HEIGHT, WIDTH), np.uint8)
    heights = np.clip(rng.uniform(8, 32) + np.cumsum(rng.normal(0, 6, 6)), 3, HEIGHT - 6)
    knots = np.stack([np.linspace(_CURVE_LEFT, _CURVE_RIGHT, 6), heights], axis=1)
    points = catmull_rom(knots, 24)
    hook = knots[0] + rng.uniform((2, -14), (14, 14))
    cv2.line(ink, _fine(knots[0]), _fine(hook), 255, 2, cv2.LINE_AA, shift=3)
    for at, (start, end) in enumerate(itertools.pairwise(points)):
        thick = 2 if at < len(points) // 3 else 1
        cv2.line(ink, _fine(start), _fine(end), 255, thick, cv2.LINE_AA, shift=3)
    return np.asarray(ink.astype(np.float32) / np.float32(255))


def _fine(point: Array) -> tuple[int, int]:
    return int(point[0] * _FINE), int(point[1] * _FINE)


def catmull_rom(knots: Array, pieces: int) -> Array:
    """Points of the Catmull-Rom curve through ``knots`` (K, 2), ``pieces`` from each knot to the next."""
    padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    t = (np.arange(pieces) / pieces)[:, None]
    parts = []
    for a, b, c, d in zip(padded[:-3], padded[1:-2], padded[2:-1], padded[3:], strict=True):
        parts.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.concatenate([*parts, knots[-1:]])
