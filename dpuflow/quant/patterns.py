"""Which nodes form one quantized group (quantizer specification, section 3.4).

A pattern is a small tree, output first. A node belongs to the first pattern that claims it;
the operands marked ``ANY`` are not claimed. Operand order matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dpuflow.formats.graphdef import TFGraph


@dataclass(frozen=True)
class P:
    """One node of a pattern: its role, the operators it may be, its operands (None: any)."""

    role: str
    ops: frozenset[str]
    operands: tuple[P, ...] | None = None


def op(role: str, ops: str, *operands: P) -> P:
    """A pattern node; without operands it does not look further down."""
    return P(role, frozenset(ops.split()), operands or None)


ANY = P("input", frozenset())
ANY2 = P("input2", frozenset())
WEIGHTS = op("weights", "Const Identity ReadVariableOp Mul")
BIASES = op("biases", "Const Identity ReadVariableOp Sub")
ALPHA = op("alpha", "Const")
_RELU, _BIAS = "Relu Relu6", "BiasAdd Add AddV2"
CONVFC = op("compute", "Conv2D DepthwiseConv2d DepthwiseConv2dNative MatMul Conv3D", ANY, WEIGHTS)
ATROUS = op("atrous", "BatchToSpaceND", op(
    "compute", "Conv2D DepthwiseConv2d DepthwiseConv2dNative MatMul Conv3D",
    op("space_to_batch", "SpaceToBatchND", ANY, op("block", "Const"), op("pads", "Const")), WEIGHTS),
    op("block2", "Const"), op("crops", "Const"))

BATCH_NORM = op("add", "Add AddV2", op("mul", "Mul", ANY, op("scale", "Const")), op("offset", "Const"))


def biased(compute: P) -> P:
    """bias(compute)."""
    return op("bias", _BIAS, compute, BIASES)


def relued(inner: P) -> P:
    """relu(inner)."""
    return op("relu", _RELU, inner)


def leaky_maximum(inner: P) -> P:
    """Maximum(Mul(alpha, inner), inner)."""
    return op("leaky", "Maximum", op("leaky_mul", "Mul", ALPHA, inner), inner)


def leaky_fused(inner: P) -> P:
    """LeakyRelu(inner)."""
    return op("leaky", "LeakyRelu", inner)


def leaky_keras(inner: P) -> P:
    """Sub(Relu(inner), Mul(alpha, Relu(Neg(inner))))."""
    negative = op("leaky_relu", "Relu", op("leaky_neg", "Neg", inner))
    return op("leaky", "Sub", op("leaky_positive", "Relu", inner), op("leaky_mul", "Mul", ALPHA, negative))


_OTHER = "AvgPool MaxPool Mean Pad Concat ConcatV2 Squeeze Reshape ExpandDims Relu Relu6 AddN AddV2"

# (kind, pattern) in the order in which they are tried.
PATTERNS: tuple[tuple[str, P], ...] = (
    ("placeholder", op("placeholder", "Placeholder")),
    ("atrous_conv_bias_relu", relued(biased(ATROUS))),
    ("atrous_conv_bias", biased(ATROUS)),
    ("atrous_conv_relu", relued(ATROUS)),
    ("atrous_conv", ATROUS),
    ("convfc_bias_leakyrelu", leaky_maximum(biased(CONVFC))),
    ("convfc_bias_fused_leakyrelu", leaky_fused(biased(CONVFC))),
    ("convfc_bias_keras_leakyrelu", leaky_keras(biased(CONVFC))),
    ("convfc_leakyrelu", leaky_maximum(CONVFC)),
    ("convfc_fused_leakyrelu", leaky_fused(CONVFC)),
    ("convfc_keras_leakyrelu", leaky_keras(CONVFC)),
    ("leakyrelu", leaky_maximum(ANY)),
    ("fused_leakyrelu", leaky_fused(ANY)),
    ("keras_leakyrelu", leaky_keras(ANY)),
    ("convfc_bias_id_relu", relued(op("identity", "Identity", biased(CONVFC)))),
    ("convfc_bias_relu", relued(biased(CONVFC))),
    ("convfc_bias", biased(CONVFC)),
    ("convfc_relu", relued(CONVFC)),
    ("convfc", CONVFC),
    ("batchnorm_relu", relued(BATCH_NORM)),
    ("batchnorm", BATCH_NORM),
    ("array_relu", relued(op("array", "Add AddV2", ANY, ANY2))),
    ("array", op("array", "Add AddV2", ANY, ANY2)),
    ("avgpool_mul", op("mul", "Mul", op("avgpool", "AvgPool", ANY), op("scale_value", "Const"))),
    ("other_relu", relued(op("other", _OTHER))),
    ("other", op("other", _OTHER)),
)


@dataclass(frozen=True)
class Match:
    """One group: the pattern's kind and the node in each role; ``last`` yields the group's tensor."""

    kind: str
    roles: Mapping[str, str]
    last: str

    @property
    def claimed(self) -> tuple[str, ...]:
        """The nodes that belong to the group; its inputs do not."""
        return tuple(name for role, name in self.roles.items() if role not in ("input", "input2"))


def _bind(graph: TFGraph, pattern: P, name: str, roles: dict[str, str]) -> bool:
    """Match ``pattern`` at node ``name``, binding roles; the same role must be the same node."""
    if roles.get(pattern.role, name) != name:
        return False
    node = graph.by_name[name]
    if pattern.ops and node.op not in pattern.ops:
        return False
    roles[pattern.role] = name
    if pattern.operands is None:
        return True
    operands = node.operands
    return len(operands) == len(pattern.operands) and all(
        _bind(graph, part, operand, roles) for part, operand in zip(pattern.operands, operands, strict=True))


def find_matches(graph: TFGraph) -> Iterator[Match]:
    """All groups, pattern by pattern, each over the graph in its node order."""
    taken: set[str] = set()
    for kind, pattern in PATTERNS:
        for node in graph.nodes:
            if node.op not in pattern.ops or node.name in taken:
                continue
            roles: dict[str, str] = {}
            if not _bind(graph, pattern, node.name, roles):
                continue
            match = Match(kind, roles, node.name)
            if not taken.intersection(match.claimed):
                taken.update(match.claimed)
                yield match
