"""Reductions over axes: maximum (on integers too), sum, product and mean in float, and the place of the maximum."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.errors import GraphError
from dpuflow.ir.graph import Array, Fix, Shape
from dpuflow.ops.base import Case, Fixed, OpDef


@dataclass(frozen=True)
class ReduceAttrs:
    """Axes, batch counted as 0 and never among them; ``kind``: max, sum, product or mean."""

    axes: tuple[int, ...]
    keep_dims: bool = False
    kind: str = "max"


@dataclass(frozen=True)
class ArgMaxAttrs:
    """The axis along which the largest value is looked for."""

    axis: int


_KINDS: Mapping[str, Callable[..., Any]] = {"max": np.max, "sum": np.sum, "product": np.prod, "mean": np.mean}


def _reduced(shape: Shape, axes: tuple[int, ...], keep_dims: bool) -> Shape:
    if not axes or not all(0 < axis < len(shape) for axis in axes):
        raise GraphError("impossible axes of a reduction", expected=f"1..{len(shape) - 1}", got=axes)
    sizes = ((1 if axis in axes else size) for axis, size in enumerate(shape) if keep_dims or axis not in axes)
    return tuple(sizes)


def infer_reduce(shapes: Sequence[Shape], attrs: ReduceAttrs) -> Shape:
    """Without the axes, or with 1 in their place."""
    if attrs.kind not in _KINDS:
        raise GraphError("unknown reduction", expected=", ".join(_KINDS), got=attrs.kind)
    return _reduced(shapes[0], attrs.axes, attrs.keep_dims)


def infer_arg_max(shapes: Sequence[Shape], attrs: ArgMaxAttrs) -> Shape:
    """Without the axis."""
    return _reduced(shapes[0], (attrs.axis,), False)


def _float_reduce(operands: Sequence[Array], attrs: ReduceAttrs) -> Array:
    return np.asarray(_KINDS[attrs.kind](operands[0], axis=attrs.axes, keepdims=attrs.keep_dims), np.float32)


def _fixed_max(operands: Sequence[Fixed], attrs: ReduceAttrs, out: Fix) -> Array:
    (x,) = operands
    largest = np.asarray(x.values, np.int64).max(axis=attrs.axes, keepdims=attrs.keep_dims)
    return fixed.requantize(largest, x.pos, out.pos, out.bits)


def _float_arg_max(operands: Sequence[Array], attrs: ArgMaxAttrs) -> Array:
    return np.asarray(np.argmax(operands[0], axis=attrs.axis), np.float32)


OPS = (
    OpDef("reduce", infer_reduce, _float_reduce, attrs=ReduceAttrs),
    OpDef("reduce_max", infer_reduce, _float_reduce, _fixed_max, ReduceAttrs,
          cases=(Case((([[[1, -7], [4, -9]]], 1),), ReduceAttrs((1,)), 0, [[2, -3]]),)),
    OpDef("arg_max", infer_arg_max, _float_arg_max, attrs=ArgMaxAttrs),
)
