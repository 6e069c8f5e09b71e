"""Elementwise sums and products, bias addition and rounding onto a grid.

Arithmetic specification, sections 7.1 and 7.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.errors import GraphError
from dpuflow.ir.graph import Array, Fix, Shape
from dpuflow.ops.activation import float_nonlinear, nonlinear_requantize
from dpuflow.ops.base import Case, Fixed, OpDef, same_shape


@dataclass(frozen=True)
class EltwiseAttrs:
    """The nonlinearity after the sum or product: none or relu."""

    nonlinear: str = "none"


@dataclass(frozen=True)
class FixAttrs:
    """Round a float tensor onto the grid of position ``pos``: half_up for activations, half_away
    for weights and biases (arithmetic specification, section 2)."""

    pos: int
    bits: int = 8
    rounding: str = "half_up"


def infer_broadcast(shapes: Sequence[Shape], attrs: Any) -> Shape:
    """NumPy's broadcasting rule; the batch, 1 in every shape, must stay free."""
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise GraphError("the operands' shapes do not fit each other",
                         got=" and ".join(map(str, shapes))) from None
    if shape and shape[0] != 1 and any(len(one) == len(shape) and one[0] == 1 for one in shapes):
        raise GraphError("an operand fixes the batch", got=" and ".join(map(str, shapes)),
                         expected="1 in front", remedy="give the constant one value per channel")
    return shape


def _float_add(operands: Sequence[Array], attrs: EltwiseAttrs) -> Array:
    total = operands[0]
    for operand in operands[1:]:
        total = total + operand
    return float_nonlinear(total, attrs.nonlinear)


def _float_mul(operands: Sequence[Array], attrs: EltwiseAttrs) -> Array:
    product = operands[0]
    for operand in operands[1:]:
        product = product * operand
    return float_nonlinear(product, attrs.nonlinear)


def _float_sub(operands: Sequence[Array], attrs: Any) -> Array:
    return np.asarray(operands[0] - operands[1])


def _float_neg(operands: Sequence[Array], attrs: Any) -> Array:
    return np.asarray(-operands[0])


def _fixed_add(operands: Sequence[Fixed], attrs: EltwiseAttrs, out: Fix) -> Array:
    finest = max(operand.pos for operand in operands)
    total = sum(fixed.shift_up(operand.values, finest - operand.pos) for operand in operands)
    return nonlinear_requantize(np.asarray(total), finest, attrs.nonlinear, out)


def _fixed_mul(operands: Sequence[Fixed], attrs: EltwiseAttrs, out: Fix) -> Array:
    product, pos = np.asarray(1, np.int64), 0
    for operand in operands:
        product, pos = product * operand.values, pos + operand.pos
    return nonlinear_requantize(product, pos, attrs.nonlinear, out)


def _float_bias(operands: Sequence[Array], attrs: Any) -> Array:
    return np.asarray(operands[0] + operands[1])


def _float_fix(operands: Sequence[Array], attrs: FixAttrs) -> Array:
    return fixed.dequantize(fixed.quantize(operands[0], attrs.pos, attrs.rounding, attrs.bits), attrs.pos)


_ADD_CASES = (
    Case((([37], 5), ([-20], 3)), EltwiseAttrs(), 4, [-21]),
    Case((([37], 5), ([-20], 3)), EltwiseAttrs(), 5, [-43]),
    Case((([100], 4), ([100], 4)), EltwiseAttrs(), 4, [127]),
    Case((([-100, 100], 4), ([99, -99], 4)), EltwiseAttrs("relu"), 4, [0, 1]),
)

def _float_div(operands: Sequence[Array], attrs: Any) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(operands[0] / operands[1], np.float32)


def _float_minimum(operands: Sequence[Array], attrs: Any) -> Array:
    return np.minimum(operands[0], operands[1])


OPS = (
    OpDef("div", infer_broadcast, _float_div, arity=(2, 2)),
    OpDef("minimum", infer_broadcast, _float_minimum, arity=(2, 2)),
    OpDef("add", infer_broadcast, _float_add, _fixed_add, EltwiseAttrs, (2, 64), _ADD_CASES),
    OpDef("mul", infer_broadcast, _float_mul, _fixed_mul, EltwiseAttrs, (2, 64),
          (Case((([37], 4), ([-20], 5)), EltwiseAttrs(), 6, [-92]),)),
    OpDef("sub", infer_broadcast, _float_sub, arity=(2, 2)),
    OpDef("neg", same_shape, _float_neg),
    OpDef("bias_add", infer_broadcast, _float_bias, arity=(2, 2)),
    OpDef("fix", same_shape, _float_fix, attrs=FixAttrs),
)
