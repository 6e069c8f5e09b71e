"""Where FixNeurons go, and putting them there (quantizer specification, sections 3.5 and 3.6)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from dpuflow.formats.graphdef import TFGraph, TFNode, base_name, new_node
from dpuflow.formats.tf_values import FLOAT
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.known_patterns import Match, find_groups, nodes_to_ignore

_CONSTANT_ROLES = ("weights", "biases", "alpha", "scale", "offset")
_DEPTHWISE = ("DepthwiseConv2d", "DepthwiseConv2dNative")
# The kinds whose depthwise weights get mode 2 (section 3.6).
_DEPTHWISE_KINDS = ("convfc", "convfc_bias", "convfc_relu", "convfc_bias_relu", "convfc_bias_leakyrelu",
                    "convfc_leakyrelu", "convfc_bias_keras_leakyrelu", "convfc_keras_leakyrelu")


@dataclass(frozen=True)
class FixNeuron:
    """One FixNeuron to insert after ``producer``: suffix, mode, method and width."""

    producer: str
    suffix: str
    mode: int
    method: int
    bits: int

    @property
    def name(self) -> str:
        """``<producer>/wquant`` or ``<producer>/aquant``."""
        return f"{self.producer}/{self.suffix}"


@dataclass(frozen=True, order=True)
class Group:
    """A compute group for the shift adjustments (section 6); node names, biases '' if none.

    Groups are visited in the order of their names. ``input`` of a transposed convolution is its
    shape operand: the vendor's slip, which takes these groups out of the adjustments.
    """

    compute: str
    input: str
    last: str
    weights: str
    biases: str


@dataclass(frozen=True)
class Placement:
    """The FixNeurons by producer, the compute groups and all matches that are not ignored."""

    fixes: Mapping[str, FixNeuron]
    groups: tuple[Group, ...]
    matches: tuple[Match, ...]


class _Placer:
    def __init__(self, graph: TFGraph, config: QuantizeConfig) -> None:
        self.graph, self.config = graph, config
        self.fixes: dict[str, FixNeuron] = {}
        self.groups: set[Group] = set()

    def is_float(self, name: str) -> bool:
        node = self.graph.by_name[name]
        kind = node.get("dtype", node.get("T", FLOAT))
        return bool(kind == FLOAT)

    def activation(self, name: str, method: int | None = None) -> None:
        method = self.config.method if method is None else method
        self.fixes.setdefault(name, FixNeuron(name, "aquant", 1, method, self.config.activation_bit))

    def constant(self, name: str, match: Match, role: str) -> None:
        depthwise = (role == "weights" and match.kind in _DEPTHWISE_KINDS
                     and self.graph.by_name[match.roles["compute"]].op in _DEPTHWISE)
        self.fixes.setdefault(name, FixNeuron(name, "wquant", 2 if depthwise else 0, self.config.method,
                                              self.config.weight_bit))

    def constants(self, match: Match) -> dict[str, str]:
        """The group's parameters by role; the fused leaky slope is no tensor."""
        return {role: match.roles[role] for role in _CONSTANT_ROLES if role in match.roles}

    def place(self, match: Match) -> bool:
        """FixNeurons of a group, unless one of its tensors is not float; whether any is new."""
        before = len(self.fixes)
        constants = self.constants(match)
        checked = (*constants.values(), match.last, *(match.roles[r] for r in ("compute",) if r in match.roles))
        if not all(map(self.is_float, checked)):
            return False
        for role, name in constants.items():
            self.constant(name, match, role)
        self.activation(match.last, 0 if match.kind == "placeholder" else None)
        if match.is_compute:
            self.groups.add(self.group(match))
        return len(self.fixes) > before

    def group(self, match: Match) -> Group:
        roles = match.roles
        return Group(roles["compute"], roles.get("shape", roles["input"]), match.last, roles["weights"],
                     roles.get("biases", ""))

    def reads(self, match: Match) -> tuple[str, ...]:
        """What must be quantized first, through Identity; of "other" nodes all operands but the last (section 3.5)."""
        other = match.kind.startswith("other")
        return tuple(map(self.source, self.graph.by_name[match.last].operands[:-1] if other else match.inputs))

    def source(self, name: str) -> str:
        """A node, or what it hands on: Identities stay in graphs that are trained."""
        node = self.graph.by_name[name]
        return node.operands[0] if node.op == "Identity" and name not in self.fixes else name

    def finish(self, match: Match) -> None:
        """What a compute group and a concatenation read gets FixNeurons of its own."""
        concat = match.kind == "other" and self.graph.by_name[match.last].op == "ConcatV2"
        if concat or match.is_compute:
            for name in filter(self.is_float, self.reads(match)):
                self.activation(name)


