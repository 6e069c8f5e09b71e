"""A quantized layer as weighted sums: integer weights, a bias at the accumulator's scale, one shift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dpuedge import fixed
from dpuflow.ir.graph import Array, Graph, Node


@dataclass(frozen=True)
class Sums:
    """int8 weights as the graph holds them, the bias in accumulator units, shift_cut, nonlinearity."""

    weights: Array
    bias: Array
    shift: int
    nonlinear: str


def effective_bias(bias: Array, bias_pos: int, acc_pos: int, shift: int) -> Array:
    """The bias in accumulator units, exact even where it is finer than the accumulator.

    With d = bias_pos - acc_pos > 0 the exact result is floor((acc * 2**d + q) / 2**(shift + d) + 1/2).
    The accumulator is an integer, so for shift >= 1 the bias's lowest d bits never decide: its floor
    does. For shift 0 its half-up rounding does (arithmetic specification, section 4, "exact").
    """
    if bias_pos <= acc_pos:
        return fixed.shift_up(bias, acc_pos - bias_pos)
    down = bias_pos - acc_pos
    return fixed.shift_floor(bias, down) if shift >= 1 else fixed.shift_round(bias, down)


def weighted_sums(graph: Graph, node: Node) -> Sums | str:
    """The numbers of a convolution or a dense layer, or why they are not known beforehand."""
    assert node.fix is not None
    operands = graph.operands(node)
    x, weights = operands[0], operands[1]
    if weights.data is None or weights.fix is None or x.fix is None:
        return "its weights are not constant"
    if len(operands) > 2 and (operands[2].data is None or operands[2].fix is None):
        return "its bias is not constant"
    acc_pos = x.fix.pos + weights.fix.pos
    shift = acc_pos - node.fix.pos
    channels = node.shape[-1]
    bias = np.zeros(channels, np.int64)
    if len(operands) > 2 and operands[2].data is not None and operands[2].fix is not None:
        if node.attrs.nonlinear == "leaky_relu" and operands[2].fix.pos > acc_pos:
            return "leaky_relu meets a bias finer than the accumulator"
        bias = effective_bias(np.broadcast_to(operands[2].data.reshape(-1), (channels,)),
                              operands[2].fix.pos, acc_pos, shift)
    return Sums(weights.data, bias, shift, node.attrs.nonlinear)
