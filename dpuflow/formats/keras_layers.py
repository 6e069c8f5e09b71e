"""Keras models with LSTM layers, layer by layer: TensorFlow freezes them as loops that nobody can place.

For models that are one chain of layers, such as the network of the Keras OCR example. A dense layer
over the steps of a map becomes a convolution over the map's whole width, which the DPU does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dpuflow.errors import UnsupportedOp
from dpuflow.formats.graphdef import TFGraph
from dpuflow.formats.tf_builder import FrozenBuilder, Lstm
from dpuflow.ir.graph import Array

RECURRENT = ("LSTM", "Bidirectional")
_WITHOUT_EFFECT = ("Dropout", "SpatialDropout2D", "GaussianNoise", "InputLayer")


def has_recurrent(model: Any) -> bool:
    """Whether a Keras model holds a layer that must be frozen here."""
    return any(type(layer).__name__ in RECURRENT for layer in model.layers)


class _Chain:
    """What is written so far: ``x`` the last node, ``shape`` as Keras has it, without the batch.

    Steps (T, F) may still lie in a map (T, W, C) with W * C = F: ``x`` is then the map, ``map`` its shape.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.build = path, FrozenBuilder()
        self.x, self.shape, self.map = "", tuple[int, ...](), tuple[int, ...]()

    def refuse(self, layer: Any, what: str, got: object = None) -> UnsupportedOp:
        """The error for a layer that cannot be frozen."""
        return UnsupportedOp(what, where=f"{self.path}: layer '{layer.name}' ({type(layer).__name__})", got=got,
                             remedy="freeze the model in TensorFlow without its recurrent layers, or bring a .pb")

    def steps(self, name: str) -> None:
        """Make ``x`` a sequence (N, T, F)."""
        if self.map:
            self.x = self.build.reshape(f"{name}/steps", self.x, (-1, *self.shape))
            self.map = ()

    def as_map(self, name: str) -> None:
        """Make ``x`` a map (N, T, W, C)."""
        if not self.map:
            self.map = (self.shape[0], 1, self.shape[1])
            self.x = self.build.reshape(f"{name}/map", self.x, (-1, *self.map))

    def activate(self, layer: Any, activation: Any) -> None:
        """An activation by its Keras function."""
        kind = getattr(activation, "__name__", str(activation))
        if kind == "softmax":
            self.steps(layer.name)
        if kind in ("relu", "softmax"):
            op = {"relu": "Relu", "softmax": "Softmax"}[kind]
            self.x = self.build.unary(f"{layer.name}/{op}", op, self.x)
        elif kind != "linear":
            raise self.refuse(layer, "an activation that cannot be frozen here", kind)


def _weights(layer: Any) -> list[Array]:
    return [np.asarray(weight, np.float32) for weight in layer.get_weights()]


def _conv(chain: _Chain, layer: Any) -> None:
    if len(chain.shape) != 3 or layer.data_format != "channels_last" or layer.groups != 1:
        raise chain.refuse(layer, "a form of convolution that cannot be frozen here")
    kernel, *bias = _weights(layer)
    chain.x = chain.build.conv2d(layer.name, chain.x, kernel, tuple(layer.strides), layer.padding.upper(),
                                 dilation=tuple(layer.dilation_rate))
    if bias:
        chain.x = chain.build.bias_add(layer.name, chain.x, bias[0])
    chain.activate(layer, layer.activation)


def _norm(chain: _Chain, layer: Any) -> None:
    if len(chain.shape) != 3 or not (layer.scale and layer.center):
        raise chain.refuse(layer, "a form of normalisation that cannot be frozen here")
    gamma, beta, mean, variance = _weights(layer)
    chain.x = chain.build.batch_norm(layer.name, chain.x, (gamma, beta, mean, variance), layer.epsilon)