def _named(name: str, graph: TFGraph, placer: _Placer, flag: str) -> str | None:
    """The producer that a name of --nodes_bit or --nodes_method means: a compute node's its weights."""
    if name in placer.fixes:
        return name
    weights = [group.weights for group in placer.groups if group.compute == name]
    if weights:
        return weights[0]
    unknown = name not in graph.by_name
    warnings.warn(f"[DECENT_WARNING] --{flag}: {name} " + (
        "not found in quantized graph, please specify node in quantized graph" if unknown else
        "gets no FixNeuron, so this is ignored"), stacklevel=4)
    return None


def _set_by_name(graph: TFGraph, placer: _Placer) -> None:
    """Widths and methods that the user gives node by node; method 2 means 1 but for depthwise weights."""
    for name, bits in placer.config.nodes_bit:
        producer = _named(name, graph, placer, "nodes_bit")
        if producer is not None:
            placer.fixes[producer] = replace(placer.fixes[producer], bits=bits)
    for name, method in placer.config.nodes_method:
        producer = _named(name, graph, placer, "nodes_method")
        if producer is not None:
            fix = placer.fixes[producer]
            placer.fixes[producer] = replace(fix, method=1 if method == 2 and fix.mode != 2 else method)


def place_fix_neurons(graph: TFGraph, config: QuantizeConfig) -> Placement:
    """Decide every FixNeuron: group by group until nothing changes, then what they read."""
    placer = _Placer(graph, config)
    ignored = nodes_to_ignore(graph, config.ignore_nodes)
    matches = tuple(match for match in find_groups(graph) if not ignored.intersection(match.claimed))
    placed = True
    while placed:
        placed = False
        for match in matches:
            if match.is_compute or all(name in placer.fixes for name in placer.reads(match)):
                placed |= placer.place(match)
    for match in matches:
        placer.finish(match)
    _set_by_name(graph, placer)
    return Placement(placer.fixes, tuple(sorted(placer.groups)), matches)


def fix_node(fix: FixNeuron, config: QuantizeConfig) -> TFNode:
    """The FixNeuron as the configured release writes it (section 3.6, section 13)."""
    node = new_node(fix.name, "FixNeuron", (fix.producer,), bit_width=fix.bits, method=fix.method,
                    mode=fix.mode, phase=0, quantize_pos=0)
    if config.release.writes_output_dir:
        node = node.with_attrs(output_dir=config.output_dir)
    return node.with_attrs(T=FLOAT) if config.release.writes_type else node


def insert_fix_neurons(graph: TFGraph, fixes: Iterable[FixNeuron], config: QuantizeConfig) -> TFGraph:
    """Each FixNeuron directly after its producer; all the producer's readers read it."""
    after = {fix.producer: fix for fix in fixes}
    nodes: list[TFNode] = []
    for node in graph.nodes:
        inputs = tuple(after[base_name(name)].name if not name.startswith("^") and base_name(name) in after else name
                       for name in node.inputs)
        nodes.append(node.replace(inputs=inputs))
        if node.name in after:
            nodes.append(fix_node(after[node.name], config))
    return graph.replace(nodes)
