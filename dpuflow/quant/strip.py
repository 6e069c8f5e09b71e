"""Cut a graph down to what lies between input and output nodes (quantizer specification, sections 3.1 and 8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dpuflow.formats.graphdef import TFGraph, TFNode, base_name, new_node
from dpuflow.formats.tf_values import FLOAT, TShape
from dpuflow.ir.graph import Shape


def between(graph: TFGraph, inputs: Iterable[str], outputs: Iterable[str]) -> set[str]:
    """The nodes that the outputs depend on, not looking past the inputs; control operands do not count."""
    ends, inside, stack = set(inputs), set[str](), list(outputs)
    while stack:
        name = stack.pop()
        if name not in inside:
            inside.add(name)
            stack.extend(() if name in ends else graph.node(name).operands)
    return inside


def as_input(node: TFNode, shape: Shape) -> TFNode:
    """A Placeholder with the given shape; another operator's node becomes a float32 Placeholder."""
    if node.op == "Placeholder":
        return node.with_attrs(shape=TShape(shape))
    return new_node(node.name, "Placeholder", dtype=FLOAT, shape=TShape(shape))


def without_outer_controls(node: TFNode, inside: set[str]) -> TFNode:
    """Control operands that are not there order nothing: inference has no side effects."""
    kept = tuple(name for name in node.inputs if not name.startswith("^") or base_name(name) in inside)
    return node if kept == node.inputs else node.replace(inputs=kept)


def strip(graph: TFGraph, shapes: Mapping[str, Shape], outputs: Iterable[str]) -> TFGraph:
    """The part between the inputs, which get the given shapes, and the outputs; every node keeps its place."""
    inside = between(graph, shapes, outputs)
    return graph.replace(
        as_input(node, shapes[node.name]) if node.name in shapes else without_outer_controls(node, inside)
        for node in graph.nodes if node.name in inside)
