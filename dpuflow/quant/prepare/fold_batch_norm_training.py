"""Batch normalisation behind a convolution, in a graph that is still trained (quantizer specification, section 3.4).

The convolution's weights and bias become expressions of the trained variables, on which FixNeurons can
stand: ``<conv>_Fold`` reads ``weights * scale``, ``<scope>/biasadd`` adds ``beta - scale * moving mean``,
with ``scale = gamma / sqrt(moving variance + epsilon)``. The normalisation itself stays beside it: in
training it is what keeps the moving averages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dpuflow.errors import GraphError
from dpuflow.formats.graphdef import TFGraph, TFNode, base_name, const_node, new_node
from dpuflow.formats.tf_values import FLOAT
from dpuflow.quant.patterns import P, anything, op
from dpuflow.quant.rewrite import Edit, replace_matches

_FUSED = "FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3"
_CONV = op("conv", "Conv2D MatMul DepthwiseConv2dNative")
_TERMS = tuple(anything(role) for role in ("gamma", "beta", "mean", "variance"))
# Plain, and behind an Identity as dropout leaves it.
PATTERNS: tuple[P, ...] = (op("norm", _FUSED, _CONV, *_TERMS),
                           op("norm", _FUSED, op("identity", "Identity", _CONV), *_TERMS))
_MEAN_OUTPUT, _VARIANCE_OUTPUT = 1, 2  # outputs of a FusedBatchNorm that update the moving averages


def moving_averages(graph: TFGraph, norm: TFNode) -> tuple[str, str]:
    """The nodes that read the moving mean and variance: ``moving - batch`` is how both are updated."""
    if not norm.get("is_training", True):
        return norm.operands[3], norm.operands[4]
    found = {node.inputs[1]: node.operands[0] for node in graph.nodes if node.op == "Sub" and len(node.inputs) == 2}
    names = tuple(f"{norm.name}:{output}" for output in (_MEAN_OUTPUT, _VARIANCE_OUTPUT))
    if not all(name in found for name in names):
        raise GraphError("a batch normalisation in training form without moving averages",
                         where=f"node '{norm.name}' ({norm.op})", expected="moving mean and variance that it updates",
                         remedy="export the graph with its update operations, or name the layer in --ignore_nodes")
    return found[names[0]], found[names[1]]


@dataclass(frozen=True)
class _Fold:
    """The nodes of one fold, named under ``<scope>/BatchNorm_Fold``."""

    graph: TFGraph
    conv: TFNode
    norm: TFNode

    @property
    def scope(self) -> str:
        return self.conv.name.removesuffix("/Conv2D")

    def name(self, part: str) -> str:
        return f"{self.scope}/BatchNorm_Fold/{part}"

    def binary(self, part: str, kind: str, first: str, second: str) -> TFNode:
        return new_node(self.name(part), kind, (first, second), T=FLOAT)

    def scale(self, variance: str) -> tuple[TFNode, ...]:
        """gamma / sqrt(variance + epsilon); a depthwise one also as a column."""
        epsilon = const_node(self.name("eps"), np.full(1, self.norm.get("epsilon", 1e-4), np.float32))
        total = self.binary("add", "Add", epsilon.name, variance)
        root = new_node(self.name("rsqrt"), "Rsqrt", (total.name,), T=FLOAT)
        made = (epsilon, total, root, self.binary("mul_0", "Mul", root.name, self.norm.operands[1]))
        if self.conv.op != "DepthwiseConv2dNative":
            return made
        shape = const_node(self.name("shape"), np.array([-1, 1], np.int32))
        return (*made, shape, new_node(self.name("reshape"), "Reshape", (made[-1].name, shape.name), T=FLOAT,
                                       Tshape=shape.get("dtype")))

    def nodes(self) -> tuple[tuple[TFNode, ...], TFNode, TFNode]:
        """Everything that is new, the folded convolution, and the bias addition."""
        mean, variance = moving_averages(self.graph, self.norm)
        scale = self.scale(variance)
        weights = self.binary("mul_1", "Mul", scale[-1].name, self.conv.inputs[1])
        folded = self.conv.replace(name=f"{self.conv.name}_Fold", inputs=(self.conv.inputs[0], weights.name))
        shift = self.binary("mul_2", "Mul", self.name("mul_0"), mean)
        bias = self.binary("sub", "Sub", self.norm.operands[2], shift.name)
        last = new_node(f"{self.scope}/biasadd", "BiasAdd", (folded.name, bias.name), T=FLOAT)
        return (*scale, weights, folded, shift, bias, last), folded, last


def _rewire_values(nodes: tuple[TFNode, ...], rename: Mapping[str, str], kept: frozenset[str]) -> list[TFNode]:
    """Readers of a first output read its successor; those of the batch's statistics do not."""
    def target(operand: str) -> str:
        value = not operand.startswith("^") and operand.split(":")[1:] in ([], ["0"])
        return rename.get(base_name(operand), operand) if value else operand

    return [node if node.name in kept else node.replace(inputs=tuple(map(target, node.inputs))) for node in nodes]


def fold_batch_norm_training(graph: TFGraph) -> TFGraph:
    """Fold every normalisation that reads a convolution."""
    for pattern in PATTERNS:
        rename: dict[str, str] = {}
        kept: set[str] = set()

        def replace(graph: TFGraph, roles: Mapping[str, str], rename: dict[str, str] = rename,
                    kept: set[str] = kept) -> Edit:
            conv, norm = graph.node(roles["conv"]), graph.node(roles["norm"])
            made, folded, last = _Fold(graph, conv, norm).nodes()
            rename.update({roles.get("identity", conv.name): folded.name, norm.name: last.name})
            kept.add(norm.name)
            order = ("identity", "conv", "norm", "beta", "gamma", "mean", "variance")
            return Edit((*(graph.node(name) for name in dict.fromkeys(roles[role] for role in order if role in roles)),
                         *made))

        folded = replace_matches(graph, pattern, replace)[0]
        graph = folded.replace(_rewire_values(folded.nodes, rename, frozenset(kept)))
    return graph
