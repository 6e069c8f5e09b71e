"""relu(conv(...)) -> conv(...) nonlinear=relu; maximum(mul(c, 26/256), c) -> leaky_relu(c).

    c = conv2d(x, w, b)
    y = relu(c)            ->    y = conv2d(x, w, b) nonlinear=relu
"""

from __future__ import annotations

import dataclasses

from dpuflow.ir.graph import Graph, Node, rebuild
from dpuflow.ops.activation import LEAKY_FACTOR, LEAKY_SHIFT, LeakyAttrs
from dpuflow.passes.fuse_bias import COMPUTE, only_reader

# What each operator can take in; an elementwise sum knows relu only (xmodel specification, 4).
FUSABLE = dict.fromkeys(COMPUTE, ("relu", "relu6", "leaky_relu")) | {"add": ("relu",), "mul": ("relu",)}
_SLOPE = LEAKY_FACTOR / (1 << LEAKY_SHIFT)
_SLOPE_TOLERANCE = 1e-5  # the vendor's (arithmetic specification, section 5)


def _can_fuse(graph: Graph, node: Node, producer: Node) -> bool:
    if node.op not in FUSABLE.get(producer.op, ()) or producer.attrs.nonlinear != "none":
        return False
    if not only_reader(graph, producer.name) or producer.fix not in (None, node.fix):
        return False
    return node.op != "leaky_relu" or abs(node.attrs.alpha - _SLOPE) <= _SLOPE_TOLERANCE


def fuse_nonlinear(graph: Graph) -> Graph:
    """Move each nonlinearity into the operator before it, if nobody else reads that one.

    A quantized producer keeps its place when positions differ: two roundings are not one.
    """
    replaced: dict[str, Node | None] = {}
    for node in graph.nodes:
        if len(node.inputs) != 1:
            continue
        producer = graph.by_name[node.inputs[0]]
        if producer.name not in replaced and _can_fuse(graph, node, producer):
            attrs = dataclasses.replace(producer.attrs, nonlinear=node.op)
            replaced[producer.name] = None
            replaced[node.name] = producer.replace(name=node.name, attrs=attrs, fix=node.fix, label=producer.layer)
    return rebuild(graph, replaced, {})


def _slope_times(graph: Graph, scaled: Node, data: Node) -> float | None:
    if scaled.op != "mul" or data.name not in scaled.inputs or not only_reader(graph, scaled.name):
        return None
    slopes = [operand for operand in graph.operands(scaled) if operand.op == "const"]
    if len(slopes) != 1 or slopes[0].data is None or slopes[0].data.size != 1:
        return None
    value = float(slopes[0].data.reshape(-1)[0])
    return value * 2.0 ** -slopes[0].fix.pos if slopes[0].fix else value


def fuse_leaky_maximum(graph: Graph) -> Graph:
    """maximum(mul(c, slope), c) becomes leaky_relu(c) with that slope, in either operand order."""
    replaced: dict[str, Node | None] = {}
    for node in graph.nodes:
        if node.op != "maximum":
            continue
        first, second = graph.operands(node)
        for scaled, data in ((first, second), (second, first)):
            slope = _slope_times(graph, scaled, data)
            if slope is not None:
                replaced[scaled.name] = None
                replaced[node.name] = node.replace(op="leaky_relu", inputs=(data.name,), attrs=LeakyAttrs(slope))
                break
    return rebuild(graph, replaced, {})
