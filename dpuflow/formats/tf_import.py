"""TensorFlow graphs, float or with FixNeurons, to the float graph of ``dpuflow.ir``.

Node names stay. The operators' converters are in ``tf_operators``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.checks import MALFORMED
from dpuflow.formats.graphdef import TFGraph, TFNode
from dpuflow.formats.tf_constants import FOLDABLE, fold
from dpuflow.formats.tf_context import Importer
from dpuflow.formats.tf_operators import CONVERTERS, MAIN_OUTPUT, STATIC_ONLY
from dpuflow.ir.graph import Graph, Shape, const
from dpuflow.ir.verify import verify


def _only_main_outputs(graph: TFGraph, node: TFNode) -> None:
    for operand in node.inputs:
        name, _, output = operand.partition(":")
        if not operand.startswith("^") and (output or "0") != MAIN_OUTPUT.get(graph.node(name).op, "0"):
            raise UnsupportedOp("reads a second output of a node", where=f"node '{node.name}' ({node.op})", got=operand,
                                remedy="replace the operator with several outputs")


def needed_nodes(graph: TFGraph, outputs: Iterable[str]) -> tuple[TFNode, ...]:
    """The nodes that the outputs depend on, operands first; GraphError on a cycle."""
    order: list[TFNode] = []
    state: dict[str, int] = {}
    stack = [(name, False) for name in reversed(tuple(outputs))]
    while stack:
        name, done = stack.pop()
        if done:
            state[name] = 2
            order.append(graph.node(name))
        elif state.get(name) is None:
            state[name] = 1
            _only_main_outputs(graph, graph.node(name))
            stack.append((name, True))
            stack.extend((operand, False) for operand in reversed(graph.node(name).operands))
        elif state[name] == 1:
            raise GraphError("the graph has a cycle", where=graph.source, got=f"through node '{name}'")
    return tuple(order)


def import_tf(graph: TFGraph, outputs: Iterable[str], input_shapes: Mapping[str, Shape] | None = None,
              name: str = "graph") -> Graph:
    """The float graph that yields ``outputs``; shapes may replace those of the Placeholders."""
    outputs = tuple(outputs)
    importer = Importer(graph, input_shapes or {})
    for node in needed_nodes(graph, outputs):
        if node.op in STATIC_ONLY or importer.is_static(node):
            importer.sizes.add(node.name)
            continue
        _convert(importer, node)
    made = tuple(importer.nodes.values())
    renamed = tuple(importer.made(output).name if output in importer.views else importer.alias.get(output, output)
                    for output in outputs)
    return verify(_pruned(Graph(name, made, renamed)))


def _folded(importer: Importer, node: TFNode) -> bool:
    """Make a constant of a node that reads constants only; whether it was one."""
    if node.op not in FOLDABLE or node.op == "Identity":
        return False
    operands = [importer.nodes.get(importer.alias.get(name, name)) for name in node.operands]
    values = [operand.data for operand in operands if operand is not None and operand.data is not None]
    if not values or len(values) < len(node.operands):
        return False
    importer.nodes[node.name] = const(node.name, fold(node, values))
    return True


def _convert(importer: Importer, node: TFNode) -> None:
    if _folded(importer, node):
        return
    if node.op not in CONVERTERS:
        raise UnsupportedOp(f"unsupported operator {node.op}", where=f"node '{node.name}'",
                            remedy="cut the graph before it with --output_nodes, or replace the layer")
    try:
        CONVERTERS[node.op](importer, node)
    except KeyError as error:
        raise GraphError("reads a node that yields no tensor", where=f"node '{node.name}' ({node.op})",
                         got=error.args[0]) from None
    except MALFORMED as error:
        raise GraphError(f"malformed node ({error})", where=f"node '{node.name}' ({node.op})") from error


def _pruned(graph: Graph) -> Graph:
    """Without the constants that only import time needed (shapes, axes)."""
    needed: set[str] = set()
    for node in reversed(graph.nodes):
        if node.name in graph.outputs or node.name in needed:
            needed.add(node.name)
            needed.update(node.inputs)
    return graph.replace(node for node in graph.nodes if node.name in needed or node.op == "input")
