"""Resizing: nearest and bilinear, with TensorFlow's three conventions for coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.errors import GraphError
from dpuflow.ir.graph import Array, Fix, Shape
from dpuflow.ops.base import Case, Fixed, OpDef


@dataclass(frozen=True)
class ResizeAttrs:
    """The new (height, width) and where a new pixel lies in the old map.

    Plain: i * old / new. ``align_corners``: i * (old - 1) / (new - 1). ``half_pixel``: (i + 1/2) * old / new - 1/2.
    """

    size: tuple[int, int]
    align_corners: bool = False
    half_pixel: bool = False


def infer_resize(shapes: Sequence[Shape], attrs: ResizeAttrs) -> Shape:
    """NHWC to NHWC of the new size."""
    (x,) = shapes
    if len(x) != 4:
        raise GraphError("resizing takes a 4-D map", got=x)
    if min(attrs.size) < 1 or attrs.size[0] * attrs.size[1] > 1 << 24:
        raise GraphError("impossible size", got=attrs.size, expected="at least one pixel, at most 16 million")
    return (x[0], *attrs.size, x[3])


def _scale(old: int, new: int, attrs: ResizeAttrs) -> Any:
    if attrs.align_corners and new > 1:
        return np.float32(old - 1) / np.float32(new - 1)
    return np.float32(old) / np.float32(new)


def _nearest_index(old: int, new: int, attrs: ResizeAttrs) -> list[int]:
    """The old pixel of each new one."""
    scale = _scale(old, new, attrs)
    offset = np.float32(0.5 if attrs.half_pixel else 0)
    # Aligned corners round half away from zero, as C's roundf does.
    add = 0.5 if attrs.align_corners else 0.0
    places = (math.floor(float((np.float32(at) + offset) * scale) + add) for at in range(new))
    return [min(max(place, 0), old - 1) for place in places]


def repetition(old: tuple[int, int], attrs: ResizeAttrs) -> tuple[int, int] | None:
    """How often a nearest resize repeats every pixel down and across; None if it does anything else.

    >>> repetition((2, 3), ResizeAttrs((4, 9))), repetition((2, 3), ResizeAttrs((3, 9)))
    ((2, 3), None)
    """
    factors = [new // size for size, new in zip(old, attrs.size, strict=True)]
    for size, new, factor in zip(old, attrs.size, factors, strict=True):
        if factor < 1 or _nearest_index(size, new, attrs) != [at // factor for at in range(new)]:
            return None
    return factors[0], factors[1]


def _weights(old: int, new: int, attrs: ResizeAttrs) -> tuple[list[int], list[int], Array]:
    """For each new pixel the old ones below and above, and how far it lies between them."""
    scale = _scale(old, new, attrs)
    half = np.float32(0.5 if attrs.half_pixel else 0)
    below, above, part = [], [], []
    for at in range(new):
        place = (np.float32(at) + half) * scale - half
        floor = math.floor(place)
        below.append(max(floor, 0))
        above.append(min(floor + 1, old - 1))
        part.append(place - np.float32(floor))
    return below, above, np.array(part, np.float32)


def _float_nearest(operands: Sequence[Array], attrs: ResizeAttrs) -> Array:
    (x,) = operands
    rows, columns = (_nearest_index(old, new, attrs) for old, new in zip(x.shape[1:3], attrs.size, strict=True))
    return np.asarray(x[:, rows][:, :, columns])


def _float_bilinear(operands: Sequence[Array], attrs: ResizeAttrs) -> Array:
    """Across first, then down, in float32."""
    (x,) = operands
    top, bottom, down = _weights(x.shape[1], attrs.size[0], attrs)
    left, right, across = _weights(x.shape[2], attrs.size[1], attrs)
    across, down = across[None, None, :, None], down[None, :, None, None]

    def row(index: list[int]) -> Array:
        taken = x[:, index]
        return np.asarray(taken[:, :, left] + (taken[:, :, right] - taken[:, :, left]) * across)

    above, below = row(top), row(bottom)
    return np.asarray(above + (below - above) * down, np.float32)


def _fixed_nearest(operands: Sequence[Fixed], attrs: ResizeAttrs, out: Fix) -> Array:
    """Byte copies (arithmetic specification, section 7.3)."""
    (x,) = operands
    values = _float_nearest([x.values], attrs)
    if x.pos == out.pos and values.dtype == np.int8 and out.bits == 8:
        return values
    return fixed.requantize(np.asarray(values, np.int64), x.pos, out.pos, out.bits)


def _fixed_bilinear(operands: Sequence[Fixed], attrs: ResizeAttrs, out: Fix) -> Array:
    """Float interpolation of the integers, then one rounding (arithmetic specification, section 7.4)."""
    (x,) = operands
    between = _float_bilinear([x.values.astype(np.float32)], attrs)
    return fixed.quantize(between * np.float32(2.0 ** -x.pos), out.pos, "half_up", out.bits)


_ROW = [[[[1], [2], [5]]]]
_NEAREST_CASES = (
    Case(((_ROW, 0),), ResizeAttrs((2, 6)), 0,
         [[[[1], [1], [2], [2], [5], [5]], [[1], [1], [2], [2], [5], [5]]]]),
    Case(((_ROW, 1),), ResizeAttrs((1, 2)), 0, [[[[1], [1]]]]),
)
_BILINEAR_CASES = (
    Case(((_ROW, 0),), ResizeAttrs((1, 6)), 0, [[[[1], [2], [2], [4], [5], [5]]]]),
    Case(((_ROW, 0),), ResizeAttrs((1, 5), align_corners=True), 1, [[[[2], [3], [4], [7], [10]]]]),
    Case(((_ROW, 0),), ResizeAttrs((1, 6), half_pixel=True), 2, [[[[4], [5], [7], [11], [17], [20]]]]),
)

OPS = (
    OpDef("resize_nearest", infer_resize, _float_nearest, _fixed_nearest, ResizeAttrs, cases=_NEAREST_CASES),
    OpDef("resize_bilinear", infer_resize, _float_bilinear, _fixed_bilinear, ResizeAttrs, cases=_BILINEAR_CASES),
)
