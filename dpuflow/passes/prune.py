"""Drop the nodes that no output depends on (inputs stay)."""

from __future__ import annotations

from dpuflow.ir.graph import Graph


def prune(graph: Graph) -> Graph:
    """The graph without dead nodes."""
    needed = set(graph.outputs)
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return graph.replace(node for node in graph.nodes if node.name in needed or node.op == "input")
