"""Products and sums after a convolution go into its weights and bias.

Quantizer specification, section 3.2, step 6: five forms, each until nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from dpuflow.formats.graphdef import TFGraph, TFNode, const_node
from dpuflow.ir.graph import Array
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.patterns import ANY, P, anything, op
from dpuflow.quant.rewrite import Edit, Replace, replace_until_stable

ADDS = "BiasAdd Add AddV2"
CONVS = "Conv2D MatMul DepthwiseConv2dNative DepthwiseConv2d"
_WEIGHTS, _BIASES = op("weights", "Const"), op("biases", "Const")
CONV = op("conv", CONVS, ANY, _WEIGHTS)
BIASED_CONV = op("bias", ADDS, CONV, _BIASES)
_DENSE = op("reshape", "Reshape", op("conv", "MatMul", ANY, _WEIGHTS), anything("shape"))
_DILATED = op("batch_to_space", "BatchToSpaceND", op(
    "conv", "Conv2D DepthwiseConv2dNative",
    op("space_to_batch", "SpaceToBatchND", ANY, anything("block"), anything("paddings")), _WEIGHTS),
    anything("block_back"), anything("crops"))
_DILATION = ("input", "paddings", "block", "space_to_batch", "weights", "conv", "block_back", "crops",
             "batch_to_space")


def normed(inner: P) -> P:
    """Add(Mul(inner, scale), offset)."""
    return op("add", ADDS, op("mul", "Mul", inner, op("scale", "Const")), op("offset", "Const"))


def scaled_weights(conv: TFNode, weights: TFNode, scale: Array) -> TFNode:
    """Weights times the scale of each output channel; of depthwise ones channel by channel (step 6)."""
    data = weights.tensor()
    per_depth = conv.op.startswith("DepthwiseConv2d") and scale.size > 1
    factors = scale.reshape(data.shape[2:] if per_depth else (-1,))
    return const_node(weights.name, np.asarray(data * factors, np.float32))


def is_per_channel(value: Array) -> bool:
    """Whether an array is one number, or one for each entry of its last axis."""
    return value.size == 1 or value.size == value.shape[-1]


def fits(conv: TFNode, weights: TFNode, scale: Array) -> bool:
    """Whether there is one scale per output channel, or one for all."""
    shape = weights.tensor().shape
    if len(shape) not in (2, 4):
        return False
    channels = shape[2] * shape[3] if conv.op.startswith("DepthwiseConv2d") and len(shape) == 4 else shape[-1]
    return is_per_channel(scale) and scale.size in (1, channels)


def _single_readers(graph: TFGraph, roles: Mapping[str, str], names: tuple[str, ...]) -> bool:
    return all(len(graph.readers.get(roles[role], ())) == 1 for role in names)


_CHANGED = ("conv", "weights", "bias", "biases", "reshape", "batch_to_space", "mul", "scale", "offset")


def _foldable(graph: TFGraph, roles: Mapping[str, str], config: QuantizeConfig) -> bool:
    """Every node that changes its values is read here only, is no output, and the constants fit."""
    inner = tuple(role for role in _CHANGED if role in roles)
    offset, scale = (graph.node(roles[role]).tensor() for role in ("offset", "scale"))
    return (_single_readers(graph, roles, inner) and is_per_channel(offset)
            and fits(graph.node(roles["conv"]), graph.node(roles["weights"]), scale)
            and not {roles[role] for role in inner}.intersection(config.output_nodes))


def _new_weights(graph: TFGraph, roles: Mapping[str, str]) -> TFNode:
    return scaled_weights(graph.node(roles["conv"]), graph.node(roles["weights"]), graph.node(roles["scale"]).tensor())


def _new_biases(graph: TFGraph, roles: Mapping[str, str]) -> TFNode:
    bias, scale, offset = (graph.node(roles[role]).tensor() for role in ("biases", "scale", "offset"))
    made = np.asarray(bias.reshape(-1) * scale.reshape(-1) + offset.reshape(-1), np.float32)
    return const_node(roles["biases"], made.reshape(bias.shape) if made.size == bias.size else made)


def _surviving_bias(graph: TFGraph, roles: Mapping[str, str], config: QuantizeConfig) -> tuple[TFNode, dict[str, str]]:
    """The bias addition takes the readers of the sum, and its name where that is an output."""
    bias = graph.node(roles["bias"])
    if roles["add"] in config.output_nodes:
        return bias.replace(name=roles["add"]), {}
    return bias, {roles["add"]: bias.name}


def _fold_biased(graph: TFGraph, roles: Mapping[str, str], config: QuantizeConfig) -> Edit:
    bias, rename = _surviving_bias(graph, roles, config)
    return Edit((_new_weights(graph, roles), graph.node(roles["input"]), graph.node(roles["conv"]),
                 _new_biases(graph, roles), bias), rename)


def _scope(weights: str) -> str:
    return weights.removesuffix("/weights").removesuffix("/depthwise_weights")


def _fold_plain(graph: TFGraph, roles: Mapping[str, str], config: QuantizeConfig) -> Edit:
    """The sum becomes the bias addition, its constant ``<scope>/biases``."""
    add, conv = graph.node(roles["add"]), graph.node(roles["conv"])
    biases = graph.node(roles["offset"]).replace(name=f"{_scope(roles['weights'])}/biases")
    return Edit((_new_weights(graph, roles), graph.node(roles["input"]), conv, biases,
                 add.replace(inputs=(conv.name, biases.name))))


def _dilation(graph: TFGraph, roles: Mapping[str, str]) -> tuple[TFNode, ...]:
    made = {roles[role]: graph.node(roles[role]) for role in _DILATION}
    made[roles["weights"]] = _new_weights(graph, roles)
    return tuple(made.values())


def _fold_dilated_biased(graph: TFGraph, roles: Mapping[str, str], config: QuantizeConfig) -> Edit:
    bias, rename = _surviving_bias(graph, roles, config)
    return Edit((*_dilation(graph, roles), _new_biases(graph, roles), bias), rename)


def _fold_dilated(graph: TFGraph, roles: Mapping[str, str], config: QuantizeConfig) -> Edit:
    add, offset = graph.node(roles["add"]), graph.node(roles["offset"])
    bias = add.replace(op="BiasAdd", inputs=(roles["batch_to_space"], offset.name))
    return Edit((*_dilation(graph, roles), offset, bias))


Form = Callable[[TFGraph, Mapping[str, str], QuantizeConfig], Edit]

# The forms a to e of the specification, in their order.
FORMS: tuple[tuple[P, Form], ...] = (
    (normed(BIASED_CONV), _fold_biased),
    (normed(CONV), _fold_plain),
    (normed(_DENSE), _fold_plain),
    (normed(op("bias", ADDS, _DILATED, _BIASES)), _fold_dilated_biased),
    (normed(_DILATED), _fold_dilated),
)


def _folder(form: Form, config: QuantizeConfig) -> Replace:
    return lambda graph, roles: form(graph, roles, config) if _foldable(graph, roles, config) else None


def fold_batch_norm(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """Fold every form until nothing changes; a match with other readers inside is left."""
    for pattern, form in FORMS:
        graph = replace_until_stable(graph, pattern, _folder(form, config))
    return graph
