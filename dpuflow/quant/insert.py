"""Where FixNeurons go, and putting them there (quantizer specification, sections 3.5 and 3.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dpuflow.formats.graphdef import TFGraph, TFNode, base_name, new_node
from dpuflow.formats.tf_values import FLOAT
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.patterns import Match, find_matches

COMPUTE_KINDS = ("atrous", "convfc", "leakyrelu", "fused_leakyrelu", "keras_leakyrelu", "batchnorm")
_CONSTANT_ROLES = ("weights", "biases", "alpha", "scale", "offset")
_DEPTHWISE = ("DepthwiseConv2d", "DepthwiseConv2dNative")
# The kinds whose depthwise weights get mode 2 (section 3.6).
_DEPTHWISE_KINDS = ("convfc", "convfc_bias", "convfc_bias_relu", "convfc_bias_leakyrelu", "convfc_leakyrelu",
                    "convfc_bias_keras_leakyrelu", "convfc_keras_leakyrelu")


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


@dataclass(frozen=True)
class Group:
    """A compute group for the shift adjustments (section 6); node names, biases '' if none."""

    compute: str
    input: str
    last: str
    weights: str
    biases: str


@dataclass(frozen=True)
class Placement:
    """The FixNeurons by producer and the compute groups."""

    fixes: Mapping[str, FixNeuron]
    groups: tuple[Group, ...]
    matches: tuple[Match, ...]


def is_compute(match: Match) -> bool:
    """Whether the group is quantized whatever its inputs are."""
    return match.kind.startswith(COMPUTE_KINDS)


class _Placer:
    def __init__(self, graph: TFGraph, config: QuantizeConfig) -> None:
        self.graph, self.config = graph, config
        self.fixes: dict[str, FixNeuron] = {}
        self.bits = dict(config.nodes_bit)
        self.methods = dict(config.nodes_method)

    def _is_float(self, name: str) -> bool:
        node = self.graph.by_name[name]
        kind = node.get("T", node.get("dtype", FLOAT))
        return bool(kind == FLOAT)

    def activation(self, name: str, method: int | None = None) -> None:
        if name in self.fixes or not self._is_float(name):
            return
        method = self.methods.get(name, self.config.method) if method is None else method
        bits = self.bits.get(name, self.config.activation_bit)
        self.fixes[name] = FixNeuron(name, "aquant", 1, 1 if method == 2 else method, bits)

    def constant(self, name: str, match: Match, role: str) -> None:
        if name in self.fixes:
            return
        compute = match.roles.get("compute", "")
        depthwise = (role == "weights" and match.kind in _DEPTHWISE_KINDS
                     and self.graph.by_name[compute].op in _DEPTHWISE)
        method = self.methods.get(compute if role == "weights" else name, self.config.method)
        bits = self.bits.get(name, self.config.weight_bit)
        self.fixes[name] = FixNeuron(name, "wquant", 2 if depthwise else 0,
                                     method if depthwise or method != 2 else 1, bits)

    def place(self, match: Match) -> None:
        for role in _CONSTANT_ROLES:
            if role in match.roles and (role != "scale" or match.kind.startswith("batchnorm")):
                self.constant(match.roles[role], match, role)
        if match.kind == "placeholder":
            self.activation(match.last, method=0)
            return
        if is_compute(match):
            self.activation(match.roles["input"])
        self.activation(match.last)
        node = self.graph.by_name[match.roles.get("other", match.last)]
        if node.op == "ConcatV2":
            for operand in node.operands[:-1]:
                self.activation(operand)

    def inputs_quantized(self, match: Match) -> bool:
        """Whether every input counts as quantized; one-operand nodes always do (section 3.5)."""
        if match.kind.startswith("other"):
            operands = self.graph.by_name[match.roles["other"]].operands[:-1]
        else:
            operands = tuple(match.roles[role] for role in ("input", "input2") if role in match.roles)
        return all(name in self.fixes for name in operands)


def place_fix_neurons(graph: TFGraph, config: QuantizeConfig) -> Placement:
    """Decide every FixNeuron: compute groups first, the others until nothing changes."""
    placer = _Placer(graph, config)
    ignored = set(config.ignore_nodes)
    matches = tuple(match for match in find_matches(graph) if not ignored.intersection(match.claimed))
    waiting = []
    for match in matches:
        if match.kind == "placeholder" or is_compute(match):
            placer.place(match)
        else:
            waiting.append(match)
    placed = True
    while placed:
        ready = [match for match in waiting if placer.inputs_quantized(match)]
        placed = bool(ready)
        for match in ready:
            placer.place(match)
            waiting.remove(match)
    groups = tuple(
        Group(match.roles["compute"], match.roles["input"], match.last, match.roles["weights"],
              match.roles.get("biases", ""))
        for match in matches if "compute" in match.roles
    )
    return Placement(placer.fixes, groups, matches)


def fix_node(fix: FixNeuron) -> TFNode:
    """The FixNeuron as DNNDK writes it: no ``output_dir``, no ``T`` (section 3.6, section 13)."""
    return new_node(fix.name, "FixNeuron", (fix.producer,), bit_width=fix.bits, method=fix.method,
                    mode=fix.mode, phase=0, quantize_pos=0)


def insert_fix_neurons(graph: TFGraph, placement: Placement) -> TFGraph:
    """Each FixNeuron directly after its producer; all the producer's readers read it."""
    rename = {name: fix.name for name, fix in placement.fixes.items()}
    nodes: list[TFNode] = []
    for node in graph.nodes:
        inputs = tuple(rename.get(base_name(name), name) if not name.startswith("^") else name
                       for name in node.inputs)
        nodes.append(node.replace(inputs=inputs))
        if node.name in placement.fixes:
            nodes.append(fix_node(placement.fixes[node.name]))
    return graph.replace(nodes)
