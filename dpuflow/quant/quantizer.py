"""The quantizer as a whole: a frozen graph and calibration batches in, two graphs out.

The order of the steps is the vendor's (quantizer specification, section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from dpuflow.engines.evaluate import evaluate
from dpuflow.errors import QuantizeError
from dpuflow.formats.graphdef import TFGraph, TFNode
from dpuflow.formats.tf_import import import_tf
from dpuflow.ir.graph import Array
from dpuflow.quant.adjust import adjust_positions
from dpuflow.quant.calibrate import Batches, calibrate, check_batch
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.deploy import deploy_graph, quantized_constant
from dpuflow.quant.insert import Placement, insert_fix_neurons, place_fix_neurons
from dpuflow.quant.order import topological
from dpuflow.quant.padded_pools import warn_padded_pools
from dpuflow.quant.partition import check_nodes, merge, partition
from dpuflow.quant.prepare import DEBUG_FILES, OPTIMISE, Step, steps_of

__all__ = ["OPTIMISE", "Observe", "Prepared", "Quantized", "Step", "check_float_graph", "prepare", "quantize_graph",
           "with_positions", "with_quantized_weights"]

# Called with the vendor's name of a stage and the graph after it.
Observe = Callable[[str, TFGraph], None]


def _look_away(name: str, graph: TFGraph) -> None:
    """Nobody wants to see the stages."""


@dataclass(frozen=True)
class Prepared:
    """A graph with FixNeurons in place, before calibration."""

    graph: TFGraph
    placement: Placement


@dataclass(frozen=True)
class Quantized:
    """The quantizer's result: both graphs and every position by FixNeuron name."""

    evaluation: TFGraph
    deploy: TFGraph
    positions: Mapping[str, int]


def check_float_graph(graph: TFGraph, config: QuantizeConfig, batch: Mapping[str, Array]) -> None:
    """Run the float network once; GraphError, UnsupportedOp or QuantizeError if it cannot be run."""
    check_nodes(graph, config)
    network = import_tf(graph, config.output_nodes, config.shapes)
    arrays = check_batch(batch, [node.name for node in graph.placeholders], 0)
    with np.errstate(all="ignore"):  # the results are checked
        results = evaluate(network, {node.name: arrays[node.name][:1] for node in network.inputs})
    for name, value in results.items():
        if not np.isfinite(value).all():
            raise QuantizeError("the float network yields NaN or infinity", where=f"node '{name}'",
                                remedy="check the frozen weights and the preprocessing")


def optimise(main: TFGraph, config: QuantizeConfig, observe: Observe = _look_away) -> TFGraph:
    """The steps between cutting the graph and placing FixNeurons."""
    for step in steps_of(config):
        with np.errstate(all="ignore"):  # what is not finite is found at the next FixNeuron
            main = step(main, config)
        if step.__name__ in DEBUG_FILES:
            observe(DEBUG_FILES[step.__name__], main)
    observe("optimized", main)
    return main


def prepare(graph: TFGraph, config: QuantizeConfig, observe: Observe = _look_away) -> Prepared:
    """Cut, optimise, place FixNeurons, attach the rest again, sort."""
    cut = partition(graph, config)
    observe("main_graph", cut.main)
    observe("aux_graph", graph.replace(cut.aux))
    network = import_tf(cut.main, config.output_nodes, config.shapes)  # names what cannot be run first
    warn_padded_pools(network)
    main = optimise(cut.main, config, observe)
    placement = place_fix_neurons(main, config)
    inserted = insert_fix_neurons(main, placement.fixes.values(), config)
    observe("fn_inserted", inserted)
    merged = topological(merge(inserted, cut))
    observe("quantize_calibration_model", merged)
    return Prepared(merged, placement)


def with_positions(graph: TFGraph, positions: Mapping[str, int]) -> TFGraph:
    """The evaluation graph: FixNeurons in phase 1 with their final positions."""

    def final(node: TFNode) -> TFNode:
        if node.op != "FixNeuron":
            return node
        return node.with_attrs(phase=1, quantize_pos=positions[node.name])

    return graph.replace(final(node) for node in graph.nodes)


def with_quantized_weights(evaluation: TFGraph) -> TFGraph:
    """The evaluation graph with its constants on their grids; the FixNeurons stay and change nothing."""
    fixes = {node.operands[0]: node for node in evaluation.nodes if node.op == "FixNeuron"}

    def quantized(node: TFNode) -> TFNode:
        fix = fixes.get(node.name)
        if node.op != "Const" or fix is None or fix.get("mode") == 1:
            return node
        return node.with_attrs(value=quantized_constant(node.tensor(), fix.get("bit_width"), fix.get("quantize_pos")))

    return evaluation.replace(quantized(node) for node in evaluation.nodes)


def quantize_graph(graph: TFGraph, config: QuantizeConfig, batches: Batches,
                   observe: Observe = _look_away) -> Quantized:
    """Quantize a frozen graph by the vendor's rule; errors are typed and name the node."""
    prepared = prepare(graph, config, observe)
    quantized = [fix.name for fix in prepared.placement.fixes.values()]
    positions = calibrate(prepared.graph, quantized, config.shapes, batches, config.activation_rounding)
    positions = adjust_positions(prepared.graph, prepared.placement.groups, positions, config)
    evaluation = with_positions(prepared.graph, positions)
    observe("quantize_evaluation_model", evaluation)
    return Quantized(evaluation, deploy_graph(evaluation, config, observe), positions)
