"""Results without calibration: positions that a table holds, or that a quantized file brings along."""

from __future__ import annotations

from collections.abc import Mapping

from dpuflow.errors import ConfigError, GraphError
from dpuflow.formats.deploy_import import is_deploy
from dpuflow.formats.graphdef import TFGraph
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.deploy import deploy_graph
from dpuflow.quant.positions import by_fix_neuron, fix_neurons
from dpuflow.quant.quantizer import Quantized, prepare, with_positions


def is_quantized(graph: TFGraph) -> bool:
    """Whether the graph holds FixNeurons; GraphError for a deploy graph, which nothing can be made of."""
    if is_deploy(graph):
        raise GraphError("this is a deploy graph: it is quantized already", where=graph.source,
                         expected="a float network")
    return bool(fix_neurons(graph))


def quantize_by_table(graph: TFGraph, config: QuantizeConfig, table: Mapping[str, int], where: object) -> Quantized:
    """Quantize with the table's positions alone; ConfigError naming what it lacks."""
    prepared = prepare(graph, config).graph
    positions = by_fix_neuron(table, prepared, where) if table else {}
    missing = [fix.operands[0] for name, fix in fix_neurons(prepared).items() if name not in positions]
    if missing:
        raise ConfigError("positions are missing, and there is no calibration data to find them",
                          where=where or "--calibration", got=f"none for {', '.join(missing[:5])}"
                          + (f" and {len(missing) - 5} more" if len(missing) > 5 else ""),
                          remedy="give --calibration, or --positions with every tensor")
    evaluation = with_positions(prepared, positions)
    return Quantized(evaluation, deploy_graph(evaluation, config), positions)


def import_quantized(graph: TFGraph, config: QuantizeConfig) -> Quantized:
    """A graph with FixNeurons as a result: its own positions, nothing calibrated."""
    positions = {name: int(fix.get("quantize_pos", 0)) for name, fix in fix_neurons(graph).items()}
    evaluation = with_positions(graph, positions)
    return Quantized(evaluation, deploy_graph(evaluation, config), positions)
