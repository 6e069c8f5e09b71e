"""Cut the part between input and output nodes out of the graph, and put it back.

Quantizer specification, section 3.1, steps 3 and 6: ``main`` is optimised and quantized, the rest
(pre- and postprocessing) is attached again before calibration.
"""

from __future__ import annotations

from dataclasses import dataclass

from dpuflow.errors import GraphError
from dpuflow.formats.graphdef import TFGraph, TFNode, base_name, new_node, rewire
from dpuflow.formats.tf_values import FLOAT, TShape
from dpuflow.quant.config import QuantizeConfig


@dataclass(frozen=True)
class Partition:
    """``main`` with Placeholders for its inputs, and the nodes of the whole graph outside it."""

    main: TFGraph
    aux: tuple[TFNode, ...]
    original_inputs: tuple[TFNode, ...]


def _between(graph: TFGraph, config: QuantizeConfig) -> set[str]:
    """The nodes that the outputs depend on, not looking past the inputs."""
    inside: set[str] = set()
    stack = list(config.output_nodes)
    while stack:
        name = stack.pop()
        if name in inside:
            continue
        inside.add(name)
        if name not in config.input_nodes:
            stack.extend(graph.node(name).operands)
    return inside


def _main_input(node: TFNode, shape: tuple[int, ...]) -> TFNode:
    given = TShape((-1, *shape[1:]))
    if node.op == "Placeholder":
        return node.with_attrs(shape=given)
    return new_node(node.name, "Placeholder", dtype=FLOAT, shape=given)


def _without_outer_controls(node: TFNode, inside: set[str]) -> TFNode:
    """Control operands that are not there order nothing: inference has no side effects."""
    kept = tuple(name for name in node.inputs if not name.startswith("^") or base_name(name) in inside)
    return node if kept == node.inputs else node.replace(inputs=kept)


def check_nodes(graph: TFGraph, config: QuantizeConfig) -> None:
    """GraphError naming the first of the user's node names that the graph does not hold."""
    for name in (*config.input_nodes, *config.output_nodes, *config.ignore_nodes):
        graph.node(name)


def partition(graph: TFGraph, config: QuantizeConfig) -> Partition:
    """Split the graph; the Placeholders of main stand at its end, as in the vendor's tool."""
    check_nodes(graph, config)
    inside = _between(graph, config)
    missing = [name for name in config.input_nodes if name not in inside]
    if missing:
        raise GraphError("the output nodes do not depend on an input node", where=graph.source,
                         got=", ".join(missing), remedy="check --input_nodes and --output_nodes")
    originals = tuple(graph.node(name) for name in config.input_nodes)
    body = [_without_outer_controls(node, inside) for node in graph.nodes
            if node.name in inside and node.name not in config.input_nodes]
    heads = [_main_input(node, config.shapes[node.name]) for node in originals]
    outside = tuple(node for node in graph.nodes if node.name not in inside)
    return Partition(graph.replace([*body, *heads]), outside, originals)


def merge(main: TFGraph, cut: Partition) -> TFGraph:
    """Attach the outside nodes again; readers of a quantized node read its FixNeuron."""
    quantized = {node.inputs[0]: node.name for node in main.nodes if node.op == "FixNeuron"}
    aux = rewire(cut.aux, {name: fix for name, fix in quantized.items() if name in main.by_name})
    originals = {node.name: node for node in cut.original_inputs if node.op != "Placeholder"}
    nodes = [originals.get(node.name, node) for node in main.nodes]
    present = {node.name for node in (*nodes, *aux)}
    aux = tuple(_without_outer_controls(node, present) for node in aux)
    missing = {base for node in aux for base in node.operands} - present
    if missing:
        raise GraphError("a node outside the quantized part reads one that was folded away",
                         where=main.source, got=", ".join(sorted(missing)),
                         remedy="choose other --output_nodes")
    return main.replace([*nodes, *aux])
