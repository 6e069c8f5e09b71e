"""Each bias finer than its layer's accumulator is rounded to the accumulator's grid beforehand.

What the DNNDK compiler does (arithmetic specification, section 4, bias_mode "prerounded")::

    y = conv2d(x @ 2, w @ 6, b @ 9)   ->   y = conv2d(x @ 2, w @ 6, shr(b, 1) @ 8)
"""

from __future__ import annotations

from dpuedge import fixed
from dpuflow.ir.graph import Fix, Graph, Node, const

WEIGHTED = ("conv2d", "depthwise_conv2d", "transposed_conv2d", "dense")


def fine_bias(graph: Graph, node: Node) -> tuple[Node, int] | None:
    """A layer's bias and by how many fraction bits it is finer than the accumulator; None where it is not."""
    operands = graph.operands(node)
    if node.op not in WEIGHTED or len(operands) != 3 or node.fix is None:
        return None
    x, weights, bias = operands
    if bias.data is None or x.fix is None or weights.fix is None or bias.fix is None:
        return None
    excess = bias.fix.pos - (x.fix.pos + weights.fix.pos)
    usable = fixed.ALL_ZERO_POS not in (bias.fix.pos, weights.fix.pos, x.fix.pos)
    return (bias, excess) if excess > 0 and usable else None


def rounded_bias(bias: Node, excess: int, name: str) -> Node:
    """The bias at the accumulator's position, rounded half up."""
    assert bias.data is not None and bias.fix is not None
    pos = bias.fix.pos - excess
    return const(name, fixed.requantize(bias.data, bias.fix.pos, pos, bias.fix.bits), Fix(pos, bias.fix.bits))


def preround_bias(graph: Graph, layer: str) -> Graph:
    """The same for one layer alone; the graph as it is where that layer's bias is not finer."""
    node = graph.by_name[layer]
    fine = fine_bias(graph, node)
    if fine is None:
        return graph
    made = rounded_bias(*fine, f"{layer}/prerounded_bias")
    changed = node.replace(inputs=(*node.inputs[:2], made.name))
    return graph.replace([made, *(changed if entry.name == layer else entry for entry in graph.nodes)])


def preround_biases(graph: Graph) -> Graph:
    """Every layer's; a bias that several layers share becomes one constant a layer."""
    for node in graph.nodes:
        if fine_bias(graph, node):
            graph = preround_bias(graph, node.name)
    return graph
