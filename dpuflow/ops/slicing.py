"""Reordering axes and cutting parts out: byte copies (arithmetic specification, section 7.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dpuedge import fixed
from dpuflow.errors import GraphError
from dpuflow.ir.graph import Array, Fix, Shape
from dpuflow.ops.base import Case, Fixed, OpDef


@dataclass(frozen=True)
class TransposeAttrs:
    """For every new axis the old one; the batch stays first."""

    order: tuple[int, ...]


@dataclass(frozen=True)
class SliceAttrs:
    """(first, end, step) for every axis but the batch; the end is not included."""

    ranges: tuple[tuple[int, int, int], ...]


def infer_transpose(shapes: Sequence[Shape], attrs: TransposeAttrs) -> Shape:
    """The old sizes in the new order."""
    (x,) = shapes
    if sorted(attrs.order) != list(range(len(x))) or attrs.order[0] != 0:
        raise GraphError("not an order of these axes with the batch first", expected=f"{len(x)} axes", got=attrs.order)
    return tuple(x[axis] for axis in attrs.order)


def infer_slice(shapes: Sequence[Shape], attrs: SliceAttrs) -> Shape:
    """As many values as steps from the first that stay before the end."""
    (x,) = shapes
    if len(attrs.ranges) != len(x) - 1:
        raise GraphError("slices and axes differ in number", expected=len(x) - 1, got=len(attrs.ranges))
    for size, (first, end, step) in zip(x[1:], attrs.ranges, strict=True):
        if not (0 <= first < end <= size and step >= 1):
            raise GraphError("a slice outside its axis", expected=f"0 <= first < end <= {size}, step >= 1",
                             got=(first, end, step))
    return (x[0], *(len(range(*part)) for part in attrs.ranges))


def _transposed(x: Array, attrs: TransposeAttrs) -> Array:
    turned: Array = x.transpose(attrs.order)
    return turned


def _sliced(x: Array, attrs: SliceAttrs) -> Array:
    places = (slice(None), *(slice(*part) for part in attrs.ranges))
    taken: Array = x[places]
    return taken


def _float_transpose(operands: Sequence[Array], attrs: TransposeAttrs) -> Array:
    return _transposed(operands[0], attrs)


def _float_slice(operands: Sequence[Array], attrs: SliceAttrs) -> Array:
    return _sliced(operands[0], attrs)


def _fixed_transpose(operands: Sequence[Fixed], attrs: TransposeAttrs, out: Fix) -> Array:
    (x,) = operands
    return fixed.requantize(np.asarray(_transposed(x.values, attrs), np.int64), x.pos, out.pos, out.bits)


def _fixed_slice(operands: Sequence[Fixed], attrs: SliceAttrs, out: Fix) -> Array:
    (x,) = operands
    return fixed.requantize(np.asarray(_sliced(x.values, attrs), np.int64), x.pos, out.pos, out.bits)


_GRID = [[[1, 2, 3], [4, 5, 6]]]
OPS = (
    OpDef("transpose", infer_transpose, _float_transpose, _fixed_transpose, TransposeAttrs,
          cases=(Case(((_GRID, 0),), TransposeAttrs((0, 2, 1)), 0, [[[1, 4], [2, 5], [3, 6]]]),)),
    OpDef("slice", infer_slice, _float_slice, _fixed_slice, SliceAttrs,
          cases=(Case(((_GRID, 0),), SliceAttrs(((1, 2, 1), (0, 3, 2))), 0, [[[4, 6]]]),)),
)
