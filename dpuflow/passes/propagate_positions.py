"""Operators that only copy take the position of what they copy.

    y: int8@4 = conv2d(x, w)             y: int8@4 = conv2d(x, w)
    r: float32 = reshape(y)       ->     r: int8@4 = reshape(y)

Some quantizers put no ``fix`` behind them. Their result lies on its operand's grid already, so
nothing is rounded.
"""

from __future__ import annotations

from dpuflow.ir.graph import Fix, Graph, Node

COPIES = ("reshape", "concat", "pad", "identity", "relu", "max_pool", "transpose", "slice", "reduce_max",
          "resize_nearest")


def _common(node: Node, fixes: dict[str, Fix | None]) -> Fix | None:
    found = {fixes[name] for name in node.inputs}
    return found.pop() if len(found) == 1 else None


def propagate_positions(graph: Graph) -> Graph:
    """Give each copying operator without a position that of its operands, if they share one."""
    from dpuflow.ops import get_op

    fixes: dict[str, Fix | None] = {}
    nodes = []
    for node in graph.nodes:
        if node.fix is None and node.op in COPIES and get_op(node.op).fixed is not None:
            node = node.replace(fix=_common(node, fixes))
        fixes[node.name] = node.fix
        nodes.append(node)
    return graph.replace(nodes)
