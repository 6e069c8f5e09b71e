"""Biases no finer than their accumulator: then bias_mode exact and prerounded mean the same network.

Arithmetic specification, section 4: the vendor's compilers disagree on a bias with more fraction bits
than the sum of products has. Moving it to the accumulator's position costs half of the sum's last bit.
"""

from __future__ import annotations

from dpuedge import fixed
from dpuflow.analysis.layers import find_layers
from dpuflow.analysis.shifts import layer_roles
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.positions import apply_positions
from dpuflow.quant.quantizer import Quantized


def fine_biases(quantized: Quantized) -> dict[str, int]:
    """For every bias that is finer than its accumulator, by FixNeuron name, the accumulator's position."""
    found = {}
    for layer in find_layers(quantized.evaluation):
        roles = layer_roles(quantized.evaluation, layer)
        if roles is None or roles[3] is None:
            continue
        i, w, b = (quantized.positions[name] for name in (roles[0], roles[1], roles[3]))
        if fixed.ALL_ZERO_POS not in (i, w, b) and b > i + w:
            found[roles[3]] = i + w
    return found


def agree_on_biases(quantized: Quantized, config: QuantizeConfig) -> Quantized:
    """The network with every fine bias at its accumulator's position."""
    table = fine_biases(quantized)
    return apply_positions(quantized, table, config, "biases") if table else quantized
