"""Recurrent layers: no engine of the DPU computes them, the processor does, in float.

The kernel itself lies in ``dpuedge.recurrent``, because boards run it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dpuedge.recurrent import lstm
from dpuflow.errors import GraphError
from dpuflow.ir.graph import Array, Shape
from dpuflow.ops.base import OpDef


@dataclass(frozen=True)
class LstmAttrs:
    """``reverse``: the sequence is read from its end; every output stands at its own step."""

    reverse: bool = False


def infer_lstm(shapes: Sequence[Shape], attrs: LstmAttrs) -> Shape:
    """(N, T, C), weights (C, 4U) and (U, 4U), bias (4U) to (N, T, U); gates input, forget, cell, output."""
    x, kernel, recurrent, bias = shapes
    if len(x) != 3:
        raise GraphError("an LSTM takes a sequence (N, T, C)", got=x)
    units = recurrent[0] if len(recurrent) == 2 else 0
    wanted = ((x[2], 4 * units), (units, 4 * units), (4 * units,))
    if not units or (kernel, recurrent, bias) != wanted:
        raise GraphError("an LSTM's weights do not fit each other or the sequence",
                         got=f"{kernel}, {recurrent}, {bias}", expected=f"({x[2]}, 4U), (U, 4U), (4U,)")
    return (x[0], x[1], units)


def _float_lstm(operands: Sequence[Array], attrs: LstmAttrs) -> Array:
    x, kernel, recurrent, bias = (np.asarray(operand, np.float32) for operand in operands)
    result: Array = lstm(x, kernel, recurrent, bias, attrs.reverse)
    return result


OPS = (OpDef("lstm", infer_lstm, _float_lstm, attrs=LstmAttrs, arity=(4, 4)),)
