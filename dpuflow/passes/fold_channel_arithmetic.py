"""Products and sums per channel behind a convolution go into its weights and its bias.

    c = conv2d(x, w)                      c = conv2d(x, w * s)
    m = mul(c, s)                    ->   y = bias_add(c, b)
    y = bias_add(m, b)

Keras freezes batch normalisation in this form. A bias before the product is scaled, two biases are added.
"""

from __future__ import annotations

import numpy as np

from dpuflow.ir.graph import Array, Graph, Node, const, rebuild
from dpuflow.passes.fuse_bias import COMPUTE, only_reader


def _per_channel(graph: Graph, node: Node) -> tuple[Node, Array] | None:
    """The computed operand and the constant, one value per channel or one for all, of a product or a sum."""
    if node.op not in ("mul", "bias_add") or len(node.inputs) != 2:
        return None
    first, second = graph.operands(node)
    computed, constant = (second, first) if first.data is not None else (first, second)
    if constant.data is None or computed.data is not None or computed.shape != node.shape:
        return None
    flat = np.asarray(constant.data, np.float32).reshape(-1)
    if constant.fix or flat.size not in (1, node.shape[-1]) or constant.shape[-1:] not in ((), (flat.size,)):
        return None
    return computed, np.broadcast_to(flat, node.shape[-1:])


def _scaled(graph: Graph, node: Node, scale: Array) -> dict[str, Node] | None:
    """The constants of a convolution, or of its bias too, with every output channel scaled; None if there is none."""
    changed: dict[str, Node] = {}
    if node.op == "bias_add" and only_reader(graph, node.name):
        before, bias = graph.operands(node)
        inner = _scaled(graph, before, scale) if bias.data is not None else None
        if inner is None or bias.data is None or graph.users[bias.name] != (node.name,):
            return None
        flat = np.broadcast_to(np.asarray(bias.data, np.float32).reshape(-1), node.shape[-1:])
        return {**inner, bias.name: const(bias.name, flat * scale)}
    if node.op not in COMPUTE or node.op == "conv2d_transpose" or not only_reader(graph, node.name):
        return None
    weights = graph.by_name[node.inputs[1]]
    if len(node.inputs) != 2 or weights.data is None or weights.fix or graph.users[weights.name] != (node.name,):
        return None
    factors = scale.reshape(weights.shape[2:]) if node.op == "depthwise_conv2d" else scale
    changed[weights.name] = const(weights.name, np.asarray(weights.data * factors, np.float32))
    return changed


def _step(graph: Graph) -> Graph | None:
    """The graph with one product or one second bias less, or None when there is nothing left to do."""
    for node in graph.nodes:
        found = _per_channel(graph, node)
        if found is None or node.name in graph.outputs:
            continue
        before, values = found
        if node.op == "mul" and node.attrs.nonlinear == "none":
            changed = _scaled(graph, before, values)
        elif before.op == "bias_add" and only_reader(graph, before.name):
            first = _per_channel(graph, before)
            other = graph.by_name[before.inputs[1]]
            alone = first is not None and graph.users[other.name] == (before.name,)
            changed = {other.name: const(other.name, first[1] + values)} if alone and first else None
        else:
            changed = None
        if changed is not None:
            return rebuild(graph, {**changed, node.name: None}, {node.name: before.name})
    return None


def fold_channel_arithmetic(graph: Graph) -> Graph:
    """Fold products and sums with constants, one value per channel, into the convolutions before them."""
    while (folded := _step(graph)) is not None:
        graph = folded
    return graph
