"""Layers that the fast engine computes in NumPy with the narrowest integers that hold them, bit for bit.

What is not here runs on the reference kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.ir.graph import Array, Fix, Graph, Node
from dpuflow.ops import Fixed, OpDef, get_op

Compute = Callable[[Mapping[str, Any]], Array]


def _add(graph: Graph, node: Node) -> Compute | None:
    """A sum of int8 maps of one shape (arithmetic specification, section 7.1)."""
    operands = graph.operands(node)
    if node.attrs.nonlinear not in ("none", "relu") or any(one.shape != node.shape for one in operands):
        return None
    positions = [one.fix.pos for one in operands if one.fix]
    finest, relu, names = max(positions), node.attrs.nonlinear == "relu", node.inputs
    ups, down = [finest - pos for pos in positions], finest - _fix(node).pos
    zeros = [np.zeros(1, np.int8)] * len(ups)
    if max(*ups, abs(down)) > _MOST_SHIFT or fixed.narrow_sum(zeros, ups, down, relu) is None:
        return None
    return lambda values: np.asarray(fixed.narrow_sum([values[name] for name in names], ups, down, relu))


def _mul(graph: Graph, node: Node) -> Compute | None:
    """A product of two int8 maps, one of which may repeat (arithmetic specification, section 7.2)."""
    positions = [one.fix.pos for one in graph.operands(node) if one.fix]
    if node.attrs.nonlinear not in ("none", "relu") or len(positions) != 2 or len(node.inputs) != 2:
        return None
    down, relu, (first, second) = sum(positions) - _fix(node).pos, node.attrs.nonlinear == "relu", node.inputs
    one = np.ones(1, np.int8)
    if fixed.narrow_product(one, one, down) is None:
        return None
    return lambda values: np.asarray(fixed.narrow_product(values[first], values[second], down, relu))


def _fix(node: Node) -> Fix:
    assert node.fix is not None
    return node.fix


def _table(node: Node, op: OpDef, x: Node) -> Array:
    """The operator's result for each of the 256 bytes."""
    kernel, pos = op.fixed, _fix(x).pos
    assert kernel is not None
    made: Array = fixed.byte_table(lambda every: kernel([Fixed(every, pos)], node.attrs, _fix(node)))
    return made


def _by_table(graph: Graph, node: Node) -> Compute | None:
    """A function of single values."""
    (x,) = graph.operands(node)
    table, name = _table(node, get_op(node.op), x), x.name
    return lambda values: np.asarray(fixed.look_up(table, values[name]))


def _prelu(graph: Graph, node: Node) -> Compute | None:
    """One table a channel; slopes for single pixels have none."""
    x, slopes = graph.operands(node)
    channels, data = node.shape[-1], slopes.data
    if data is None or data.size not in (1, channels) or data.shape[-1] != data.size or node.shape != x.shape:
        return None
    kernel, each = get_op("prelu").fixed, Fixed(data.reshape(-1, 1), _fix(slopes).pos)
    assert kernel is not None
    tables: Array = fixed.byte_table(lambda every: kernel([Fixed(every[None], _fix(x).pos), each], None, _fix(node)))
    flat, name = np.broadcast_to(tables, (channels, 256)).reshape(-1), x.name
    first = np.arange(channels, dtype=np.intp) * 256
    return lambda values: np.take(flat, values[name].view(np.uint8) + first)


def _moved(graph: Graph, node: Node) -> Compute | None:
    """Bytes are put elsewhere; those at another position than the result's are rounded by a table."""
    operands, op = graph.operands(node), get_op(node.op)
    if getattr(node.attrs, "value", 0):  # padding with a number, which is at the result's position
        return None
    names, attrs = node.inputs, node.attrs
    tables = [None if one.fix == node.fix else _table(node, get_op("identity"), one) for one in operands]

    def compute(values: Mapping[str, Any]) -> Array:
        parts = [values[name] if table is None else fixed.look_up(table, values[name])
                 for name, table in zip(names, tables, strict=True)]
        return np.asarray(op.float_(parts, attrs))
    return compute


_MOST_SHIFT = 30
_LAYERS: Mapping[str, Callable[[Graph, Node], Compute | None]] = {
    "add": _add, "mul": _mul, "prelu": _prelu,
    **dict.fromkeys(("identity", "relu", "relu6", "leaky_relu", "hard_sigmoid", "hard_swish"), _by_table),
    **dict.fromkeys(("concat", "pad", "slice", "transpose", "reshape", "resize_nearest"), _moved),
}


def narrow_layer(graph: Graph, node: Node) -> Compute | None:
    """A function from the values to the layer's result; None if the reference kernel must compute it."""
    if node.op not in _LAYERS or any(one.fix is None or one.fix.bits != 8 for one in (node, *graph.operands(node))):
        return None
    return _LAYERS[node.op](graph, node)
