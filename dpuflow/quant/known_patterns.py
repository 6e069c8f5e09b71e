"""The groups that are quantized together, in the order in which they are tried.

Quantizer specification, section 3.4. A node belongs to the first group that claims it; what a
group reads is not claimed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dpuflow.formats.graphdef import TFGraph
from dpuflow.quant.patterns import ANY, ANY2, P, anything, find, op

_CONVFC = "Conv2D DepthwiseConv2d DepthwiseConv2dNative MatMul Conv3D"
_RELU, _BIAS, _ADD = "Relu Relu6", "BiasAdd Add AddV2", "Add AddV2"
_RESIZE = "ResizeBilinear ResizeNearestNeighbor"
_OTHER = "AvgPool MaxPool Mean Pad Concat ConcatV2 Squeeze Reshape ExpandDims Relu Relu6 AddN AddV2"

WEIGHTS = op("weights", "Const Identity ReadVariableOp Mul")
BIASES = op("biases", "Const Identity ReadVariableOp Sub")
ALPHA = op("alpha", "Const")
CONVFC = op("compute", _CONVFC, ANY, WEIGHTS)
ATROUS = op("atrous", "BatchToSpaceND",
            op("compute", "Conv2D DepthwiseConv2dNative",
               op("space_to_batch", "SpaceToBatchND", ANY, anything("block"), anything("paddings")), WEIGHTS),
            anything("block_back"), anything("crops"))
BATCH_NORM = op("add", _ADD, op("mul", "Mul", ANY, op("scale", "Const")), op("offset", "Const"))
ARRAY = op("array", _ADD, ANY, ANY2)
OTHER = op("other", _OTHER)


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


def _slice(role: str) -> P:
    return op(role, "StridedSlice", op(f"{role}_of", "Shape Const"),
              *(op(f"{role}_{part}", "Const") for part in ("begin", "end", "strides")))


def _stretched(role: str) -> P:
    return op(role, "Mul", op(f"{role}_slice", "StridedSlice"), op(f"{role}_by", "Const"))


def _grown(role: str) -> P:
    return op(f"{role}_sum", _ADD, _stretched(role), op(f"{role}_plus", "Const"))


def transposed(shape: P) -> P:
    """Conv2DBackpropInput(shape, weights, input)."""
    return op("compute", "Conv2DBackpropInput", shape, WEIGHTS, ANY)


SLIM_SHAPE = op("shape", "Pack", _slice("batch"), _stretched("height"), _stretched("width"), op("depth", "Const"))
KERAS_SHAPE = op("shape", "Pack", _slice("batch"), _grown("height"), _grown("width"), op("depth", "Const"))
CONST_SHAPE = op("shape", "Const")
TPU_UPSAMPLING = op("resize", "Reshape", op(
    "repeat", "Mul", op("split", "Reshape", ANY, op("split_shape", "Const")), op("ones", "Const")),
    op("merged_shape", "Const"))


def _transposed_family(name: str, shape: P) -> tuple[tuple[str, P], ...]:
    conv = transposed(shape)
    return ((f"{name}_bias_relu", relued(biased(conv))), (f"{name}_bias", biased(conv)),
            (f"{name}_relu", relued(conv)), (name, conv))


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
    *_transposed_family("conv2d_transpose", SLIM_SHAPE),
    *_transposed_family("keras_conv2d_transpose", KERAS_SHAPE),
    *_transposed_family("conv2d_backprop_input", CONST_SHAPE),
    ("upsampling", op("resize", _RESIZE, ANY, op("size", "Mul", op(
        "map_size", "StridedSlice", op("map_shape", "Shape"), *(op(f"map_{part}", "Const") for part in (
            "begin", "end", "strides"))), op("factor", "Const")))),
    ("resize_bilinear", op("resize", _RESIZE, ANY, anything("size"))),
    ("tpu_nearest_neighbor_upsampling", TPU_UPSAMPLING),
    ("batchnorm_relu", relued(BATCH_NORM)),
    ("batchnorm", BATCH_NORM),
    ("array_relu", relued(ARRAY)),
    ("array", ARRAY),
    ("avgpool_mul", op("mul", "Mul", op("avgpool", "AvgPool", ANY), op("scale_value", "Const"))),
    ("other_relu", relued(OTHER)),
    ("other", OTHER),
)

_TERMS = tuple(anything(role) for role in ("gamma", "beta", "mean", "variance"))
_TRAINED_CONV = op("compute", "Conv2D MatMul DepthwiseConv2dNative")
_FUSED = "FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3"

# Convolutions under a batch normalisation in training form are left alone.
IGNORED: tuple[P, ...] = (
    op("batch_norm", _FUSED, _TRAINED_CONV, *_TERMS),
    op("batch_norm", _FUSED, op("identity", "Identity", _TRAINED_CONV), *_TERMS),
)


@dataclass(frozen=True)
class Match:
    """One group: the pattern's kind and the node in each role; ``last`` yields the group's tensor."""

    kind: str
    roles: Mapping[str, str]
    last: str

    @property
    def inputs(self) -> tuple[str, ...]:
        """The nodes that the group reads."""
        return tuple(self.roles[role] for role in ("input", "input2") if role in self.roles)

    @property
    def claimed(self) -> tuple[str, ...]:
        """The nodes that belong to the group; its inputs do not."""
        return tuple(name for name in dict.fromkeys(self.roles.values()) if name not in self.inputs)

    @property
    def is_compute(self) -> bool:
        """A convolution or dense layer: quantized whatever its inputs are."""
        return "compute" in self.roles


def find_groups(graph: TFGraph) -> Iterator[Match]:
    """All groups, pattern by pattern, each over the graph in the order of section 3.7."""
    taken: set[str] = set()
    for kind, pattern in PATTERNS:
        for found in find(graph, pattern):
            match = Match(kind, found.roles, found.name)
            if not taken.intersection(match.claimed):
                taken.update(match.claimed)
                yield match


def nodes_to_ignore(graph: TFGraph, named: Iterable[str]) -> frozenset[str]:
    """The user's ignored nodes and the convolutions under a batch normalisation in training form."""
    return frozenset(named) | {found.roles["compute"] for pattern in IGNORED for found in find(graph, pattern)}
