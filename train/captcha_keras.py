"""The captcha networks in Keras, from their list of layers; weights in and out by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from captcha_networks import INPUT, Columns, Conv, Dense, Dropout, Layer, Pool, Recurrent
from keras import layers as kl

EPSILON = 1e-3  # of batch normalisation


def _conv(layer: Conv, x: Any) -> Any:
    # He's initial weights for the rectified layers; a bias would be lost in the normalisation behind it.
    x = kl.Conv2D(layer.filters, layer.kernel, layer.stride, layer.padding.lower(), dilation_rate=layer.dilation,
                  use_bias=not layer.norm, kernel_initializer="he_normal", name=layer.name)(x)
    if layer.norm:
        x = kl.BatchNormalization(momentum=0.95, epsilon=EPSILON, name=f"{layer.name}_norm")(x)
    return kl.ReLU(name=f"{layer.name}_relu")(x) if layer.relu else x


def _recurrent(layer: Recurrent, x: Any) -> Any:
    lstm = kl.LSTM(layer.units, return_sequences=True, dropout=layer.dropout, name="lstm")
    return kl.Bidirectional(lstm, name=layer.name)(x)


def _apply(layer: Layer, x: Any) -> Any:
    if isinstance(layer, Conv):
        return _conv(layer, x)
    if isinstance(layer, Pool):
        return kl.MaxPooling2D(2, name=layer.name)(x)
    if isinstance(layer, Columns):
        return kl.Reshape((x.shape[1], x.shape[2] * x.shape[3]), name=layer.name)(x)
    if isinstance(layer, Dense):
        return kl.Dense(layer.units, activation="relu" if layer.relu else None, name=layer.name)(x)
    if isinstance(layer, Dropout):
        return kl.Dropout(layer.share, name=layer.name)(x)
    return _recurrent(layer, x)


def build(layers: Sequence[Layer]) -> Any:
    """The Keras model: pictures (N, 200, 50, 1) to scores before the softmax, (N, 50, 20)."""
    x = entry = keras.Input(INPUT, name="image")
    for layer in layers:
        x = _apply(layer, x)
    if len(x.shape) == 4:
        x = kl.Reshape((x.shape[1], x.shape[3]), name="rows")(x)
    return keras.Model(entry, x)


def _name(variable: Any) -> str:
    """A variable's name in ``weights.npz``: ``conv1/kernel``, ``bidirectional/forward_lstm/lstm_cell/bias``."""
    path: str = variable.path
    return path


def weights_of(model: Any) -> Mapping[str, Any]:
    """Every weight and statistic by name; no states of random generators."""
    return {_name(variable): np.asarray(variable) for variable in model.variables if "seed_gen" not in variable.path}
