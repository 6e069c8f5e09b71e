"""A rounded operator that reads a float tensor computes in float, and is rounded behind.

    s: float32 = softmax(x)                 s: float32 = softmax(x)
    y: int8@7 = mul(s, z)          ->       y/float: float32 = mul(s, z)
                                            y: int8@7 = float2fix(y/float)
"""

from __future__ import annotations

from dpuflow.ir.graph import Graph, Node
from dpuflow.ops import get_op

_OWN_POSITION = ("input", "const", "float2fix")


def split_float_islands(graph: Graph) -> Graph:
    """Split each node with a position that has no fixed-point form, or an operand without one."""
    nodes: list[Node] = []
    for node in graph.nodes:
        fits = get_op(node.op).fixed is not None and all(operand.fix for operand in graph.operands(node))
        if node.fix is None or node.op in _OWN_POSITION or fits:
            nodes.append(node)
            continue
        inner = f"{node.name}/float"
        while inner in graph.by_name:
            inner += "_"
        nodes += [node.replace(name=inner, fix=None),
                  Node(node.name, "float2fix", (inner,), shape=node.shape, fix=node.fix, label=node.label)]
    return graph.replace(nodes)
