"""Build a float network layer by layer with seeded weights.

Node names are those that TensorFlow's layers leave (``conv1/Conv2D``, ``conv1/BiasAdd``,
``conv1/Relu``). Every method adds nodes and returns the name of the tensor that the layer yields.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from dpuflow.errors import GraphError
from dpuflow.ir.graph import Array, Graph, NoAttrs, Node, Shape, const
from dpuflow.ir.verify import output_shape, verify
from dpuflow.ops.activation import LeakyAttrs
from dpuflow.ops.base import Padding, same_padding
from dpuflow.ops.conv import ConvAttrs, DenseAttrs
from dpuflow.ops.elementwise import EltwiseAttrs
from dpuflow.ops.movement import ConcatAttrs, ReshapeAttrs
from dpuflow.ops.normalization import BatchNormAttrs
from dpuflow.ops.pool import MeanAttrs, PoolAttrs
from dpuflow.ops.resize import ResizeAttrs
from dpuflow.ops.slicing import SliceAttrs
from dpuflow.ops.transposed import TransposedAttrs

Size = int | tuple[int, int]

_TF_NAMES = {"conv2d": "Conv2D", "depthwise_conv2d": "depthwise", "transposed_conv2d": "conv2d_transpose",
             "dense": "MatMul", "relu": "Relu", "relu6": "Relu6", "leaky_relu": "LeakyRelu"}
_LEAKY_SLOPE = 0.1  # what networks are trained with; the DPU realises it as 26/256
_EPSILON = 1e-3


def _pair(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


class NetworkBuilder:
    """Collects the nodes of one network.

    ``weights``: ``random`` draws from ``seed`` with variances that keep activations near one (He's
    rule); ``zeros`` takes no memory, for estimates and inspection where values do not matter.
    ``batch_norm``: convolutions that ask for it keep their batch normalisation as a node of its
    own, as in a training graph; otherwise they have a bias.
    """

    def __init__(self, name: str, *, seed: int = 0, weights: str = "random", batch_norm: bool = False) -> None:
        self.name, self.batch_norm = name, batch_norm
        self._rng = np.random.default_rng(seed)
        self._random = weights == "random"
        self._nodes: dict[str, Node] = {}
        self._outputs: list[str] = []
        self._counts: dict[str, int] = {}

    def shape(self, x: str) -> Shape:
        """A tensor's shape, batch 1 first."""
        return self._nodes[x].shape

    def graph(self, *outputs: str) -> Graph:
        """The network that yields these tensors."""
        return verify(Graph(self.name, tuple(self._nodes.values()), outputs))

    def emit(self, name: str, op: str, inputs: Iterable[str], attrs: Any = None) -> str:
        """Add any operator."""
        if name in self._nodes:
            raise GraphError("two layers of one name", where=self.name, got=name)
        node = Node(name, op, tuple(inputs), NoAttrs() if attrs is None else attrs)
        shapes = {operand: self._nodes[operand].shape for operand in node.inputs}
        self._nodes[name] = node.replace(shape=output_shape(node, shapes))
        return name

    def input(self, height: int, width: int, channels: int, name: str = "input") -> str:
        """An image, NHWC."""
        self._nodes[name] = Node(name, "input", shape=(1, height, width, channels))
        return name

    def _layer(self, name: str, kind: str) -> str:
        """The name asked for, or the kind with a number."""
        if name:
            return name
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return f"{kind}_{self._counts[kind]}"

    def _constant(self, name: str, values: Array) -> str:
        values.setflags(write=False)
        self._nodes[name] = const(name, values)
        return name

    def _normal(self, name: str, shape: Shape, deviation: float) -> str:
        if not self._random:
            return self._constant(name, np.broadcast_to(np.float32(0), shape))
        values = self._rng.standard_normal(shape, np.float32)
        values *= np.float32(deviation)
        return self._constant(name, values)

    def _positive(self, name: str, shape: Shape) -> str:
        values = self._rng.uniform(0.5, 1.5, shape) if self._random else np.ones(shape)
        return self._constant(name, np.asarray(values, np.float32))

    def _normalized(self, layer: str, x: str) -> str:
        channels = (self.shape(x)[-1],)
        terms = (self._positive(f"{layer}/gamma", channels), self._normal(f"{layer}/beta", channels, 0.1),
                 self._normal(f"{layer}/moving_mean", channels, 0.1),
                 self._positive(f"{layer}/moving_variance", channels))
        return self.emit(f"{layer}/FusedBatchNorm", "batch_norm", (x, *terms), BatchNormAttrs(_EPSILON))

    def _finish(self, layer: str, x: str, nonlinear: str, normalized: bool) -> str:
        """Bias or batch normalisation, then the nonlinearity."""
        if normalized and self.batch_norm:
            x = self._normalized(layer, x)
        else:
            bias = self._normal(f"{layer}/bias", (self.shape(x)[-1],), 0.1)
            x = self.emit(f"{layer}/BiasAdd", "bias_add", (x, bias))
        return self.activation(x, nonlinear, f"{layer}/{_TF_NAMES.get(nonlinear, nonlinear)}")

    def _weighted(self, op: str, layer: str, x: str, kernel: Shape, fan_in: int, attrs: Any) -> str:
        weights = self._normal(f"{layer}/kernel", kernel, math.sqrt(2 / fan_in))
        return self.emit(f"{layer}/{_TF_NAMES[op]}", op, (x, weights), attrs)

    def _padding(self, x: str, kernel: tuple[int, int], stride: tuple[int, int], padding: str | Padding,
                 dilation: tuple[int, int] = (1, 1)) -> Padding:
        if isinstance(padding, Padding):
            return padding
        height, width = self.shape(x)[1:3]
        return same_padding((height, width), kernel, stride, dilation) if padding == "SAME" else Padding()

    def conv(self, x: str, channels: int, kernel: Size = 3, stride: Size = 1, *, nonlinear: str = "relu",
             padding: str | Padding = "SAME", dilation: Size = 1, normalized: bool = True, name: str = "") -> str:
        """A convolution with bias (or batch normalisation) and nonlinearity."""
        layer, size, step, spread = self._layer(name, "conv"), _pair(kernel), _pair(stride), _pair(dilation)
        inputs = self.shape(x)[3]
        attrs = ConvAttrs(step, self._padding(x, size, step, padding, spread), spread)
        y = self._weighted("conv2d", layer, x, (*size, inputs, channels), size[0] * size[1] * inputs, attrs)
        return self._finish(layer, y, nonlinear, normalized)

    def depthwise(self, x: str, kernel: Size = 3, stride: Size = 1, *, nonlinear: str = "relu", name: str = "") -> str:
        """A depthwise convolution with bias (or batch normalisation) and nonlinearity."""
        layer, size, step = self._layer(name, "depthwise"), _pair(kernel), _pair(stride)
        attrs = ConvAttrs(step, self._padding(x, size, step, "SAME"))
        y = self._weighted("depthwise_conv2d", layer, x, (*size, self.shape(x)[3], 1), size[0] * size[1], attrs)
        return self._finish(layer, y, nonlinear, True)

    def transposed(self, x: str, channels: int, kernel: Size = 2, stride: Size = 2, *, nonlinear: str = "relu",
                   name: str = "") -> str:
        """A transposed convolution to ``stride`` times the size, with bias and nonlinearity."""
        layer, size, step = self._layer(name, "transposed"), _pair(kernel), _pair(stride)
        _, height, width, inputs = self.shape(x)
        large = (height * step[0], width * step[1])
        attrs = TransposedAttrs(large, step, same_padding(large, size, step))
        fan_in = max(size[0] * size[1] * inputs // (step[0] * step[1]), 1)
        y = self._weighted("transposed_conv2d", layer, x, (*size, channels, inputs), fan_in, attrs)
        return self._finish(layer, y, nonlinear, False)

    def upsample(self, x: str, factor: int = 2, name: str = "") -> str:
        """Every pixel repeated."""
        _, height, width, _ = self.shape(x)
        attrs = ResizeAttrs((height * factor, width * factor))
        return self.emit(self._layer(name, "upsample"), "resize_nearest", (x,), attrs)

    def half(self, x: str, index: int, name: str = "") -> str:
        """The first or second half of the channels."""
        *size, channels = self.shape(x)[1:]
        ranges = (*((0, length, 1) for length in size), (index * channels // 2, (index + 1) * channels // 2, 1))
        return self.emit(self._layer(name, "half"), "slice", (x,), SliceAttrs(ranges))

    def max_feature_map(self, x: str, name: str = "") -> str:
        """The larger of the two halves of the channels (Wu et al. 2015)."""
        layer = self._layer(name, "mfm")
        halves = [self.half(x, index, f"{layer}/half{index}") for index in (0, 1)]
        return self.emit(f"{layer}/maximum", "maximum", halves)

    def dense(self, x: str, units: int, nonlinear: str = "none", name: str = "") -> str:
        """A dense layer with bias and nonlinearity on a flat tensor."""
        layer, inputs = self._layer(name, "dense"), self.shape(x)[1]
        y = self._weighted("dense", layer, x, (inputs, units), inputs, DenseAttrs())
        return self._finish(layer, y, nonlinear, False)

    def activation(self, x: str, nonlinear: str, name: str = "") -> str:
        """A nonlinearity; ``none`` adds nothing."""
        if nonlinear == "none":
            return x
        attrs = LeakyAttrs(_LEAKY_SLOPE) if nonlinear == "leaky_relu" else None
        return self.emit(name or self._layer("", nonlinear), nonlinear, (x,), attrs)

    def max_pool(self, x: str, kernel: Size = 2, stride: Size = 2, padding: str | Padding = "SAME",
                 name: str = "") -> str:
        """A max pool."""
        size, step = _pair(kernel), _pair(stride)
        attrs = PoolAttrs(size, step, self._padding(x, size, step, padding))
        return self.emit(self._layer(name, "max_pool"), "max_pool", (x,), attrs)

    def avg_pool(self, x: str, kernel: Size, stride: Size, padding: str | Padding = "VALID", name: str = "") -> str:
        """An average pool."""
        size, step = _pair(kernel), _pair(stride)
        attrs = PoolAttrs(size, step, self._padding(x, size, step, padding))
        return self.emit(self._layer(name, "avg_pool"), "avg_pool", (x,), attrs)

    def mean(self, x: str, keep_dims: bool = False, name: str = "") -> str:
        """The mean over height and width."""
        return self.emit(self._layer(name, "mean"), "mean", (x,), MeanAttrs(keep_dims))

    def reshape(self, x: str, *shape: int, name: str = "") -> str:
        """Another shape; the batch stays."""
        return self.emit(self._layer(name, "reshape"), "reshape", (x,), ReshapeAttrs(shape))

    def flatten(self, x: str, name: str = "") -> str:
        """One row per image."""
        return self.reshape(x, -1, name=self._layer(name, "flatten"))

    def add(self, *xs: str, nonlinear: str = "none", name: str = "") -> str:
        """An elementwise sum and its nonlinearity."""
        layer = self._layer(name, "add")
        y = self.emit(layer, "add", xs, EltwiseAttrs())
        return self.activation(y, nonlinear, f"{layer}/{_TF_NAMES.get(nonlinear, nonlinear)}")

    def concat(self, *xs: str, name: str = "") -> str:
        """Channels side by side."""
        return self.emit(self._layer(name, "concat"), "concat", xs, ConcatAttrs(3))

    def softmax(self, x: str, name: str = "softmax") -> str:
        """Class probabilities; the CPU computes them."""
        return self.emit(name, "softmax", (x,))