def _pool(chain: _Chain, layer: Any) -> None:
    sizes = {*layer.pool_size, *layer.strides}
    if layer.padding != "valid" or len(sizes) != 1 or layer.data_format != "channels_last":
        raise chain.refuse(layer, "a form of pool that cannot be frozen here", layer.pool_size)
    chain.x = chain.build.max_pool(layer.name, chain.x, sizes.pop())


def _reshape(chain: _Chain, layer: Any) -> None:
    """(T, W, C) to (T, W * C): every step keeps its place."""
    target = tuple(layer.output.shape[1:])
    if len(chain.shape) != 3 or len(target) != 2 or target[0] != chain.shape[0]:
        raise chain.refuse(layer, "a reshape that is not from a map to its steps", f"{chain.shape} to {target}")
    chain.map = chain.shape


def _dense(chain: _Chain, layer: Any) -> None:
    if len(chain.shape) != 2:
        raise chain.refuse(layer, "a dense layer that is not over steps", chain.shape)
    chain.as_map(layer.name)
    kernel, *bias = _weights(layer)
    chain.x = chain.build.conv2d(layer.name, chain.x, kernel.reshape(1, *chain.map[1:], -1), padding="VALID")
    if bias:
        chain.x = chain.build.bias_add(layer.name, chain.x, bias[0])
    chain.map, chain.shape = (chain.shape[0], 1, kernel.shape[1]), (chain.shape[0], kernel.shape[1])
    chain.activate(layer, layer.activation)


def _lstm_weights(chain: _Chain, layer: Any) -> Lstm:
    plain = (layer.return_sequences and layer.use_bias and layer.activation.__name__ == "tanh"
             and layer.recurrent_activation.__name__ == "sigmoid" and not layer.stateful)
    if not plain:
        raise chain.refuse(layer, "a form of LSTM that cannot be frozen here",
                           "other activations, no bias, a state, or the last step only")
    kernel, recurrent, bias = _weights(layer)
    return kernel, recurrent, bias


def _bidirectional(chain: _Chain, layer: Any) -> None:
    if layer.merge_mode != "concat":
        raise chain.refuse(layer, "directions that are not joined side by side", layer.merge_mode)
    chain.steps(layer.name)
    ahead, back = (_lstm_weights(chain, part) for part in (layer.forward_layer, layer.backward_layer))
    chain.x = chain.build.bidirectional_lstm(layer.name, chain.x, ahead, back, chain.shape[0])


def _activation(chain: _Chain, layer: Any) -> None:
    chain.activate(layer, getattr(layer, "activation", type(layer).__name__.lower()))


_LAYERS: Mapping[str, Callable[[_Chain, Any], None]] = {
    "Conv2D": _conv, "BatchNormalization": _norm, "MaxPooling2D": _pool, "Reshape": _reshape, "Dense": _dense,
    "Bidirectional": _bidirectional, "Activation": _activation, "ReLU": _activation, "Softmax": _activation,
}


def freeze_layers(model: Any, path: Path) -> TFGraph:
    """The frozen graph of a chain of layers; UnsupportedOp naming the layer that has no form here."""
    chain = _Chain(path)
    if len(model.inputs) != 1 or len(model.outputs) != 1 or any(len(layer._inbound_nodes) != 1
                                                                 for layer in model.layers):
        raise UnsupportedOp("a model with LSTM layers that is not one chain of layers", where=path,
                            remedy="keep the part from picture to scores")
    chain.shape = tuple(model.inputs[0].shape[1:])
    if None in chain.shape:
        raise UnsupportedOp("the input has unknown sizes beside the batch", where=path, got=chain.shape)
    chain.x = chain.build.placeholder(model.inputs[0].name, (-1, *chain.shape))
    for layer in model.layers:
        kind = type(layer).__name__
        if kind not in _WITHOUT_EFFECT:
            if kind not in _LAYERS:
                raise chain.refuse(layer, "a layer that cannot be frozen beside LSTM layers")
            _LAYERS[kind](chain, layer)
            chain.shape = tuple(layer.output.shape[1:])
    chain.steps("output")
    return chain.build.graph(str(path))
