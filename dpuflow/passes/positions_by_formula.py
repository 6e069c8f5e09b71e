"""A float network with positions from a formula instead of calibration images.

    c = conv2d(x, w)                     c: int8@4 = conv2d(x, w: int8@8, b: int8@9)
    y = bias_add(c, b)            ->

The mean square of every tensor follows from the weights as if the values were independent with
zero mean; a range of four deviations then fixes the position. For networks whose weights are made up, whose
accuracy means nothing, but whose bits must be as lively as a real network's: no tensor all zero,
none saturated. A network for use is quantized with images.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from dpuedge import fixed
from dpuflow.ir.graph import Array, Fix, Graph, Node, const
from dpuflow.ir.verify import verify
from dpuflow.ops import get_op
from dpuflow.passes.fold_batch_norm import fold_batch_norm
from dpuflow.passes.fuse_bias import COMPUTE, fuse_bias
from dpuflow.passes.fuse_nonlinear import fuse_leaky_maximum, fuse_nonlinear
from dpuflow.passes.leaky_slope import set_leaky_slope
from dpuflow.passes.prune import prune

_DEVIATIONS = 4.0  # a tensor's range in deviations
_INPUT_SQUARE, _INPUT_POSITION = 1.0 / 3.0, 7  # pixels spread over -1..1
_SHIFTS = (0, 16)  # shift_cut (arithmetic specification, section 8)
_BIAS_SHIFT_HIGH = 16
_MAX_POOL_GAIN = 2.0  # the mean square of the largest of some values against that of one
_KEEP_POSITION = ("max_pool", "reshape", "pad", "identity", "slice", "resize_nearest", "resize_bilinear", "transpose")
_CHUNK = 1 << 22  # values quantized at once: bounds memory

# float graph -> one node per layer
_TO_LAYERS = (fold_batch_norm, fuse_bias, set_leaky_slope, fuse_leaky_maximum, fuse_nonlinear, prune)


def _position(square: float) -> int:
    """The finest position that holds four deviations of a tensor of this mean square."""
    return fixed.overflow_position(-_DEVIATIONS * math.sqrt(square), _DEVIATIONS * math.sqrt(square))


def _after(square: float, nonlinear: str) -> float:
    """The mean square behind a nonlinearity."""
    if nonlinear == "relu6":
        return min(square / 2, 12.0)
    return square if nonlinear == "none" else square / 2


def _products_per_output(weights: Array, node: Node) -> float:
    spatial: int = weights.shape[0] * weights.shape[1]
    if node.op == "transposed_conv2d":
        return float(weights.size / weights.shape[2] / (node.attrs.stride[0] * node.attrs.stride[1]))
    return spatial if node.op == "depthwise_conv2d" else weights.size / weights.shape[-1]


def _mean_square(values: Array) -> float:
    flat = values.reshape(-1)
    return float(np.dot(flat, flat)) / max(flat.size, 1)


def _square(graph: Graph, node: Node, squares: Mapping[str, float]) -> float:
    """The mean square of what a node yields."""
    inputs = [squares[name] for name in node.inputs]
    nonlinear = getattr(node.attrs, "nonlinear", "none")
    if node.op in COMPUTE:
        kernel = graph.by_name[node.inputs[1]].data
        assert kernel is not None
        total = inputs[0] * inputs[1] * _products_per_output(kernel, node)
        return _after(total + (inputs[2] if len(inputs) > 2 else 0.0), nonlinear)
    if node.op == "add":
        return _after(sum(inputs), nonlinear)
    if node.op == "mul":
        return _after(math.prod(inputs), nonlinear)
    if node.op in ("relu", "relu6", "leaky_relu"):
        return _after(inputs[0], node.op)
    return max(inputs) * (_MAX_POOL_GAIN if node.op == "max_pool" else 1.0)


def mean_squares(graph: Graph) -> dict[str, float]:
    """Every tensor's mean square under the formula."""
    squares: dict[str, float] = {}
    for node in graph.nodes:
        if node.op == "input":
            squares[node.name] = _INPUT_SQUARE
        elif node.data is not None:
            squares[node.name] = _mean_square(np.asarray(node.data, np.float32)) if node.data.dtype.kind == "f" else 1.0
        else:
            squares[node.name] = _square(graph, node, squares)
    return squares


