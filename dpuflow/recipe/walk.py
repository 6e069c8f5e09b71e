"""Go through a network once, float and quantized side by side, deciding layer by layer.

Every decision sees the quantized inputs that the decisions before it leave, and the float results
that it should come close to. All remedies that depend on data are policies for this walk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from dpuedge import fixed
from dpuflow.engines.evaluate import last_uses
from dpuflow.ir.graph import Array, Graph, Node
from dpuflow.ops import get_op
from dpuflow.quant.adjust import tied_positions
from dpuflow.quant.insert import Group
from dpuflow.recipe.draft import Draft
from dpuflow.recipe.layer import FITTED


@dataclass(frozen=True)
class LayerView:
    """What a policy sees of a layer: its place, float parameters, quantized input, float target.

    ``x`` is the input as the quantized network has it, ``target`` the float output after the bias
    and before the nonlinearity. ``weights_pos``, ``bias_pos``, ``input_pos``, ``output_pos`` are the
    positions so far.
    """

    node: Node
    group: Group
    weights: Array
    bias: Array | None
    x: Array
    target: Array
    input_pos: int
    weights_pos: int
    bias_pos: int | None
    output_pos: int
    bits: int


@dataclass(frozen=True)
class LayerChoice:
    """Parameters on their grids and the positions of those."""

    weights: Array
    weights_pos: int
    bias: Array | None = None
    bias_pos: int | None = None


@dataclass(frozen=True)
class ActivationView:
    """What a policy sees of a tensor: its values before rounding, the float ones, legal positions."""

    name: str
    value: Array
    exact: Array
    pos: int
    allowed: range
    rounding: str
    bits: int


LayerPolicy = Callable[[LayerView], LayerChoice]
ActivationPolicy = Callable[[ActivationView], int]


def keep_activation(view: ActivationView) -> int:
    """The position as it is."""
    return view.pos


def walk(draft: Draft, images: Mapping[str, Array], layer: LayerPolicy,
         activation: ActivationPolicy = keep_activation) -> Draft:
    """The calibrated ``draft`` with every layer's parameters, and every activation's position, decided anew."""
    walker = _Walker(draft, layer, activation)
    return walker.run(images)


class _Walker:
    def __init__(self, draft: Draft, layer: LayerPolicy, activation: ActivationPolicy) -> None:
        self.draft, self.layer, self.activation = draft, layer, activation
        self.network: Graph = draft.float_network.network
        self.groups = {group.compute: group for group in draft.groups if self._fits(group)}
        self.lasts = {f"{group.last}/aquant": group for group in self.groups.values()}
        self.positions = dict(draft.positions)
        self.tied = tied_positions(draft.graph, draft.positions, draft.config)
        self.constants: dict[str, Array] = {}
        self.overrides: dict[str, Array] = {}  # quantized values of parameters, by FixNeuron

    def _fits(self, group: Group) -> bool:
        """A layer that stands in the network as it is, with parameters of its own."""
        node = self.network.by_name.get(group.compute)
        if node is None or node.op not in FITTED or node.attrs is None:
            return False
        names = [f"{name}/wquant" for name in (group.weights, group.biases) if name]
        owned = all(name in self.network.by_name and len(self.network.users[name]) == 1 for name in names)
        constant = all(self.draft.graph.node(name).op == "Const" for name in (group.weights, group.biases) if name)
        return owned and constant and f"{group.input}/aquant" in self.network.by_name

    def run(self, images: Mapping[str, Array]) -> Draft:
        exact: dict[str, Array] = {}
        values: dict[str, Array] = {}
        last = last_uses(self.network)
        for node in self.network.nodes:
            self._visit(node, images, exact, values)
            for name in node.inputs:
                if last[name] == node.name:
                    exact.pop(name, None)
                    values.pop(name, None)
        return self.draft.rounded(self.constants, self.draft.legal(self.positions))

    def _visit(self, node: Node, images: Mapping[str, Array], exact: dict[str, Array],
               values: dict[str, Array]) -> None:
        if node.op == "input":
            exact[node.name] = values[node.name] = images[node.name]
        elif node.data is not None:
            exact[node.name] = values[node.name] = node.data
        elif node.op == "fix":
            source = node.inputs[0]
            exact[node.name] = exact[source]
            values[node.name] = self._fixed(node, values[source], exact[source])
        else:
            kernel = get_op(node.op).float_
            exact[node.name] = kernel([exact[name] for name in node.inputs], node.attrs)
            if node.name in self.groups:
                self._decide(node, self.groups[node.name], exact, values)
            values[node.name] = kernel([values[name] for name in node.inputs], node.attrs)

    def _fixed(self, node: Node, value: Array, exact: Array) -> Array:
        if node.name in self.overrides:
            return self.overrides[node.name]
        attrs = node.attrs
        if self.network.by_name[node.inputs[0]].data is None and node.name not in self.tied:
            view = ActivationView(node.name, value, exact, self.positions[node.name], self._allowed(node.name),
                                  attrs.rounding, attrs.bits)
            self.positions[node.name] = self.activation(view)
        pos = self.positions[node.name]
        if pos == fixed.ALL_ZERO_POS:
            return np.zeros_like(value)
        return fixed.snap(value, pos, attrs.rounding, attrs.bits)

    def _allowed(self, name: str) -> range:
        """Positions that the shift of the layer before can reach (arithmetic specification, section 8)."""
        if name not in self.lasts:
            return range(-128, 128)
        group = self.lasts[name]
        total = self.positions[f"{group.input}/aquant"] + self.positions[f"{group.weights}/wquant"]
        return range(total - 16, total + 1)

    def _decide(self, node: Node, group: Group, exact: dict[str, Array], values: dict[str, Array]) -> None:
        weights, biases = f"{group.weights}/wquant", f"{group.biases}/wquant" if group.biases else None
        bias = self.draft.float_network.network.by_name[group.biases].data if biases else None
        target = exact[node.name] if bias is None else exact[node.name] + bias.reshape(-1)
        chosen = self.layer(LayerView(
            node, group, exact[weights], bias, values[node.inputs[0]], target,
            self.positions[f"{group.input}/aquant"], self.positions[weights],
            self.positions[biases] if biases else None, self.positions.get(f"{group.last}/aquant", 0),
            self.network.by_name[weights].attrs.bits))
        self.positions[weights] = chosen.weights_pos
        self.constants[group.weights] = chosen.weights
        values[weights] = self.overrides[weights] = chosen.weights
        if biases and chosen.bias is not None and chosen.bias_pos is not None and bias is not None:
            self.positions[biases] = chosen.bias_pos
            self.constants[group.biases] = chosen.bias.reshape(bias.shape)
            self.overrides[biases] = chosen.bias.reshape(bias.shape)
            if biases in values:
                values[biases] = self.overrides[biases]
