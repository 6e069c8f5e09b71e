"""Positions that are best for what comes out, not for the tensor itself.

Weights: the position with the smallest error of the layer's output against the float output, the
mean error left to the bias. Activations: the position at which the quantized tensor comes closest
to the float network's tensor; few images say too little about saturation, so there the position stays.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dpuedge import fixed
from dpuflow.ir.graph import Array
from dpuflow.recipe.correct_bias import PARAMETER_ROUNDING, correct_bias
from dpuflow.recipe.layer import blocks, moments
from dpuflow.recipe.walk import ActivationView, LayerChoice, LayerView

FEWEST_IMAGES = 100  # to judge by what share of an activation may saturate
_AROUND_WEIGHTS = (-1, 0, 1, 2)
_CANDIDATES = 5  # upwards from the position at which nothing saturates, as the vendor's rule


def choose_weights_position(view: LayerView) -> LayerChoice:
    """Nearest rounding at the position that is best for the layer's output, and the bias for it."""
    known = moments(view.node, view.x, view.target, view.weights.shape, 0)
    low = view.output_pos - view.input_pos
    tried = [view.weights_pos + step for step in _AROUND_WEIGHTS if low <= view.weights_pos + step <= low + 16]

    def error(pos: int) -> float:
        rounded = fixed.snap(view.weights, pos, PARAMETER_ROUNDING, view.bits)
        return known.error(blocks(view.node, rounded).astype(np.float64))

    return correct_bias(replace(view, weights_pos=min(tried or [view.weights_pos], key=error)))


def choose_activation_position(view: ActivationView) -> int:
    """The legal position with the smallest squared distance to the float tensor."""
    if len(view.value) < FEWEST_IMAGES:
        return view.pos
    value = np.asarray(view.value, np.float32)
    first = fixed.overflow_position(value.min(), value.max(), view.bits)
    if first == fixed.ALL_ZERO_POS or view.name.endswith("/wquant"):
        return view.pos
    tried = [pos for pos in range(first, first + _CANDIDATES) if pos in view.allowed]
    return min(tried or [view.pos], key=lambda pos: _distance(view, value, pos))


def _distance(view: ActivationView, value: Array, pos: int) -> float:
    error = fixed.snap(value, pos, view.rounding, view.bits).reshape(-1) - view.exact.reshape(-1)
    return float(np.dot(error, error))
