"""``deploy_model.pb``: the graph that the DNNDK compiler reads (quantizer specification, section 8)."""

from __future__ import annotations

from collections.abc import Callable

from dpuflow.formats.graphdef import TFGraph
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.deploy.convert import convert_groups
from dpuflow.quant.deploy.fold_fix_neurons import fold_fix_neurons, quantized_constant
from dpuflow.quant.deploy.fold_operands import fold_operands
from dpuflow.quant.deploy.set_input_positions import set_input_positions
from dpuflow.quant.deploy.set_reshapes import set_reshapes
from dpuflow.quant.order import topological
from dpuflow.quant.prepare.remove_identities import remove_identities_but
from dpuflow.quant.strip import strip

__all__ = ["deploy_graph", "deployed_outputs", "quantized_constant"]


def deployed_outputs(graph: TFGraph, config: QuantizeConfig) -> tuple[str, ...]:
    """The output nodes; one that has a FixNeuron means the FixNeuron."""
    fixes = {node.operands[0]: node.name for node in graph.nodes if node.op == "FixNeuron"}
    return tuple(fixes.get(name, name) for name in config.output_nodes)


def deploy_graph(evaluation: TFGraph, config: QuantizeConfig,
                 observe: Callable[[str, TFGraph], None] = lambda name, graph: None) -> TFGraph:
    """The deploy graph of an evaluation graph with final positions."""
    outputs = deployed_outputs(evaluation, config)
    shapes = {name: shape for name, shape in config.deployed_shapes.items() if name in evaluation.by_name}
    kept = frozenset((*config.input_nodes, *outputs))

    def seen(name: str, graph: TFGraph) -> TFGraph:
        observe(name, graph)
        return graph

    graph = seen("deploy_sub_graph", strip(remove_identities_but(evaluation, kept), shapes, outputs))
    graph = seen("inference_reshapes", strip(set_reshapes(graph, outputs, config), shapes, outputs))
    graph = topological(seen("fold_fix_neuron", fold_fix_neurons(graph)))
    graph = seen("convert_patterns", convert_groups(graph, config))
    graph = topological(seen("fold_op_params", fold_operands(graph)))
    graph = remove_identities_but(set_input_positions(graph), frozenset())
    return seen("deployed", graph.replace(node.replace(device="") for node in graph.nodes))