def _is_fixed(node: Node) -> bool:
    return node.op == "input" or (node.data is None and get_op(node.op).fixed is not None)


def _aligned(graph: Graph, positions: dict[str, int]) -> None:
    """Give the operands of a concat, and what only moves values, one position (arithmetic specification, 7.3)."""
    for node in reversed(graph.nodes):
        if node.op == "concat" and node.name in positions:
            for name in node.inputs:
                positions[name] = positions[node.name]
        elif node.op in _KEEP_POSITION and node.name in positions and node.inputs[0] in positions:
            positions[node.inputs[0]] = min(positions[node.name], positions[node.inputs[0]])
    for node in graph.nodes:
        if node.op in _KEEP_POSITION and node.name in positions:
            positions[node.name] = positions.get(node.inputs[0], positions[node.name])


def _positions(graph: Graph) -> dict[str, int]:
    """The position of every tensor that becomes int8."""
    squares = mean_squares(graph)
    quantized: dict[str, int] = {}
    for node in graph.nodes:
        if _is_fixed(node) and all(name in quantized or graph.by_name[name].data is not None for name in node.inputs):
            quantized[node.name] = _INPUT_POSITION if node.op == "input" else _position(squares[node.name])
    _aligned(graph, quantized)
    return quantized


def integers(values: Array, pos: int) -> Array:
    """Float values as int8 at a position, in pieces that bound the memory taken."""
    flat, out = values.reshape(-1), np.empty(values.size, np.int8)
    for at in range(0, flat.size, _CHUNK):
        out[at:at + _CHUNK] = fixed.quantize(flat[at:at + _CHUNK], pos, "half_away")
    out.setflags(write=False)
    return out.reshape(values.shape)


def _weight_position(values: Array) -> int:
    pos = fixed.overflow_position(float(values.min()), float(values.max()))
    return 0 if pos == fixed.ALL_ZERO_POS else pos


def _parameters(graph: Graph, node: Node, positions: Mapping[str, int]) -> dict[str, Node]:
    """The int8 weights and bias of a layer, with shifts inside their ranges."""
    weights = graph.by_name[node.inputs[1]]
    assert weights.data is not None
    x, out = positions[node.inputs[0]], positions[node.name]
    low, high = out + _SHIFTS[0] - x, out + _SHIFTS[1] - x
    w = min(max(_weight_position(np.asarray(weights.data)), low), high)
    made = {weights.name: const(weights.name, integers(np.asarray(weights.data, np.float32), w), Fix(w))}
    if len(node.inputs) > 2:
        bias = graph.by_name[node.inputs[2]]
        assert bias.data is not None
        cut = x + w - out
        lowest_shift = min(0, -(16 - cut))
        b = min(max(_weight_position(np.asarray(bias.data)), x + w - _BIAS_SHIFT_HIGH), x + w - lowest_shift)
        made[bias.name] = const(bias.name, integers(np.asarray(bias.data, np.float32), b), Fix(b))
    return made


def positions_by_formula(graph: Graph) -> Graph:
    """The quantized graph of a float network; every shift lies within its legal range."""
    for step in _TO_LAYERS:
        graph = step(graph)
    positions = _positions(graph)
    made: dict[str, Node] = {}
    for node in graph.nodes:
        if node.op in COMPUTE and node.name in positions:
            made.update(_parameters(graph, node, positions))
    nodes = [made.get(node.name, node) for node in graph.nodes]
    return verify(graph.replace(
        dataclasses.replace(node, fix=Fix(positions[node.name])) if node.name in positions else node
        for node in nodes))
