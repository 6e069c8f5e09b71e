"""A prepared network with FixNeurons as a trainable Keras model."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from dpuedge import fixed
from dpuflow.ir.graph import Graph, Node
from dpuflow.qat.fake_quantize import fake_quantize, position_of, threshold_of
from dpuflow.qat.operators import kernel_of
from dpuflow.quant.adjust import position_leaders
from dpuflow.quant.quantizer import Quantized
from dpuflow.recipe.draft import Draft

_ZERO_HEADROOM = 3  # a bias of zeros starts with steps of an eighth of the output's


class QuantizedNetwork(keras.Model):  # type: ignore[misc]  # Keras has no types
    """Computes a calibrated draft with fake quantization at every FixNeuron; returns its outputs before a softmax.

    Variables: each layer's folded weights and bias, and one log2 threshold for each FixNeuron;
    FixNeurons that a concat binds together share theirs.
    """

    def __init__(self, draft: Draft) -> None:
        super().__init__(name="quantized")
        self.draft = draft
        self.judged = draft.float_network.judged
        self.network = _needed(draft.float_network.network, self.judged)
        self.kernels = {node.name: kernel_of(node) for node in self.network.nodes if _computes(node)}
        parameters = {name for group in draft.groups for name in (group.weights, group.biases) if name}
        self.parameters: dict[str, Any] = {}
        self.constants: dict[str, Any] = {}
        for node in self.network.nodes:
            if node.data is not None and node.name in parameters:
                self.parameters[node.name] = self._variable(node.name, node.data)
            elif node.data is not None:
                self.constants[node.name] = np.asarray(node.data)
        leaders = position_leaders(draft.graph, draft.positions, draft.config)
        self.leader = {node.name: leaders.get(node.name, node.name) for node in _fixes(self.network)}
        self.thresholds: dict[str, Any] = {}
        for name in dict.fromkeys(self.leader.values()):
            first = threshold_of(_first_position(draft, name), self._bits(name))
            self.thresholds[name] = self._variable(f"{name}_log2_threshold", np.float32(first))
        self.built = True

    def _variable(self, name: str, value: Any) -> Any:
        value = np.asarray(value, np.float32)
        return self.add_weight(shape=value.shape, initializer=lambda shape, dtype=None: value,
                               name=name.replace("/", "_"), trainable=True)

    def _bits(self, name: str) -> int:
        return int(self.draft.graph.node(name).get("bit_width", 8))

    def call(self, inputs: Any) -> Any:
        """The outputs of a batch: an array for the only input, or a dict by input node."""
        given = inputs if isinstance(inputs, Mapping) else {self.network.inputs[0].name: inputs}
        values: dict[str, Any] = {}
        for node in self.network.nodes:
            values[node.name] = self._value(node, given, values)
        results = [values[name] for name in self.judged]
        return results[0] if len(results) == 1 else results

    def _value(self, node: Node, given: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
        if node.op == "input":
            return keras.ops.cast(given[node.name], "float32")
        if node.name in self.parameters:
            return keras.ops.convert_to_tensor(self.parameters[node.name])
        if node.name in self.constants:
            return keras.ops.convert_to_tensor(self.constants[node.name])
        if node.op == "fix":
            threshold = keras.ops.convert_to_tensor(self.thresholds[self.leader[node.name]])
            return fake_quantize(values[node.inputs[0]], threshold, node.attrs.bits, node.attrs.rounding)
        return self.kernels[node.name]([values[name] for name in node.inputs], node.attrs)

    def positions(self) -> dict[str, int]:
        """The position of every FixNeuron as the thresholds stand."""
        made = dict(self.draft.positions)
        for name, leader in self.leader.items():
            made[name] = position_of(float(np.asarray(self.thresholds[leader])), self._bits(name))
        return made

    def settle(self) -> tuple[str, ...]:
        """Move thresholds to where the DPU can shift; the FixNeurons that moved."""
        now = self.positions()
        legal = self.draft.legal(now)
        moved = tuple(name for name in self.leader if legal[name] != now[name])
        for name in moved:
            self.thresholds[self.leader[name]].assign(threshold_of(legal[name], self._bits(name)))
        if moved:
            warnings.warn(f"thresholds moved into the DPU's range: {', '.join(moved)}", stacklevel=3)
        return moved

    def quantized(self) -> Quantized:
        """The quantizer's result with the trained parameters and positions."""
        self.settle()
        constants = {name: np.asarray(variable) for name, variable in self.parameters.items()}
        return self.draft.rounded(constants, self.positions()).finish()


def _first_position(draft: Draft, name: str) -> int:
    """A FixNeuron's position; for a bias of zeros one that leaves it room to grow to the size of the outputs."""
    pos = draft.positions[name]
    if pos != fixed.ALL_ZERO_POS:
        return pos
    group = next((group for group in draft.groups if f"{group.biases}/wquant" == name), None)
    last = draft.positions.get(f"{group.last}/aquant", 0) if group else 0
    return _ZERO_HEADROOM + (last if last != fixed.ALL_ZERO_POS else 0)


def _computes(node: Node) -> bool:
    return node.op not in ("input", "fix") and node.data is None


def _fixes(network: Graph) -> Iterator[Node]:
    return (node for node in network.nodes if node.op == "fix")


def _needed(network: Graph, wanted: tuple[str, ...]) -> Graph:
    """What the wanted tensors depend on."""
    needed = set(wanted)
    for node in reversed(network.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return network.replace((node for node in network.nodes if node.name in needed), wanted)
