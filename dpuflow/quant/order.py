"""The vendor's node order (quantizer specification, section 3.7)."""

from __future__ import annotations

from collections import defaultdict

from dpuflow.errors import GraphError
from dpuflow.formats.graphdef import TFGraph, TFNode, base_name


def topological(graph: TFGraph) -> TFGraph:
    """Sort with a stack: last node without open operands first, its readers in graph order."""
    open_operands = {node.name: len(node.inputs) for node in graph.nodes}
    readers: dict[str, list[str]] = defaultdict(list)
    for node in graph.nodes:
        for operand in node.inputs:
            readers[base_name(operand)].append(node.name)
    stack = [node.name for node in graph.nodes if not node.inputs]
    done: list[TFNode] = []
    while stack:
        name = stack.pop()
        done.append(graph.by_name[name])
        for reader in readers[name]:
            open_operands[reader] -= 1
            if open_operands[reader] == 0:
                stack.append(reader)
    if len(done) != len(graph.nodes):
        left = next(name for name, count in open_operands.items() if count > 0)
        raise GraphError("the graph has a cycle", where=graph.source, got=f"through node '{left}'")
    return graph.replace(done)
