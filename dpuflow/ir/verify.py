"""What every graph must satisfy, checked before and after each pass."""

from __future__ import annotations

from dpuflow.errors import GraphError
from dpuflow.ir.graph import Graph, Node, Shape
from dpuflow.ops import get_op


def output_shape(node: Node, graph_shapes: dict[str, Shape]) -> Shape:
    """A node's shape by its operator's rule; errors name the node."""
    try:
        return get_op(node.op).infer([graph_shapes[name] for name in node.inputs], node.attrs)
    except GraphError as error:
        raise type(error)(error.what, where=error.where or f"node '{node.name}' ({node.op})",
                          got=error.got, expected=error.expected, remedy=error.remedy) from None


def infer_shapes(graph: Graph) -> Graph:
    """The graph with every node's shape filled in."""
    shapes: dict[str, Shape] = {}
    nodes = []
    for node in graph.nodes:
        shape = node.shape if node.op in ("input", "const") else output_shape(node, shapes)
        shapes[node.name] = shape
        nodes.append(node if node.shape == shape else node.replace(shape=shape))
    return graph.replace(nodes)


def _check_operands(node: Node, seen: set[str]) -> None:
    fewest, most = get_op(node.op).arity
    if not fewest <= len(node.inputs) <= most:
        raise GraphError("wrong number of operands", where=f"node '{node.name}' ({node.op})",
                         expected=fewest if fewest == most else f"{fewest} to {most}", got=len(node.inputs))
    for name in node.inputs:
        if name not in seen:
            raise GraphError("reads a node that does not stand before it", where=f"node '{node.name}'",
                             got=name, remedy="the graph has a cycle or lacks a node")


def _check_types(node: Node, graph: Graph) -> None:
    if node.op == "const" and node.data is None:
        raise GraphError("a constant without data", where=f"node '{node.name}'")
    if node.fix is None or node.op in ("input", "const", "float2fix"):
        return
    if get_op(node.op).fixed is None:
        raise GraphError("this operator has no fixed-point form", where=f"node '{node.name}' ({node.op})",
                         remedy="leave it without a position: it runs on the CPU")
    for operand in graph.operands(node):
        if operand.fix is None:
            raise GraphError("a fixed-point operator reads a float tensor",
                             where=f"node '{node.name}' ({node.op})", got=operand.name,
                             remedy="quantize that tensor too")


def verify(graph: Graph) -> Graph:
    """Return the graph if it is well formed, else raise GraphError naming the node."""
    seen: set[str] = set()
    shapes: dict[str, Shape] = {}
    for node in graph.nodes:
        if node.name in seen:
            raise GraphError("two nodes have the same name", where=graph.name, got=node.name)
        _check_operands(node, seen)
        _check_types(node, graph)
        expected = node.shape if node.op in ("input", "const") else output_shape(node, shapes)
        if node.shape != expected:
            raise GraphError("recorded shape and operator's rule differ", where=f"node '{node.name}'",
                             expected=expected, got=node.shape)
        seen.add(node.name)
        shapes[node.name] = node.shape
    for name in graph.outputs:
        graph.node(name)
    return graph
