"""Fold the arithmetic before the first convolution into it: subtracted means, scales, divisions by a constant.

Networks often begin with ``(x - mean) / deviation`` in the graph, which the DPU cannot compute.
The scale goes into the weights, what is added into the bias. Exact for convolutions without
padding; with padding only where nothing is added, because the zeros around a map would have to
become ``mean``: there the sum stays in the graph, unless ``exact`` is given up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from dpuflow.formats.graphdef import TFGraph, TFNode, const_node, rewire
from dpuflow.ir.graph import Array

_SUMS = ("BiasAdd", "Add", "AddV2")
_NORMS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")


@dataclass(frozen=True)
class _Affine:
    """y = scale * x + shift, by channel; the nodes that compute it."""

    scale: Array
    shift: Array
    nodes: tuple[str, ...]


def fold_input(graph: TFGraph, exact: bool = True) -> TFGraph:
    """The graph with each input's arithmetic folded into the convolution behind it, where that is possible."""
    for source in graph.placeholders:
        folded = _fold_one(graph, source, exact)
        graph = folded if folded is not None else graph
    return graph


def _fold_one(graph: TFGraph, source: TFNode, exact: bool) -> TFGraph | None:
    chain = _chain(graph, source)
    if chain is None:
        return None
    affine, conv = chain
    weights = _sole_constant(graph, conv.operands[1])
    target = _bias_after(graph, conv)
    shifts = bool(np.any(affine.shift))
    if weights is None or (shifts and (target is None or (exact and conv.get("padding") != b"VALID"))):
        return None
    kernel = weights.tensor()
    scale, shift = (np.broadcast_to(value, (kernel.shape[2],)).astype(np.float64) for value in
                    (affine.scale, affine.shift))
    replaced = {weights.name: const_node(weights.name, (kernel * scale[:, None]).astype(kernel.dtype))}
    if shifts and target is not None:
        constant, sign = target
        added = np.einsum("hwio,i->o", kernel.astype(np.float64), shift)
        value = constant.tensor()
        replaced[constant.name] = const_node(constant.name, (value + sign * added.reshape(value.shape)).astype(
            value.dtype))
    nodes = [replaced.get(node.name, node) for node in graph.nodes if node.name not in affine.nodes]
    return graph.replace(rewire(nodes, dict.fromkeys(affine.nodes, source.name)))


def _chain(graph: TFGraph, source: TFNode) -> tuple[_Affine, TFNode] | None:
    """The arithmetic from an input up to a Conv2D that alone reads it; None if there is none."""
    affine, node = _Affine(np.float64(1), np.float64(0), ()), source
    while True:
        readers = graph.users[node.name]
        if len(readers) != 1:
            return None
        node = graph.node(readers[0])
        if node.op == "Conv2D":
            return (affine, node) if affine.nodes else None
        step = _step(graph, node)
        if step is None:
            return None
        scale, shift = step
        affine = _Affine(affine.scale * scale, affine.shift * scale + shift, (*affine.nodes, node.name))


# What an operator makes of x and its constant c, as (scale, shift): c second, and c first where that is affine.
_STEPS: Mapping[tuple[str, int], Callable[[Array], tuple[Array, Array]]] = {
    ("Mul", 0): lambda c: (c, 0 * c), ("Mul", 1): lambda c: (c, 0 * c),
    ("RealDiv", 1): lambda c: (1 / c, 0 * c), ("Div", 1): lambda c: (1 / c, 0 * c),
    ("Sub", 1): lambda c: (c**0, -c), ("Sub", 0): lambda c: (-(c**0), c),
    **{(op, at): lambda c: (c**0, c) for op in ("Add", "AddV2", "BiasAdd") for at in (0, 1)},
}


def _step(graph: TFGraph, node: TFNode) -> tuple[Array, Array] | None:
    """One node as (scale, shift) by channel; None if it is not affine in its input."""
    if node.op == "Identity":
        return np.ones(1), np.zeros(1)
    values = [_value(graph, name) for name in node.operands]
    at = next((index for index, value in enumerate(values) if value is not None), -1)
    value = values[at] if at >= 0 else None
    if (node.op, at) not in _STEPS or value is None or value.size not in (1, value.shape[-1] if value.ndim else 1):
        return None
    return _STEPS[node.op, at](value.reshape(-1).astype(np.float64))


def _value(graph: TFGraph, name: str) -> Array | None:
    node = graph.node(name)
    while node.op == "Identity":
        node = graph.node(node.operands[0])
    return node.tensor() if node.op == "Const" else None


def _sole_constant(graph: TFGraph, name: str) -> TFNode | None:
    """The constant behind a name, if nobody else reads it."""
    node = graph.node(name)
    while node.op == "Identity" and len(graph.users[node.name]) == 1:
        node = graph.node(node.operands[0])
    return node if node.op == "Const" and len(graph.users[node.name]) == 1 else None


def _bias_after(graph: TFGraph, conv: TFNode) -> tuple[TFNode, int] | None:
    """The constant that shifts the convolution's output, and with which sign: a bias, or a normalisation's mean."""
    readers = graph.users[conv.name]
    if len(readers) != 1:
        return None
    node = graph.node(readers[0])
    if node.op in _SUMS and node.operands[0] == conv.name:
        constant = _sole_constant(graph, node.operands[1])
        return (constant, 1) if constant is not None and constant.tensor().size > 1 else None
    if node.op in _NORMS:
        constant = _sole_constant(graph, node.operands[3])
        return (constant, -1) if constant is not None else None
    return None
