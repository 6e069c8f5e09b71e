"""A leaky slope of 0.1 becomes the DPU's 26/256 (quantizer specification, section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dpuflow.formats.graphdef import TFGraph, TFNode
from dpuflow.ops.activation import LEAKY_FACTOR, LEAKY_SHIFT
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.known_patterns import leaky_fused, leaky_keras, leaky_maximum
from dpuflow.quant.patterns import ANY
from dpuflow.quant.rewrite import Edit, replace_matches

_TOLERANCE = 1e-5
SLOPE = LEAKY_FACTOR / (1 << LEAKY_SHIFT)


def _is_tenth(alpha: float) -> bool:
    return abs(alpha - 0.1) < _TOLERANCE


def _dpu_constant(alpha: TFNode) -> TFNode:
    data = alpha.tensor()
    if data.size != 1 or not _is_tenth(float(data.reshape(-1)[0])):
        return alpha
    return alpha.with_attrs(value=np.full((), SLOPE, np.float32))


def _set_maximum(graph: TFGraph, roles: Mapping[str, str]) -> Edit:
    nodes = [graph.node(roles[role]) for role in ("input", "alpha", "leaky_mul", "leaky")]
    nodes[1] = _dpu_constant(nodes[1])
    return Edit(tuple(nodes))


def _set_keras(graph: TFGraph, roles: Mapping[str, str]) -> Edit:
    order = ("input", "leaky_neg", "leaky_relu", "alpha", "leaky_mul", "leaky_positive", "leaky")
    nodes = [graph.node(roles[role]) for role in order]
    nodes[3] = _dpu_constant(nodes[3])
    return Edit(tuple(nodes))


def _set_fused(graph: TFGraph, roles: Mapping[str, str]) -> Edit:
    leaky = graph.node(roles["leaky"])
    if _is_tenth(float(leaky.get("alpha", 0.2))):
        leaky = leaky.with_attrs(alpha=float(SLOPE))
    return Edit((graph.node(roles["input"]), leaky))


def set_leaky_slope(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """Slopes within 1e-5 of 0.1, in all three spellings."""
    if not config.simulate_dpu:
        return graph
    for pattern, replace in ((leaky_maximum(ANY), _set_maximum), (leaky_keras(ANY), _set_keras),
                             (leaky_fused(ANY), _set_fused)):
        graph = replace_matches(graph, pattern, replace)[0]
    return graph
