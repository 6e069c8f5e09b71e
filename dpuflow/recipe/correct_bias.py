"""Empirical bias correction: nearest weights, and the bias that leaves no mean error on the images.

After M. Nagel and others, "Data-Free Quantization Through Weight Equalization and Bias Correction"
(2019), section 4.2, with the inputs that the quantized layers before really give.
"""

from __future__ import annotations

import numpy as np

from dpuedge import fixed
from dpuflow.ir.graph import Array
from dpuflow.ops import get_op
from dpuflow.quant.position import find_position
from dpuflow.recipe.walk import LayerChoice, LayerView

PARAMETER_ROUNDING = "half_away"


def bias_choice(bias: Array, view: LayerView, weights: Array, weights_pos: int) -> LayerChoice:
    """Weights with a bias on its grid.

    The bias gets no finer position than the accumulator has: then the vendor's compilers agree on
    what it means, bias_mode exact and prerounded (arithmetic specification, section 4).
    """
    values = np.asarray(bias, np.float32)
    pos = find_position(values, 1, PARAMETER_ROUNDING, view.bits)
    if pos == fixed.ALL_ZERO_POS:
        return LayerChoice(weights, weights_pos, np.zeros_like(values), view.input_pos + weights_pos)
    total = view.input_pos + weights_pos
    pos = max(min(pos, total), total - 16)
    return LayerChoice(weights, weights_pos, fixed.snap(values, pos, PARAMETER_ROUNDING, view.bits), pos)


def correct_bias(view: LayerView) -> LayerChoice:
    """Weights rounded to the nearest at their position, the bias corrected."""
    weights = fixed.snap(view.weights, view.weights_pos, PARAMETER_ROUNDING, view.bits)
    if view.bias is None:
        return LayerChoice(weights, view.weights_pos)
    mean_error = np.mean(view.target - view_output(view, weights), axis=tuple(range(view.target.ndim - 1)))
    return bias_choice(view.bias.reshape(-1) + mean_error, view, weights, view.weights_pos)


def view_output(view: LayerView, weights: Array) -> Array:
    """The layer's output with these weights and its float bias."""
    out: Array = get_op(view.node.op).float_([view.x, weights], view.node.attrs)
    return out if view.bias is None else out + view.bias.reshape(-1)


