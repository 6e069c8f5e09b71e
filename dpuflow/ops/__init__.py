"""Every operator, in one literal table.

To add one: write its OpDef (attributes, shape rule, float kernel, fixed-point kernel, cases) in a
family's file, and its line in the importers' tables. The tests find it here.
"""

from __future__ import annotations

from dpuflow.errors import UnsupportedOp
from dpuflow.ops import (
    activation,
    conv,
    custom,
    elementwise,
    gates,
    movement,
    normalization,
    pool,
    recurrent,
    reduction,
    resize,
    slicing,
    transposed,
)
from dpuflow.ops.base import Case, Fixed, OpDef

OPS: dict[str, OpDef] = {
    op.name: op
    for family in (movement.OPS, conv.OPS, activation.OPS, pool.OPS, elementwise.OPS, normalization.OPS,
                   custom.OPS, slicing.OPS, gates.OPS, reduction.OPS, recurrent.OPS, resize.OPS, transposed.OPS)
    for op in family
}


def get_op(name: str) -> OpDef:
    """The operator of that name; UnsupportedOp listing what there is."""
    try:
        return OPS[name]
    except KeyError:
        raise UnsupportedOp(f"unknown operator {name!r}", expected=", ".join(OPS)) from None


__all__ = ["OPS", "Case", "Fixed", "OpDef", "get_op"]
