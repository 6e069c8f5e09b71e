"""Batch normalisation becomes a product and a sum (quantizer specification, section 3.2, step 5)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dpuflow.errors import GraphError
from dpuflow.formats.graphdef import TFGraph, TFNode, const_node, new_node
from dpuflow.formats.tf_values import FLOAT
from dpuflow.ir.graph import Array
from dpuflow.ops.normalization import batch_norm_terms
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.patterns import ANY, P, op
from dpuflow.quant.rewrite import Edit, Replace, replace_until_stable

_FUSED = "FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3"
_OLD = "BatchNormWithGlobalNormalization"
# Operators, the roles of operands 1 to 4, the attribute that is added to the variance.
SPELLINGS = (
    (_FUSED, ("gamma", "beta", "mean", "variance"), "epsilon"),
    (_OLD, ("mean", "variance", "beta", "gamma"), "variance_epsilon"),
)


def _pattern(ops: str, roles: tuple[str, ...]) -> P:
    return op("norm", ops, ANY, *(op(role, "Const") for role in roles))


def _terms(graph: TFGraph, norm: TFNode, roles: Mapping[str, str], epsilon: str) -> tuple[Array, Array]:
    gamma, beta, mean, variance = (graph.node(roles[role]).tensor() for role in ("gamma", "beta", "mean", "variance"))
    if norm.op == _OLD and not norm.get("scale_after_normalization", True):
        gamma = gamma * 0 + 1
    shapes = {term.shape for term in (beta, mean, variance, gamma)}
    kinds = {term.dtype.name for term in (beta, mean, variance, gamma)}
    if any(term.dtype.kind != "f" for term in (beta, mean, variance, gamma)):
        raise GraphError("the terms of a batch normalisation are not numbers in float",
                         where=f"node '{norm.name}' ({norm.op})", got=", ".join(sorted(kinds)), expected="float32")
    if len(shapes) != 1 or gamma.ndim != 1:
        raise GraphError("the terms of a batch normalisation are not vectors of one length",
                         where=f"node '{norm.name}' ({norm.op})", got=", ".join(map(str, sorted(shapes))))
    scale, offset = batch_norm_terms(gamma, beta, mean, variance, float(norm.get(epsilon, 1e-4)))
    if not (np.isfinite(scale).all() and np.isfinite(offset).all()):
        raise GraphError("a batch normalisation with NaN or infinity", where=f"node '{norm.name}' ({norm.op})",
                         remedy="check the variance of the frozen model")
    return scale, offset


def _expand(graph: TFGraph, roles: Mapping[str, str], epsilon: str, config: QuantizeConfig) -> Edit:
    norm, x = graph.node(roles["norm"]), graph.node(roles["input"])
    scale, offset = _terms(graph, norm, roles, epsilon)
    name = norm.name
    # An output of the network keeps its name.
    last = name if name in config.output_nodes else f"{name}/add"
    nodes = (
        x, const_node(f"{name}/scale", scale), new_node(f"{name}/mul", "Mul", (x.name, f"{name}/scale"), T=FLOAT),
        const_node(f"{name}/offset", offset), new_node(last, "Add", (f"{name}/mul", f"{name}/offset"), T=FLOAT))
    return Edit(nodes, {} if last == name else {name: last})


def _expander(epsilon: str, config: QuantizeConfig) -> Replace:
    return lambda graph, roles: _expand(graph, roles, epsilon, config)


def expand_batch_norm(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """Normalisations with constant terms become ``<bn>/mul`` and ``<bn>/add``, in float32."""
    for ops, operands, epsilon in SPELLINGS:
        graph = replace_until_stable(graph, _pattern(ops, operands), _expander(epsilon, config))
    return graph
