"""Where a float network begins and ends, found in the graph or given by the user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dpuflow.errors import GraphError
from dpuflow.formats.graphdef import TFGraph
from dpuflow.formats.tf_import import import_tf, needed_nodes
from dpuflow.ir.graph import Shape
from dpuflow.quant.config import QuantizeConfig


def find_config(graph: TFGraph, input_nodes: Sequence[str] = (), output_nodes: Sequence[str] = (),
                input_shapes: Sequence[Shape] = (), **options: Any) -> QuantizeConfig:
    """The configuration with what was not given taken from the graph.

    Inputs are the Placeholders that the outputs depend on, outputs the nodes that nobody reads and
    that depend on an input; shapes are the Placeholders' own, batch 1. GraphError if there are none.
    """
    outputs = tuple(output_nodes) or _outputs(graph)
    inputs = tuple(input_nodes) or _inputs(graph, outputs)
    given = dict(zip(inputs, input_shapes, strict=False))
    if not given or len(given) < len(inputs):
        given = {**_shapes(graph, inputs, outputs), **given}
    shapes = tuple(input_shapes) if len(input_shapes) > len(inputs) else tuple(given[name] for name in inputs)
    return QuantizeConfig(inputs, outputs, shapes, **options)


def _outputs(graph: TFGraph) -> tuple[str, ...]:
    found = [node.name for node in graph.sinks
             if any(needed.op == "Placeholder" for needed in needed_nodes(graph, [node.name]))]
    if not found:
        raise GraphError("the network computes no output from an input", where=graph.source,
                         remedy="name it with --output-nodes")
    return tuple(found)


def _inputs(graph: TFGraph, outputs: Sequence[str]) -> tuple[str, ...]:
    needed = {node.name for node in needed_nodes(graph, outputs)}
    found = tuple(node.name for node in graph.placeholders if node.name in needed)
    if not found:
        raise GraphError("the network has no input", where=graph.source, remedy="name it with --input-nodes")
    return found


def _shapes(graph: TFGraph, inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, Shape]:
    shapes = {node.name: node.shape for node in import_tf(graph, outputs).nodes}
    missing = [name for name in inputs if name not in shapes]
    if missing:
        raise GraphError("an input's shape is not known", where=f"node '{missing[0]}'",
                         remedy="give it with --input-shapes")
    return {name: shapes[name] for name in inputs}
