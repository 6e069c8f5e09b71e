"""An evaluation graph that can be run with any of its FixNeurons switched off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from functools import cached_property

from dpuflow.calibration.accuracy import Runner, quantized_name
from dpuflow.engines.evaluate import evaluate
from dpuflow.formats.graphdef import TFGraph
from dpuflow.formats.tf_import import import_tf
from dpuflow.ir.graph import Array, Graph, Node
from dpuflow.ops import get_op
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.positions import fix_neurons
from dpuflow.quant.quantizer import with_positions

ALL = frozenset({"*"})  # every FixNeuron switched off: the float network as the quantizer prepared it


@dataclass(frozen=True)
class Simulation:
    """The network in float32 with its FixNeurons, tensor by tensor."""

    evaluation: TFGraph
    config: QuantizeConfig

    @cached_property
    def fixes(self) -> tuple[str, ...]:
        """The FixNeurons that the outputs depend on."""
        return tuple(name for name in fix_neurons(self.evaluation) if name in self.network.by_name)

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The outputs, quantized where they are."""
        return tuple(quantized_name(self.evaluation, name) for name in self.config.output_nodes)

    @cached_property
    def positions(self) -> Mapping[str, int]:
        """The position of every FixNeuron."""
        return {name: int(fix.get("quantize_pos", 0)) for name, fix in fix_neurons(self.evaluation).items()}

    def with_positions(self, positions: Mapping[str, int]) -> Simulation:
        """The same network with other positions."""
        return Simulation(with_positions(self.evaluation, positions), self.config)

    @cached_property
    def judged(self) -> tuple[str, ...]:
        """What closeness to float is judged by: the tensors before a closing softmax, else the outputs."""
        return tuple(dict.fromkeys(_before_softmax(self.network, name) for name in self.outputs))

    @cached_property
    def network(self) -> Graph:
        """The float graph with ``fix`` nodes; every FixNeuron stays by name."""
        wanted = tuple(dict.fromkeys((*self.outputs, *fix_neurons(self.evaluation))))
        return import_tf(self.evaluation, wanted, self.config.shapes)

    @cached_property
    def constants(self) -> Mapping[str, Array]:
        """The quantized value of every FixNeuron behind a constant."""
        found = {}
        for node in self.network.nodes:
            source = self.network.by_name[node.inputs[0]] if node.op == "fix" else None
            if source is not None and source.data is not None:
                found[node.name] = get_op("fix").float_([source.data], node.attrs)
        return found

    def run(self, batch: Mapping[str, Array], wanted: Iterable[str], off: Set[str] = frozenset()) -> dict[str, Array]:
        """The wanted tensors of one batch; FixNeurons in ``off`` pass on what they get."""
        def on_fix(node: Node, value: Array) -> Array:
            if node.name in off or off is ALL:
                return value
            if node.name in self.constants:
                return self.constants[node.name]
            return get_op("fix").float_([value], node.attrs)

        read = {node.name for node in self.network.inputs}
        return evaluate(self.network, {name: array for name, array in batch.items() if name in read},
                        tuple(wanted), on_fix)

    def runner(self, off: Set[str] = frozenset()) -> Runner:
        """The network for the user's measure, some FixNeurons switched off."""
        def compute(arrays: Mapping[str, Array]) -> Mapping[str, Array]:
            results = self.run(arrays, self.outputs, off)
            return dict(zip(self.config.output_nodes, (results[name] for name in self.outputs), strict=True))

        return Runner(self.config.input_nodes, self.config.output_nodes, compute)


def _before_softmax(network: Graph, name: str) -> str:
    node = network.by_name.get(name)
    while node is not None and node.op in ("softmax", "reshape", "identity") and network.by_name[node.inputs[0]].op in (
            "softmax", "reshape", "identity", "fix", "bias_add", "dense", "conv2d"):
        if node.op == "softmax":
            return node.inputs[0]
        node = network.by_name[node.inputs[0]]
    return name
