"""Analytic bias correction: what rounded weights shift an output by, from batch normalisation alone, without images.

A batch normalisation says how each channel before its nonlinearity is distributed, N(beta, gamma^2);
so the mean after ReLU or ReLU6 is known in closed form, and with it the mean error that rounding
the next layer's weights makes (M. Nagel and others, 2019, section 4.2 and appendix C).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from dpuedge import fixed
from dpuflow.formats.graphdef import TFGraph, TFNode
from dpuflow.ir.graph import Array
from dpuflow.recipe.correct_bias import PARAMETER_ROUNDING, bias_choice
from dpuflow.recipe.draft import Draft
from dpuflow.recipe.walk import LayerChoice, LayerView

_NORMS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
_SAME_MEAN = ("Identity", "Squeeze", "Mean", "AvgPool", "Reshape", "Flatten")


def clipped_mean(mean: Array, deviation: Array, top: float = math.inf) -> Array:
    """The mean of N(mean, deviation^2) clipped to 0..top.

    >>> clipped_mean(np.array([0.0, 3.0]), np.array([1.0, 1e-9])).round(4).tolist()
    [0.3989, 3.0]
    """
    deviation = np.maximum(np.abs(deviation), 1e-12)
    low, high = -mean / deviation, (top - mean) / deviation
    inside = _below(high) - _below(low)
    middle = mean * inside + deviation * (_density(low) - _density(high))
    return np.asarray(middle + (top * (1 - _below(high)) if math.isfinite(top) else 0.0))


def _density(x: Array) -> Array:
    return np.asarray(np.exp(-np.square(np.clip(x, -1e3, 1e3)) / 2) / math.sqrt(2 * math.pi))


def _below(x: Array) -> Array:
    return np.asarray([(1 + math.erf(value / math.sqrt(2))) / 2 for value in x.reshape(-1)]).reshape(x.shape)


def input_means(graph: TFGraph, draft: Draft) -> dict[str, Array]:
    """The mean of each channel of each layer's input, by the node that yields it, where a normalisation tells it.

    ``graph`` is the float network before its normalisations were folded; ``draft.scales`` are applied.
    """
    found = {}
    for group in draft.groups:
        if group.input in graph.by_name:
            means = _mean_of(graph, graph.node(group.input), draft.scales)
            if means is not None:
                found[group.input] = means
    return found


def _mean_of(graph: TFGraph, node: TFNode, scales: Mapping[str, Array]) -> Array | None:
    while node.op in _SAME_MEAN:
        node = graph.node(node.operands[0])
    if node.op not in ("Relu", "Relu6"):
        return None
    norm = graph.node(node.operands[0])
    if norm.op not in _NORMS:
        return None
    gamma, beta = (_constant(graph, name) for name in norm.operands[1:3])
    if gamma is None or beta is None:
        return None
    mean = clipped_mean(beta, gamma, 6.0 if node.op == "Relu6" else math.inf)
    return np.asarray(mean * scales.get(node.name, np.float64(1)))


def _constant(graph: TFGraph, name: str) -> Array | None:
    node = graph.node(name)
    while node.op == "Identity":
        node = graph.node(node.operands[0])
    return node.tensor().astype(np.float64) if node.op == "Const" else None


def correct_by_statistics(means: Mapping[str, Array]) -> Callable[[LayerView], LayerChoice]:
    """The policy: nearest weights; the bias loses the error to be expected, where the input's means are known."""
    def policy(view: LayerView) -> LayerChoice:
        weights = fixed.snap(view.weights, view.weights_pos, PARAMETER_ROUNDING, view.bits)
        if view.bias is None:
            return LayerChoice(weights, view.weights_pos)
        bias = view.bias.reshape(-1).astype(np.float64)
        mean = means.get(view.group.input)
        if mean is not None:
            bias = bias - expected_shift(view.node.op, weights.astype(np.float64) - view.weights, mean)
        return bias_choice(bias, view, weights, view.weights_pos)
    return policy


def expected_shift(op: str, error: Array, mean: Array) -> Array:
    """The mean of a layer's output error, by output channel, for an error of its weights; borders not counted."""
    if op == "dense":
        return np.asarray(np.tile(mean, error.shape[0] // len(mean)) @ error)
    summed = error.sum(axis=(0, 1))
    if op == "depthwise_conv2d":
        return np.asarray((summed * mean[:, None]).reshape(-1))
    return np.asarray(mean @ summed) if len(mean) == summed.shape[0] else np.zeros(summed.shape[1])
