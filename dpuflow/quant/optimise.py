"""Simplify the graph before FixNeurons go in (quantizer specification, section 3.2)."""

from __future__ import annotations

import numpy as np

from dpuflow.errors import GraphError
from dpuflow.formats.graphdef import TFGraph, TFNode, const_node, new_node, rewire
from dpuflow.formats.tf_constants import FOLDABLE, fold
from dpuflow.formats.tf_values import FLOAT
from dpuflow.ir.graph import Array
from dpuflow.ops.normalization import batch_norm_terms
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.order import topological

_SHARING = {"Conv2D", "DepthwiseConv2d", "DepthwiseConv2dNative", "MatMul", "Conv3D", "BiasAdd"}
_CONVS = {"Conv2D", "DepthwiseConv2dNative", "DepthwiseConv2d", "MatMul"}
_ADDS = {"BiasAdd", "Add", "AddV2"}


def remove_identities(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """Readers of an Identity read its operand, but for the graph's inputs and outputs."""
    kept = {*config.input_nodes, *config.output_nodes}
    rename = {node.name: node.operands[0] for node in graph.nodes
              if node.op == "Identity" and node.name not in kept}
    nodes = [node for node in graph.nodes if node.name not in rename]
    return graph.replace(rewire(nodes, rename))


def split_shared_constants(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """Give the second and later users of a weight constant their own copy ``<const><k>``."""
    uses: dict[str, int] = {}
    nodes: list[TFNode] = []
    for node in graph.nodes:
        shared = node.operands[1] if node.op in _SHARING and len(node.operands) > 1 else None
        if shared is None or graph.by_name[shared].op != "Const":
            nodes.append(node)
            continue
        count = uses[shared] = uses.get(shared, -1) + 1
        if count:
            copy = f"{shared}{count}"
            nodes.append(graph.by_name[shared].replace(name=copy))
            node = node.replace(inputs=(node.inputs[0], copy, *node.inputs[2:]))
        nodes.append(node)
    return graph.replace(nodes)


def fold_constants(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """Nodes that read constants only become constants (section 3.2, step 4)."""
    made: dict[str, TFNode] = {}
    for node in topological(graph).nodes:
        operands = [made.get(name) for name in node.operands]
        values = [operand.tensor() for operand in operands if operand is not None]
        if node.op in FOLDABLE and values and len(values) == len(operands) and node.name not in config.output_nodes:
            node = const_node(node.name, fold(node, values))
        if node.op == "Const":
            made[node.name] = node
    nodes = [made.get(node.name, node) for node in graph.nodes]
    return drop_unread_constants(graph.replace(nodes), config)


def _float_attrs(node: TFNode) -> dict[str, object]:
    return {"T": node.get("T", FLOAT)}


def expand_batch_norm(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """FusedBatchNorm[V2|V3] with constant terms becomes ``<bn>/mul`` and ``<bn>/add``."""
    nodes: list[TFNode] = []
    rename: dict[str, str] = {}
    for node in graph.nodes:
        if node.op not in ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"):
            nodes.append(node)
            continue
        terms = [graph.node(name) for name in node.operands[1:5]]
        if len(terms) != 4 or any(term.op != "Const" for term in terms) or node.get("is_training", True):
            raise GraphError("batch normalisation without constant terms", where=f"node '{node.name}'",
                             remedy="freeze the model for inference")
        gamma, beta, mean, variance = (term.tensor() for term in terms)
        scale, offset = batch_norm_terms(gamma, beta, mean, variance, float(node.get("epsilon", 1e-4)))
        name = node.name
        nodes += [
            const_node(f"{name}/scale", scale), const_node(f"{name}/offset", offset),
            new_node(f"{name}/mul", "Mul", (node.inputs[0], f"{name}/scale"), **_float_attrs(node)),
            new_node(f"{name}/add", "Add", (f"{name}/mul", f"{name}/offset"), **_float_attrs(node)),
        ]
        rename[name] = f"{name}/add"
    return graph.replace(rewire(nodes, rename))


def _sole_reader(graph: TFGraph, name: str, config: QuantizeConfig) -> bool:
    return len(graph.users[name]) == 1 and name not in config.output_nodes


def _scaled_weights(conv: TFNode, weights: Array, scale: Array) -> Array:
    """Where the scale multiplies: the output channels (section 3.2, step 6)."""
    if conv.op.startswith("DepthwiseConv2d"):
        flat = scale.reshape(-1)
        # Flat index modulo the channel count, as the vendor's tool does.
        index = np.arange(weights.size) % weights.shape[2] if weights.shape[3] == 1 else (
            np.arange(weights.size) % (weights.shape[2] * weights.shape[3]))
        factors = flat[index] if flat.size > 1 else np.full(weights.size, flat[0], flat.dtype)
        return np.asarray(weights * factors.reshape(weights.shape))
    return np.asarray(weights * scale.reshape(-1))


class _Edits:
    """Nodes to replace or drop and readers to send elsewhere."""

    def __init__(self) -> None:
        self.replaced: dict[str, TFNode | None] = {}
        self.rename: dict[str, str] = {}

    def apply(self, graph: TFGraph) -> TFGraph:
        nodes = [self.replaced.get(node.name, node) for node in graph.nodes]
        return graph.replace(rewire([node for node in nodes if node is not None], self.rename))


def _const_operand(graph: TFGraph, node: TFNode) -> tuple[TFNode, TFNode] | None:
    """(data, constant) operands of a two-operand node, constant second; None if it has none."""
    if len(node.operands) != 2:
        return None
    data, constant = graph.operands(node)
    return (data, constant) if constant.op == "Const" and data.op != "Const" else None


def _conv_under(graph: TFGraph, node: TFNode, config: QuantizeConfig) -> tuple[TFNode, TFNode] | None:
    """The convolution and its weights if ``node`` is one that nobody else reads."""
    if node.op not in _CONVS or not _sole_reader(graph, node.name, config) or len(node.operands) != 2:
        return None
    weights = graph.node(node.operands[1])
    sole = weights.op == "Const" and len(graph.users[weights.name]) == 1
    return (node, weights) if sole else None


def _replace_const(node: TFNode, data: Array) -> TFNode:
    return const_node(node.name, np.asarray(data, node.tensor().dtype))


def _fold_one_batch_norm(graph: TFGraph, config: QuantizeConfig) -> TFGraph | None:
    for add in graph.nodes:
        found = _const_operand(graph, add) if add.op in ("Add", "AddV2") else None
        if found is None:
            continue
        mul, offset = found
        scaled = _const_operand(graph, mul) if mul.op == "Mul" else None
        if scaled is None or not _sole_reader(graph, mul.name, config):
            continue
        below, scale = scaled
        if len(graph.users[scale.name]) != 1:
            continue
        folded = _fold(graph, config, add, mul, offset, below, scale)
        if folded is not None:
            return folded
    return None


def _fold(graph: TFGraph, config: QuantizeConfig, add: TFNode, mul: TFNode, offset: TFNode,
          below: TFNode, scale: TFNode) -> TFGraph | None:
    edits = _Edits()
    factor = scale.tensor()
    biased = _const_operand(graph, below) if below.op in _ADDS else None
    if biased and _sole_reader(graph, below.name, config):
        conv = _conv_under(graph, biased[0], config)
        bias = biased[1]
        if conv is None or len(graph.users[bias.name]) != 1:
            return None
        shifted = bias.tensor() * factor.reshape(-1) + offset.tensor().reshape(-1)
        edits.replaced = {bias.name: _replace_const(bias, shifted), add.name: None, offset.name: None}
        edits.rename = {add.name: below.name}
    else:
        conv = _conv_under(graph, below, config)
        if conv is None:
            return None
        stem = conv[1].name
        for suffix in ("/weights", "/depthwise_weights"):
            stem = stem.removesuffix(suffix)
        edits.replaced = {offset.name: offset.replace(name=f"{stem}/biases"),
                          add.name: add.replace(inputs=(below.name, f"{stem}/biases"))}
    edits.replaced[conv[1].name] = _replace_const(conv[1], _scaled_weights(conv[0], conv[1].tensor(), factor))
    edits.replaced[mul.name] = None
    edits.replaced[scale.name] = None
    if add.name in config.output_nodes and add.name in edits.rename:
        return None
    return edits.apply(graph)


def fold_batch_norm(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """Fold Mul and Add after a convolution into its weights and bias, until nothing changes."""
    while (folded := _fold_one_batch_norm(graph, config)) is not None:
        graph = folded
    return graph


def fold_mul(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """Fold a Mul by a constant after convolution and bias into both; the bias addition survives."""
    for mul in graph.nodes:
        if mul.op != "Mul" or len(mul.operands) != 2 or mul.name in config.output_nodes:
            continue
        constants = [node for node in graph.operands(mul) if node.op == "Const"]
        others = [node for node in graph.operands(mul) if node.op in _ADDS]
        if len(constants) != 1 or len(others) != 1 or len(graph.users[constants[0].name]) != 1:
            continue
        (scale,), (add,) = constants, others
        biased = _const_operand(graph, add)
        if biased is None or not _sole_reader(graph, add.name, config):
            continue
        conv = _conv_under(graph, biased[0], config)
        if conv is None or len(graph.users[biased[1].name]) != 1:
            continue
        edits, factor, bias = _Edits(), scale.tensor(), biased[1]
        edits.replaced = {
            conv[1].name: _replace_const(conv[1], _scaled_weights(conv[0], conv[1].tensor(), factor)),
            bias.name: _replace_const(bias, bias.tensor() * factor.reshape(-1)), mul.name: None, scale.name: None,
        }
        edits.rename = {mul.name: add.name}
        return fold_mul(edits.apply(graph), config)
    return graph


def drop_unread_constants(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """Constants that nobody reads any more go."""
    kept = set(config.output_nodes)
    return graph.replace(node for node in graph.nodes
                         if node.op != "Const" or graph.users[node.name] or node.name in kept)
