"""Write frozen TensorFlow-1 style graphs layer by layer, without TensorFlow.

Names and attributes are those that ``tf.layers`` and ``convert_variables_to_constants`` leave:
``<layer>/kernel``, ``<layer>/kernel/read``, ``<layer>/Conv2D``, ``<layer>/BiasAdd``, ...
"""

from __future__ import annotations

import numpy as np

from dpuflow.formats.graphdef import TFGraph, TFNode, const_node, new_node
from dpuflow.formats.tf_values import FLOAT, INT32, TShape
from dpuflow.ir.graph import Array

Lstm = tuple[Array, Array, Array]  # kernel (C, 4U), recurrent (U, 4U), bias (4U)


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

    def conv2d(self, layer: str, x: str, kernel: Array, stride: int | tuple[int, int] = 1, padding: str = "SAME",
               name: str = "Conv2D", dilation: tuple[int, int] = (1, 1)) -> str:
        """A convolution with HWIO weights; stride and dilation as (height, width), one number for both."""
        weights = self.variable(f"{layer}/kernel", kernel)
        rows, columns = (stride, stride) if isinstance(stride, int) else stride
        return self.add(new_node(
            f"{layer}/{name}", "Conv2D", (x, weights), T=FLOAT, data_format=b"NHWC", dilations=[1, *dilation, 1],
            padding=padding, strides=[1, rows, columns, 1], use_cudnn_on_gpu=True))

    def max_pool(self, name: str, x: str, size: int) -> str:
        """The maxima of squares that do not overlap; what is left at the border is dropped."""
        return self.add(new_node(name, "MaxPool", (x,), T=FLOAT, data_format=b"NHWC", padding="VALID",
                                 ksize=[1, size, size, 1], strides=[1, size, size, 1]))

    def reshape(self, name: str, x: str, shape: tuple[int, ...]) -> str:
        """Another shape, the batch as -1 first."""
        target = self.add(const_node(f"{name}/shape", np.array(shape, np.int32)))
        return self.add(new_node(name, "Reshape", (x, target), T=FLOAT, Tshape=INT32))

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

    # -- recurrent layers ---------------------------------------------------------------------------------

    def bidirectional_lstm(self, layer: str, x: str, forward: Lstm, backward: Lstm, steps: int) -> str:
        """Both directions of an LSTM over (N, T, C), joined to (N, T, 2U); weights with Keras's order of gates."""
        order = self.add(const_node(f"{layer}/order", np.array([1, 0, 2], np.int32)))
        axis = self.add(const_node(f"{layer}/time_axis", np.array([0], np.int32)))
        last = self.add(const_node(f"{layer}/last_axis", np.array(2, np.int32)))
        length = self.add(const_node(f"{layer}/steps_count", np.array(steps, np.int64)))
        first = self._transpose(f"{layer}/time_first", x, order)
        batch = self._batch_size(layer, first)
        ahead = self._block_lstm(f"{layer}/forward", first, length, batch, forward)
        turned = self._reverse(f"{layer}/turned", first, axis)
        back = self._block_lstm(f"{layer}/backward", turned, length, batch, backward)
        back = self._reverse(f"{layer}/turned_back", back, axis)
        parts = [self._transpose(f"{layer}/{name}_steps", part, order)
                 for name, part in (("forward", ahead), ("backward", back))]
        return self.add(new_node(f"{layer}/concat", "ConcatV2", (*parts, last), T=FLOAT, Tidx=INT32, N=2))

    def _transpose(self, name: str, x: str, order: str) -> str:
        return self.add(new_node(name, "Transpose", (x, order), T=FLOAT, Tperm=INT32))

    def _reverse(self, name: str, x: str, axis: str) -> str:
        return self.add(new_node(name, "ReverseV2", (x, axis), T=FLOAT, Tidx=INT32))

    def _batch_size(self, layer: str, time_first: str) -> str:
        shape = self.add(new_node(f"{layer}/Shape", "Shape", (time_first,), T=FLOAT, out_type=INT32))
        ends = [self.add(const_node(f"{layer}/{name}", np.array([value], np.int32)))
                for name, value in (("begin", 1), ("end", 2), ("stride", 1))]
        return self.add(new_node(f"{layer}/batch", "StridedSlice", (shape, *ends), T=INT32, Index=INT32, begin_mask=0,
                                 end_mask=0, ellipsis_mask=0, new_axis_mask=0, shrink_axis_mask=1))

    def _block_lstm(self, name: str, x: str, length: str, batch: str, weights: Lstm) -> str:
        """One direction; BlockLSTM's gates stand in the order input, cell, forget, output, its weights in one."""
        kernel, recurrent, bias = (np.asarray(part, np.float32) for part in weights)
        units = recurrent.shape[0]
        gates = np.arange(4 * units).reshape(4, units)[[0, 2, 1, 3]].reshape(-1)
        matrix = self.variable(f"{name}/weights", np.concatenate([kernel, recurrent])[:, gates])
        biases = self.variable(f"{name}/biases", bias[gates])
        no_peephole = self.add(const_node(f"{name}/no_peephole", np.zeros(units, np.float32)))
        zero = self.add(const_node(f"{name}/zero", np.array(0, np.float32)))
        size = self.add(const_node(f"{name}/units", np.array(units, np.int32)))
        shape = self.add(new_node(f"{name}/state_shape", "Pack", (batch, size), T=INT32, N=2, axis=0))
        state = self.add(new_node(f"{name}/state", "Fill", (shape, zero), T=FLOAT, index_type=INT32))
        node = self.add(new_node(
            name, "BlockLSTM", (length, x, state, state, matrix, no_peephole, no_peephole, no_peephole, biases),
            T=FLOAT, forget_bias=0.0, cell_clip=-1.0, use_peephole=False))
        return f"{node}:6"
