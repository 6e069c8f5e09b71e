"""The captcha networks as frozen TensorFlow-1 style graphs, from their list of layers and trained weights.

The dense layer over each step is written as a convolution over the whole width of the map, which
the DPU does; LSTM layers as TensorFlow's BlockLSTM, one node per direction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from captcha_networks import INPUT, NETWORKS, Columns, Conv, Dense, Dropout, Layer, Pool, Recurrent

from dpuflow.errors import DataError
from dpuflow.formats.graphdef import TFGraph
from dpuflow.formats.tf_builder import FrozenBuilder
from dpuflow.ir.graph import Array

Weights = Mapping[str, Array]
_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


class _Freezer:
    """Writes layer after layer; ``x`` is the last node, ``shape`` its map without the batch."""

    def __init__(self, weights: Weights, epsilon: float) -> None:
        self.weights, self.epsilon = weights, epsilon
        self.build = FrozenBuilder()
        self.x = self.build.placeholder("image", (-1, *INPUT))
        self.shape: tuple[int, ...] = INPUT

    def weight(self, name: str) -> Array:
        if name not in self.weights:
            raise DataError("the trained weights lack a tensor", where="weights.npz", expected=name,
                            remedy="run `make train` again")
        return self.weights[name]

    def conv(self, layer: Conv) -> None:
        kernel = self.weight(f"{layer.name}/kernel")
        self.x = self.build.conv2d(layer.name, self.x, kernel, layer.stride, layer.padding, dilation=layer.dilation)
        if layer.norm:
            terms = [self.weight(f"{layer.name}_norm/{term}") for term in _NORM]
            self.x = self.build.batch_norm(f"{layer.name}_norm", self.x, (terms[0], terms[1], terms[2], terms[3]),
                                           self.epsilon)
        else:
            self.x = self.build.bias_add(layer.name, self.x, self.weight(f"{layer.name}/bias"))
        self.relu(layer.name, layer.relu)
        sizes = zip(self.shape, layer.kernel, layer.stride, strict=False)
        out = [-(-size // s) if layer.padding == "SAME" else (size - k) // s + 1 for size, k, s in sizes]
        self.shape = (*out, layer.filters)

    def relu(self, name: str, wanted: bool) -> None:
        if wanted:
            self.x = self.build.unary(f"{name}/Relu", "Relu", self.x)

    def pool(self, layer: Pool) -> None:
        self.x = self.build.max_pool(f"{layer.name}/MaxPool", self.x, 2)
        self.shape = (self.shape[0] // 2, self.shape[1] // 2, self.shape[2])

    def dense(self, layer: Dense) -> None:
        """A map (T, W, C): one convolution takes in all W columns of a step."""
        if len(self.shape) == 2:
            self.reshape(f"{layer.name}/map", (self.shape[0], 1, self.shape[1]))
        kernel = self.weight(f"{layer.name}/kernel").reshape(1, *self.shape[1:], layer.units)
        self.x = self.build.conv2d(layer.name, self.x, kernel, padding="VALID")
        self.x = self.build.bias_add(layer.name, self.x, self.weight(f"{layer.name}/bias"))
        self.relu(layer.name, layer.relu)
        self.shape = (self.shape[0], 1, layer.units)

    def reshape(self, name: str, shape: tuple[int, ...]) -> None:
        self.x = self.build.reshape(name, self.x, (-1, *shape))
        self.shape = shape

    def recurrent(self, layer: Recurrent) -> None:
        if len(self.shape) == 3:
            self.reshape(f"{layer.name}/steps", (self.shape[0], self.shape[2]))
        directions = []
        for direction in ("forward", "backward"):
            scope = f"{layer.name}/{direction}_lstm/lstm_cell"
            parts = [self.weight(f"{scope}/{part}") for part in ("kernel", "recurrent_kernel", "bias")]
            directions.append((parts[0], parts[1], parts[2]))
        self.x = self.build.bidirectional_lstm(layer.name, self.x, directions[0], directions[1], self.shape[0])
        self.shape = (self.shape[0], 2 * layer.units)

    def add(self, layer: Layer) -> None:
        if isinstance(layer, Conv):
            self.conv(layer)
        elif isinstance(layer, Pool):
            self.pool(layer)
        elif isinstance(layer, Dense):
            self.dense(layer)
        elif isinstance(layer, Recurrent):
            self.recurrent(layer)
        elif not isinstance(layer, (Columns, Dropout)):  # the dense layer takes columns in; dropout is for training
            raise TypeError(f"no way to freeze {layer!r}")


def freeze_layers(layers: Sequence[Layer], weights: Weights, epsilon: float, name: str) -> TFGraph:
    """``image`` (N, 200, 50, 1) to ``out`` (N, 50, 1, 20), the softmax over the symbols of each step."""
    freezer = _Freezer({key: np.asarray(value, np.float32) for key, value in weights.items()}, epsilon)
    for layer in layers:
        freezer.add(layer)
    freezer.build.unary("out", "Softmax", freezer.x)
    return freezer.build.graph(name)


def captcha_network(weights: Weights, info: Mapping[str, Any]) -> TFGraph:
    """The network that the train stage's notes name."""
    network = info.get("network")
    if network not in NETWORKS:
        raise DataError("the train stage names no captcha network", where="manifest.json", got=network,
                        expected=" or ".join(NETWORKS), remedy="run `make train` again")
    return freeze_layers(NETWORKS[network], weights, float(info.get("epsilon", 1e-3)), network)
