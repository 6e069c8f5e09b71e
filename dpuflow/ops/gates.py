"""Prelu, hard swish and the smooth gates (arithmetic specification, sections 5 and 7.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.errors import GraphError
from dpuflow.ir.graph import Array, Fix, Shape
from dpuflow.ops.activation import OPS as ACTIVATIONS
from dpuflow.ops.base import Case, Fixed, OpDef, same_shape
from dpuflow.ops.elementwise import infer_broadcast

_HARD_SIGMOID = next(op for op in ACTIVATIONS if op.name == "hard_sigmoid")
_GATE = Fix(7)  # the hard sigmoid inside a hard swish: its coarsest legal position


def infer_prelu(shapes: Sequence[Shape], attrs: Any) -> Shape:
    """The map's shape; the slopes must fit it."""
    if infer_broadcast(shapes, attrs) != shapes[0]:
        raise GraphError("the slopes do not fit the map", expected=shapes[0], got=shapes[1])
    return shapes[0]


def _float_prelu(operands: Sequence[Array], attrs: Any) -> Array:
    x, slopes = operands
    return np.where(x < 0, x * slopes, x)


def _fixed_prelu(operands: Sequence[Fixed], attrs: Any, out: Fix) -> Array:
    """As leaky relu, with the slopes' position added to the shift: one rounding."""
    x, slopes = operands
    wide = np.asarray(x.values, np.int64)
    product, pos = wide * slopes.values, x.pos + slopes.pos
    finest = max(pos, x.pos)
    acc = np.where(wide < 0, fixed.shift_up(product, finest - pos), fixed.shift_up(wide, finest - x.pos))
    return fixed.requantize(acc, finest, out.pos, out.bits)


def _float_hard_swish(operands: Sequence[Array], attrs: Any) -> Array:
    return np.asarray(operands[0] * _HARD_SIGMOID.float_(operands, attrs), np.float32)


def _fixed_hard_swish(operands: Sequence[Fixed], attrs: Any, out: Fix) -> Array:
    """The hard sigmoid, rounded to 8 bits, times x; then the second rounding."""
    (x,) = operands
    assert _HARD_SIGMOID.fixed is not None
    gate = _HARD_SIGMOID.fixed(operands, attrs, _GATE)
    return fixed.requantize(np.asarray(x.values, np.int64) * gate, x.pos + _GATE.pos, out.pos, out.bits)


def _float_sigmoid(operands: Sequence[Array], attrs: Any) -> Array:
    return np.asarray(1 / (1 + np.exp(-operands[0].astype(np.float64))), np.float32)


def _float_tanh(operands: Sequence[Array], attrs: Any) -> Array:
    return np.tanh(operands[0])


OPS = (
    OpDef("prelu", infer_prelu, _float_prelu, _fixed_prelu, arity=(2, 2), cases=(
        Case((([-64, 64, -5], 0), ([26, 26, 26], 8)), None, 0, [-6, 64, -1]),
        Case((([-3, 3], 1), ([2, 2], -1)), None, 1, [-12, 3]))),
    # x = -3, 0, 1 and 31.75: gates 0, 64, 85 and 127 of 128.
    OpDef("hard_swish", same_shape, _float_hard_swish, _fixed_hard_swish,
          cases=(Case((([-12, 0, 4, 127], 2),), None, 2, [0, 0, 3, 126]),)),
    OpDef("sigmoid", same_shape, _float_sigmoid),
    OpDef("tanh", same_shape, _float_tanh),
)
