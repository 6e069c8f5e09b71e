"""A product after convolution and bias goes into both (quantizer specification, section 3.2, step 7)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dpuflow.formats.graphdef import TFGraph, const_node
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.patterns import op
from dpuflow.quant.prepare.fold_batch_norm import BIASED_CONV, fits, scaled_weights
from dpuflow.quant.rewrite import Edit, replace_until_stable

_SCALE = op("scale", "Const")
SPELLINGS = (op("mul", "Mul", BIASED_CONV, _SCALE), op("mul", "Mul", _SCALE, BIASED_CONV))


def fold_mul(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """Weights and bias times the scale; the bias addition survives and takes the product's readers."""

    def replace(graph: TFGraph, roles: Mapping[str, str]) -> Edit | None:
        inner = [roles[role] for role in ("conv", "weights", "bias", "biases", "scale")]
        conv, weights, scale = (graph.node(roles[role]) for role in ("conv", "weights", "scale"))
        if any(len(graph.readers.get(name, ())) != 1 for name in inner) or not fits(conv, weights, scale.tensor()):
            return None
        if set(inner).intersection(config.output_nodes):
            return None
        biases, bias = graph.node(roles["biases"]), graph.node(roles["bias"])
        product = np.asarray(biases.tensor().reshape(-1) * scale.tensor().reshape(-1), np.float32)
        is_output = roles["mul"] in config.output_nodes
        last = bias.replace(name=roles["mul"]) if is_output else bias
        return Edit((scaled_weights(conv, weights, scale.tensor()), graph.node(roles["input"]), conv,
                     const_node(biases.name, product), last), {} if is_output else {roles["mul"]: bias.name})

    for pattern in SPELLINGS:
        graph = replace_until_stable(graph, pattern, replace)
    return graph
