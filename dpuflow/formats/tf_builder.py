"""Write frozen TensorFlow-1 style graphs layer by layer, without TensorFlow.

Names and attributes are those that ``tf.layers`` and ``convert_variables_to_constants`` leave:
``<layer>/kernel``, ``<layer>/kernel/read``, ``<layer>/Conv2D``, ``<layer>/BiasAdd``, ...
"""

from __future__ import annotations

import numpy as np

from dpuflow.formats.graphdef import TFGraph, TFNode, const_node, new_node
from dpuflow.formats.tf_values import FLOAT, INT32, TShape
from dpuflow.ir.graph import Array


class FrozenBuilder:
    """Collects nodes; every method adds one operator and returns its node name."""

    def __init__(self) -> None:
        self.nodes: list[TFNode] = []

    def add(self, node: TFNode) -> str:
        """Add a ready-made node."""
        self.nodes.append(node)
        return node.name

    def graph(self, source: str = "graph") -> TFGraph:
        """The graph so far."""
        return TFGraph(tuple(self.nodes), source)

    def placeholder(self, name: str, shape: tuple[int, ...]) -> str:
        """An input; ``shape`` is NHWC with -1 for the batch."""
        return self.add(new_node(name, "Placeholder", dtype=FLOAT, shape=TShape(shape)))

    def variable(self, name: str, data: Array) -> str:
        """A frozen variable: Const and the Identity that reads it."""
        self.add(const_node(name, np.asarray(data, np.float32)))
        location = f"loc:@{name}".encode()
        return self.add(new_node(f"{name}/read", "Identity", (name,), T=FLOAT, _class=[location]))

    def conv2d(self, layer: str, x: str, kernel: Array, stride: int = 1, padding: str = "SAME",
               name: str = "Conv2D") -> str:
        """A convolution with HWIO weights."""
        weights = self.variable(f"{layer}/kernel", kernel)
        return self.add(new_node(
            f"{layer}/{name}", "Conv2D", (x, weights), T=FLOAT, data_format=b"NHWC", dilations=[1, 1, 1, 1],
            padding=padding, strides=[1, stride, stride, 1], use_cudnn_on_gpu=True))

    def dense(self, layer: str, x: str, kernel: Array) -> str:
        """A matrix product with (in, out) weights."""
        weights = self.variable(f"{layer}/kernel", kernel)
        return self.add(new_node(f"{layer}/MatMul", "MatMul", (x, weights), T=FLOAT, transpose_a=False,
                                 transpose_b=False))

    def bias_add(self, layer: str, x: str, bias: Array) -> str:
        """One value per channel."""
        biases = self.variable(f"{layer}/bias", bias)
        return self.add(new_node(f"{layer}/BiasAdd", "BiasAdd", (x, biases), T=FLOAT, data_format=b"NHWC"))

    def batch_norm(self, layer: str, x: str, terms: tuple[Array, Array, Array, Array], epsilon: float) -> str:
        """Frozen batch normalisation; terms are gamma, beta, mean, variance."""
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        operands = [self.variable(f"{layer}/{name}", term) for name, term in zip(names, terms, strict=True)]
        return self.add(new_node(f"{layer}/FusedBatchNorm", "FusedBatchNorm", (x, *operands), T=FLOAT,
                                 data_format=b"NHWC", epsilon=float(epsilon), is_training=False))

    def unary(self, name: str, op: str, x: str) -> str:
        """Relu, Softmax and the like."""
        return self.add(new_node(name, op, (x,), T=FLOAT))

    def mean(self, name: str, x: str, keep_dims: bool = False) -> str:
        """The mean over height and width."""
        axes = self.add(const_node(f"{name}/reduction_indices", np.array([1, 2], np.int32)))
        return self.add(new_node(name, "Mean", (x, axes), T=FLOAT, Tidx=INT32, keep_dims=keep_dims))
