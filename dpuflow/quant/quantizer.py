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
from dpuflow.quant.deploy import deploy_graph
from dpuflow.quant.insert import Placement, insert_fix_neurons, place_fix_neurons
from dpuflow.quant.optimise import (
    drop_unread_constants,
    expand_batch_norm,
    fold_batch_norm,
    fold_constants,
    fold_mul,
    remove_identities,
    split_shared_constants,
)
from dpuflow.quant.order import topological
from dpuflow.quant.partition import Partition, check_nodes, merge, partition
from dpuflow.quant.simulate_dpu import mean_to_average_pool, scale_average_pools, set_leaky_slope

Step = Callable[[TFGraph, QuantizeConfig], TFGraph]

# The optimisation of the part between input and output nodes, in the vendor's order.
OPTIMISE: tuple[Step, ...] = (
    remove_identities,
    split_shared_constants,
    mean_to_average_pool,
    scale_average_pools,
    set_leaky_slope,
    fold_constants,
    expand_batch_norm,
    fold_batch_norm,
    fold_mul,
    drop_unread_constants,
)


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
    results = evaluate(network, {node.name: arrays[node.name][:1] for node in network.inputs})
    for name, value in results.items():
        if not np.isfinite(value).all():
            raise QuantizeError("the float network yields NaN or infinity", where=f"node '{name}'",
                                remedy="check the frozen weights and the preprocessing")


def prepare(graph: TFGraph, config: QuantizeConfig) -> Prepared:
    """Cut, optimise, place FixNeurons, attach the rest again, sort."""
    cut = partition(graph, config)
    main = cut.main
    import_tf(main, config.output_nodes, config.shapes)  # names what cannot be run before anything is changed
    for step in OPTIMISE:
        main = step(main, config)
    placement = place_fix_neurons(topological(main), config)
    merged = merge(insert_fix_neurons(main, placement), cut)
    return Prepared(topological(_in_float_order(merged, graph, cut)), placement)


def _in_float_order(merged: TFGraph, original: TFGraph, cut: Partition) -> TFGraph:
    """The float graph's order; new nodes stay behind their neighbours, inputs at the end."""
    index = {node.name: at for at, node in enumerate(original.nodes)}
    inputs = {node.name for node in cut.original_inputs}
    outside = {node.name for node in cut.aux}
    keys: dict[str, float] = {}
    latest = -1.0
    for node in merged.nodes:
        if node.name in outside:
            keys[node.name] = index[node.name]
            continue
        if node.name in inputs:
            latest = float("inf")
        elif node.name in index:
            latest = max(latest, float(index[node.name]))
        keys[node.name] = latest
    return merged.replace(sorted(merged.nodes, key=lambda node: keys[node.name]))


def with_positions(graph: TFGraph, positions: Mapping[str, int]) -> TFGraph:
    """The evaluation graph: FixNeurons in phase 1 with their final positions."""

    def final(node: TFNode) -> TFNode:
        if node.op != "FixNeuron":
            return node
        return node.with_attrs(phase=1, quantize_pos=positions[node.name])

    return graph.replace(final(node) for node in graph.nodes)


def quantize_graph(graph: TFGraph, config: QuantizeConfig, batches: Batches) -> Quantized:
    """Quantize a frozen graph by the vendor's rule; errors are typed and name the node."""
    prepared = prepare(graph, config)
    quantized = [fix.name for fix in prepared.placement.fixes.values()]
    positions = calibrate(prepared.graph, quantized, config.shapes, batches)
    positions = adjust_positions(prepared.graph, prepared.placement.groups, positions, config)
    evaluation = with_positions(prepared.graph, positions)
    return Quantized(evaluation, deploy_graph(evaluation, config), positions)
