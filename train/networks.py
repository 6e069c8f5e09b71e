"""The networks of this project as frozen TensorFlow-1 style graphs, from trained weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from captcha_freeze import captcha_network

from dpuflow.errors import DataError
from dpuflow.formats.graphdef import TFGraph
from dpuflow.formats.tf_builder import FrozenBuilder
from dpuflow.ir.graph import Array

DEFAULT_EPSILON = 1e-3  # Keras's
Weights = Mapping[str, Array]

# The Chars74K discriminator: stride and padding of each convolution, and its batch normalisation.
_CHARS74K_CONVS: tuple[tuple[int, str, str | None], ...] = (
    (2, "SAME", None), (2, "SAME", None), (2, "SAME", "batch_normalization"),
    (1, "SAME", "batch_normalization_1"), (1, "SAME", "batch_normalization_2"), (1, "VALID", None),
)


def _weight(weights: Weights, name: str) -> Array:
    if name not in weights:
        raise DataError("the trained weights lack a tensor", where="weights.npz", expected=name,
                        remedy="run `make train` again")
    return weights[name]


def chars74k_discriminator(weights: Weights, epsilon: float) -> TFGraph:
    """``input_real`` (N, 32, 32, 1) to ``discriminator/out`` (N, 63), class 62 being fake."""
    build, scope = FrozenBuilder(), "discriminator"
    x = build.placeholder("input_real", (-1, 32, 32, 1))
    for index, (stride, padding, norm) in enumerate(_CHARS74K_CONVS):
        layer = f"{scope}/conv2d" + (f"_{index}" if index else "")
        x = build.conv2d(layer, x, _weight(weights, f"{layer}/kernel"), stride, padding)
        x = build.bias_add(layer, x, _weight(weights, f"{layer}/bias"))
        if norm:
            terms = [_weight(weights, f"{scope}/{norm}/{term}")
                     for term in ("gamma", "beta", "moving_mean", "moving_variance")]
            x = build.batch_norm(f"{scope}/{norm}", x, (terms[0], terms[1], terms[2], terms[3]), epsilon)
        x = build.unary(f"{layer}/Relu", "Relu", x)
    x = build.mean(f"{scope}/Mean", x)
    x = build.dense(f"{scope}/dense", x, _weight(weights, f"{scope}/dense/kernel"))
    x = build.bias_add(f"{scope}/dense", x, _weight(weights, f"{scope}/dense/bias"))
    build.unary(f"{scope}/out", "Softmax", x)
    return build.graph("chars74k")


# By the task that the train stage records, and by the name of the model where it records none.
NETWORKS: Mapping[str, Callable[[Weights, Mapping[str, Any]], TFGraph]] = {
    "chars74k": lambda weights, info: chars74k_discriminator(weights, float(info.get("epsilon", DEFAULT_EPSILON))),
    "ctc": captcha_network,
}
