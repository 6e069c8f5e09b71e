"""Cut the part between input and output nodes out of the graph, and put it back.

Quantizer specification, section 3.1, steps 3 and 6: ``main`` is optimised and quantized, the rest
(pre- and postprocessing) is attached again before calibration.
"""

from __future__ import annotations

from dataclasses import dataclass

from dpuflow.errors import GraphError
from dpuflow.formats.graphdef import TFGraph, TFNode, rewire
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.strip import between, strip, without_outer_controls


@dataclass(frozen=True)
class Partition:
    """``main`` with Placeholders for its inputs, and the nodes of the whole graph outside it."""

    main: TFGraph
    aux: tuple[TFNode, ...]
    original_inputs: tuple[TFNode, ...]


def check_nodes(graph: TFGraph, config: QuantizeConfig) -> None:
    """GraphError naming the first of the user's node names that the graph does not hold."""
    for name in (*config.input_nodes, *config.output_nodes, *config.ignore_nodes):
        graph.node(name)


def partition(graph: TFGraph, config: QuantizeConfig) -> Partition:
    """Split the graph; every node keeps its place."""
    check_nodes(graph, config)
    inside = between(graph, config.input_nodes, config.output_nodes)
    missing = [name for name in config.input_nodes if name not in inside]
    if missing:
        raise GraphError("the output nodes do not depend on an input node", where=graph.source,
                         got=", ".join(missing), remedy="check --input_nodes and --output_nodes")
    open_batch = {name: (-1, *shape[1:]) for name, shape in config.shapes.items()}
    main = strip(graph, open_batch, config.output_nodes)
    outside = tuple(node for node in graph.nodes if node.name not in inside)
    return Partition(main, outside, tuple(graph.node(name) for name in config.input_nodes))


def merge(main: TFGraph, cut: Partition) -> TFGraph:
    """Attach the outside nodes again; readers of a quantized node read its FixNeuron."""
    quantized = {node.inputs[0]: node.name for node in main.nodes if node.op == "FixNeuron"}
    aux = rewire(cut.aux, quantized)
    originals = {node.name: node for node in cut.original_inputs}
    nodes = [originals.get(node.name, node) for node in main.nodes]
    present = {node.name for node in (*nodes, *aux)}
    aux = tuple(without_outer_controls(node, present) for node in aux)
    missing = {base for node in aux for base in node.operands} - present
    if missing:
        raise GraphError("a node outside the quantized part reads one that was folded away",
                         where=main.source, got=", ".join(sorted(missing)),
                         remedy="choose other --output_nodes")
    return main.replace([*nodes, *aux])
