"""Operators that move values without computing: input, const, reshape, concat, pad.

Arithmetic specification, section 7.3: bytes are copied; where positions differ the value is
requantized.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.errors import GraphError
from dpuflow.ir.graph import Array, Fix, Shape
from dpuflow.ops.base import Case, Fixed, OpDef, same_shape


@dataclass(frozen=True)
class ReshapeAttrs:
    """The new shape of one image (batch excluded); one entry may be -1."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class ConcatAttrs:
    """The axis to join along, batch counted as axis 0."""

    axis: int


@dataclass(frozen=True)
class PadAttrs:
    """Values added before and after each axis, batch included: a constant (in real units), or the map mirrored.

    ``mode``: "constant", "reflect" (the border is not repeated) or "symmetric" (it is).
    """

    pads: tuple[tuple[int, int], ...]
    mode: str = "constant"
    value: float = 0.0


PAD_MODES = ("constant", "reflect", "symmetric")


def infer_reshape(shapes: Sequence[Shape], attrs: ReshapeAttrs) -> Shape:
    """Batch stays; the rest takes the new shape."""
    (x,) = shapes
    count = int(np.prod(x[1:], dtype=np.int64))
    known = int(np.prod([size for size in attrs.shape if size != -1], dtype=np.int64))
    free = attrs.shape.count(-1)
    if free > 1 or (free and (known == 0 or count % known)) or (not free and known != count):
        raise GraphError("the values do not fit the new shape", expected=count, got=attrs.shape)
    return (x[0], *(count // known if size == -1 else size for size in attrs.shape))


def infer_concat(shapes: Sequence[Shape], attrs: ConcatAttrs) -> Shape:
    """Equal shapes but for the joined axis."""
    first = shapes[0]
    axis = attrs.axis % len(first)
    for shape in shapes[1:]:
        if len(shape) != len(first) or shape[:axis] + shape[axis + 1:] != first[:axis] + first[axis + 1:]:
            raise GraphError("the operands of a concat differ beside its axis", got=f"{first} and {shape}")
    return first[:axis] + (sum(shape[axis] for shape in shapes),) + first[axis + 1:]


def infer_pad(shapes: Sequence[Shape], attrs: PadAttrs) -> Shape:
    """Each axis grows by its two pads."""
    (x,) = shapes
    if len(attrs.pads) != len(x):
        raise GraphError("pads and axes differ in number", expected=len(x), got=len(attrs.pads))
    most = {"reflect": -1, "symmetric": 0}.get(attrs.mode)
    if most is not None and any(max(pair) > size + most for size, pair in zip(x, attrs.pads, strict=True)):
        raise GraphError("a mirrored pad wider than its map", expected=x, got=attrs.pads)
    return tuple(size + before + after for size, (before, after) in zip(x, attrs.pads, strict=True))


def _moved(values: Array, pos: int, out: Fix) -> Array:
    return fixed.requantize(np.asarray(values, np.int64), pos, out.pos, out.bits)


def _reshape(x: Array, attrs: ReshapeAttrs) -> Array:
    return x.reshape(x.shape[0], *attrs.shape)


def _float_reshape(operands: Sequence[Array], attrs: ReshapeAttrs) -> Array:
    return _reshape(operands[0], attrs)


def _fixed_reshape(operands: Sequence[Fixed], attrs: ReshapeAttrs, out: Fix) -> Array:
    (x,) = operands
    return _moved(_reshape(x.values, attrs), x.pos, out)


def _float_concat(operands: Sequence[Array], attrs: ConcatAttrs) -> Array:
    return np.concatenate(operands, axis=attrs.axis)


def _fixed_concat(operands: Sequence[Fixed], attrs: ConcatAttrs, out: Fix) -> Array:
    return np.concatenate([_moved(operand.values, operand.pos, out) for operand in operands], axis=attrs.axis)


def _padded(x: Array, attrs: PadAttrs, value: float) -> Array:
    if attrs.mode == "constant":
        return np.pad(x, attrs.pads, constant_values=value)
    return np.pad(x, attrs.pads, mode="reflect" if attrs.mode == "reflect" else "symmetric")


def _float_pad(operands: Sequence[Array], attrs: PadAttrs) -> Array:
    return _padded(operands[0], attrs, attrs.value)


def _fixed_pad(operands: Sequence[Fixed], attrs: PadAttrs, out: Fix) -> Array:
    (x,) = operands
    if attrs.mode != "constant" or not attrs.value:
        return _moved(_padded(x.values, attrs, 0), x.pos, out)
    padded = _padded(_moved(x.values, x.pos, out), attrs, 0)
    inside = _padded(np.ones((1, *x.values.shape[1:]), bool), attrs, 0)
    return np.where(inside, padded, fixed.quantize(np.float32(attrs.value), out.pos, "half_up", out.bits))


def _float_identity(operands: Sequence[Array], attrs: Any) -> Array:
    return operands[0]


def _fixed_identity(operands: Sequence[Fixed], attrs: Any, out: Fix) -> Array:
    (x,) = operands
    return _moved(x.values, x.pos, out)


def _no_operands(shapes: Sequence[Shape], attrs: Any) -> Shape:
    raise GraphError("inputs and constants state their own shape")


def _no_kernel(operands: Sequence[Array], attrs: Any) -> Array:
    raise GraphError("inputs and constants are not computed")


OPS = (
    OpDef("input", _no_operands, _no_kernel, arity=(0, 0)),
    OpDef("const", _no_operands, _no_kernel, arity=(0, 0)),
    OpDef("identity", same_shape, _float_identity, _fixed_identity,
          cases=(Case((([3, -3], 1),), None, 0, [2, -1]),)),
    # Float to int8 on the CPU, between two DPU parts; engines quantize it half up.
    OpDef("float2fix", same_shape, _float_identity),
    OpDef("reshape", infer_reshape, _float_reshape, _fixed_reshape, ReshapeAttrs,
          cases=(Case((([[[1, 2], [3, 4]]], 0),), ReshapeAttrs((4,)), 0, [[1, 2, 3, 4]]),)),
    OpDef("concat", infer_concat, _float_concat, _fixed_concat, ConcatAttrs, (1, 4096),
          (Case((([[1, 2]], 0), ([[5]], 1)), ConcatAttrs(1), 0, [[1, 2, 3]]),)),
    OpDef("pad", infer_pad, _float_pad, _fixed_pad, PadAttrs,
          cases=(Case((([[7]], 0),), PadAttrs(((0, 0), (1, 2))), 0, [[0, 7, 0, 0]]),
                 Case((([[7, 3]], 1),), PadAttrs(((0, 0), (1, 1)), value=-1.5), 1, [[-3, 7, 3, -3]]),
                 Case((([[7, 3, 5]], 0),), PadAttrs(((0, 0), (1, 2)), "reflect"), 0, [[3, 7, 3, 5, 3, 7]]),
                 Case((([[7, 3, 5]], 0),), PadAttrs(((0, 0), (1, 2)), "symmetric"), 0, [[7, 7, 3, 5, 5, 3]]))),
)
