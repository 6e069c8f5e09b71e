"""A graph node as work for a core's engines, or the reason why no engine does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dpuflow.ir.graph import Graph, Node, Shape
from dpuflow.ops.resize import repetition
from dpuflow.target.work import ActivationWork, ConvWork, EltwiseWork, LayerWork, MoveWork, PoolWork, UpsampleWork


def _map(shape: Shape) -> tuple[int, int, int]:
    """A tensor as (height, width, channels); one of two dimensions is a map of one pixel."""
    return (shape[1], shape[2], shape[3]) if len(shape) == 4 else (1, 1, shape[-1])


def _pos(node: Node) -> int:
    assert node.fix is not None
    return node.fix.pos


def _conv(graph: Graph, node: Node) -> LayerWork | str:
    operands = graph.operands(node)
    x, weights = operands[0], operands[1]
    if weights.data is None or (len(operands) > 2 and operands[2].data is None):
        return "its weights are computed, not constant"
    acc_pos = _pos(x) + _pos(weights)
    depthwise = node.op == "depthwise_conv2d"
    return ConvWork(
        node.layer, _map(x.shape), _map(node.shape), (weights.shape[0], weights.shape[1]),
        node.attrs.stride, node.attrs.dilation, tuple(node.attrs.padding), node.attrs.groups, depthwise,
        node.attrs.nonlinear, acc_pos - _pos(node), acc_pos - _pos(operands[2]) if len(operands) > 2 else None,
        weights.shape[3] if depthwise else 1)


def _transposed(graph: Graph, node: Node) -> LayerWork | str:
    operands = graph.operands(node)
    x, weights = operands[0], operands[1]
    if weights.data is None or (len(operands) > 2 and operands[2].data is None):
        return "its weights are computed, not constant"
    acc_pos = _pos(x) + _pos(weights)
    return ConvWork(
        node.layer, _map(x.shape), _map(node.shape), (weights.shape[0], weights.shape[1]), node.attrs.stride,
        pads=tuple(node.attrs.padding), nonlinear=node.attrs.nonlinear, shift_cut=acc_pos - _pos(node),
        shift_bias=acc_pos - _pos(operands[2]) if len(operands) > 2 else None, transposed=True)


def _upsample(graph: Graph, node: Node) -> LayerWork | str:
    (x,) = graph.operands(node)
    factor = repetition((x.shape[1], x.shape[2]), node.attrs)
    if factor is None:
        return "the DPU resizes by repeating pixels only: nearest, by whole factors, without aligned corners"
    return UpsampleWork(node.layer, _map(x.shape), _map(node.shape), factor, _pos(x) == _pos(node))


def _pool(graph: Graph, node: Node) -> LayerWork | str:
    (x,) = graph.operands(node)
    kind = "max" if node.op == "max_pool" else "avg"
    return PoolWork(node.layer, _map(x.shape), _map(node.shape), node.attrs.kernel, node.attrs.stride,
                    tuple(node.attrs.padding), kind)


def _eltwise(graph: Graph, node: Node) -> LayerWork | str:
    operands = graph.operands(node)
    if any(operand.shape != node.shape for operand in operands):
        return "its operands have different shapes"
    positions = [_pos(operand) for operand in operands]
    return EltwiseWork(node.layer, _map(operands[0].shape), _map(node.shape), node.op, len(operands),
                       node.attrs.nonlinear, max(positions) - min(positions), min(positions) - _pos(node))


def _activation(graph: Graph, node: Node) -> LayerWork | str:
    (x,) = graph.operands(node)
    return ActivationWork(node.layer, _map(x.shape), _map(node.shape), node.op)


def _move(graph: Graph, node: Node) -> LayerWork | str:
    operands = graph.operands(node)
    equal = all(operand.fix == node.fix for operand in operands)
    return MoveWork(node.layer, _map(operands[0].shape), _map(node.shape), equal, node.op)


_WORK: Mapping[str, Callable[[Graph, Node], LayerWork | str]] = {
    "conv2d": _conv, "depthwise_conv2d": _conv, "transposed_conv2d": _transposed, "max_pool": _pool,
    "avg_pool": _pool, "add": _eltwise, "mul": _eltwise, "resize_nearest": _upsample, "reshape": _move,
    "concat": _move, "identity": _move, "relu": _activation, "relu6": _activation, "leaky_relu": _activation,
}


_FLOAT_LAYERS = ("lstm",)


def node_work(graph: Graph, node: Node) -> LayerWork | str:
    """What an engine would do for a node, or in words why none can."""
    if node.fix is None:
        return f"the DPU has no {node.op}" if node.op in _FLOAT_LAYERS else "it computes in float"
    if node.fix.bits != 8:
        return f"it is {node.fix.bits} bits wide: the DPU is 8-bit only"
    for operand in graph.operands(node):
        if operand.fix is None:
            return "it reads a float tensor"
        if operand.fix.bits != 8:
            return f"it reads {operand.name}, {operand.fix.bits} bits wide: the DPU is 8-bit only"
    if node.op not in _WORK:
        return f"the DPU has no {node.op}"
    return _WORK[node.op](graph, node)
