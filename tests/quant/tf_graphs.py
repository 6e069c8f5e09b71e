"""Networks built and frozen by TensorFlow's own graph mode, one or more for every quantized pattern."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dpuflow.formats.graphdef import TFGraph, parse_graphdef


class Layers:
    """TensorFlow layers with constant weights; every variable is a Const and its ``read`` Identity."""

    def __init__(self, tf: Any, seed: int) -> None:
        self.tf, self.v1, self.rng = tf, tf.compat.v1, np.random.default_rng(seed)

    def variable(self, name: str, *shape: int, low: float | None = None) -> Any:
        values = self.rng.normal(0, 0.5, shape) if low is None else self.rng.uniform(low, 1.5, shape)
        return self.tf.identity(self.tf.constant(values.astype(np.float32), name=name), name=f"{name}/read")

    def conv(self, x: Any, name: str, outputs: int, bias: str | None = "BiasAdd", **options: Any) -> Any:
        weights = self.variable(f"{name}/weights", 3, 3, int(x.shape[3]), outputs)
        y = self.tf.nn.conv2d(x, weights, options.pop("strides", 1), options.pop("padding", "SAME"),
                              name=f"{name}/Conv2D", **options)
        return self.bias(y, name, outputs, bias)

    def bias(self, y: Any, name: str, outputs: int, kind: str | None = "BiasAdd") -> Any:
        if kind is None:
            return y
        biases = self.variable(f"{name}/biases", outputs)
        if kind == "BiasAdd":
            return self.tf.nn.bias_add(y, biases, name=f"{name}/BiasAdd")
        return self.tf.raw_ops.Add(x=y, y=biases, name=f"{name}/add") if kind == "Add" else self.tf.add(
            y, biases, name=f"{name}/add")

    def depthwise(self, x: Any, name: str) -> Any:
        weights = self.variable(f"{name}/depthwise_weights", 3, 3, int(x.shape[3]), 1)
        y = self.tf.nn.depthwise_conv2d(x, weights, [1, 1, 1, 1], "SAME", name=f"{name}/depthwise")
        return self.bias(y, name, int(x.shape[3]))

    def dense(self, x: Any, name: str, outputs: int) -> Any:
        size = int(np.prod(x.shape[1:]))
        y = self.tf.matmul(self.tf.reshape(x, [-1, size], name=f"{name}/flat"),
                           self.variable(f"{name}/weights", size, outputs), name=f"{name}/MatMul")
        return self.bias(y, name, outputs)

    def norm(self, x: Any, name: str, **options: Any) -> Any:
        size = int(x.shape[-1])
        gamma, beta, mean = (self.variable(f"{name}/{term}", size) for term in ("gamma", "beta", "mean"))
        variance = self.variable(f"{name}/variance", size, low=0.3)
        if options.pop("fused", True):
            return self.v1.nn.fused_batch_norm(x, gamma, beta, mean, variance, is_training=False, epsilon=1e-3,
                                               name=name)[0]
        return self.tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-3, name=name)

    def transposed(self, x: Any, name: str, shape: Any) -> Any:
        weights = self.variable(f"{name}/weights", 3, 3, 4, int(x.shape[3]))
        y = self.tf.nn.conv2d_transpose(x, weights, shape, [1, 2, 2, 1], name=f"{name}/conv2d_transpose")
        return self.bias(y, name, 4)


def _plain(n: Layers, x: Any) -> Any:
    y = n.tf.nn.relu(n.conv(x, "a", 4), name="a/Relu")
    y = n.tf.nn.relu6(n.conv(y, "b", 4, bias="Add"), name="b/Relu6")
    y = n.tf.nn.relu(n.conv(y, "c", 3, bias=None), name="c/Relu")
    return n.dense(n.conv(y, "d", 2, bias=None), "fc", 3)


def _depthwise(n: Layers, x: Any) -> Any:
    y = n.tf.nn.relu6(n.depthwise(x, "dw"), name="dw/Relu6")
    return n.conv(n.depthwise(y, "dw2"), "pw", 4, bias="AddV2")


def _norms(n: Layers, x: Any) -> Any:
    y = n.tf.nn.relu(n.norm(n.conv(x, "a", 4), "a/bn"), name="a/Relu")
    y = n.tf.nn.relu(n.norm(n.conv(y, "b", 4, bias=None), "b/bn"), name="b/Relu")
    y = n.tf.nn.relu(n.norm(n.conv(y, "c", 4, bias=None), "c/bn", fused=False), name="c/Relu")
    y = n.tf.nn.relu(n.norm(n.depthwise(y, "dw"), "dw/bn"), name="dw/Relu")
    scales = [n.tf.constant(np.array([0.5, 2, 1, 0.25], np.float32), name=f"{name}/scale") for name in "de"]
    y = n.tf.multiply(n.conv(y, "d", 4), scales[0], name="d/Mul")
    return n.tf.nn.relu(n.tf.multiply(scales[1], n.conv(y, "e", 4), name="e/Mul"), name="e/Relu")


def _lone_norm(n: Layers, x: Any) -> Any:
    y = n.tf.nn.relu(n.norm(x, "first"), name="first/Relu")
    return n.norm(n.v1.nn.max_pool2d(n.conv(y, "a", 4), 2, 2, "VALID", name="pool"), "last")


def _leaky(n: Layers, x: Any) -> Any:
    y = n.conv(x, "a", 4)
    y = n.tf.maximum(n.tf.multiply(n.tf.constant(0.1, name="a/alpha"), y, name="a/mul"), y, name="a/Maximum")
    y = n.tf.nn.leaky_relu(n.conv(y, "b", 4, bias=None), 0.1, name="b/LeakyRelu")
    y = n.conv(y, "c", 4)
    negative = n.tf.nn.relu(n.tf.negative(y, name="c/Neg"), name="c/Relu_1")
    scaled = n.tf.multiply(n.tf.constant(0.1, name="c/Const"), negative, name="c/mul")
    y = n.tf.subtract(n.tf.nn.relu(y, name="c/Relu"), scaled, name="c/sub")
    y = n.v1.nn.max_pool2d(y, 2, 2, "VALID", name="pool")
    return n.tf.nn.leaky_relu(y, 0.1, name="lone")


def _residual(n: Layers, x: Any) -> Any:
    first = n.tf.nn.relu(n.conv(x, "a", 4), name="a/Relu")
    short = n.v1.nn.max_pool2d(first, 1, 2, "SAME", name="short")
    padded = n.tf.pad(first, [[0, 0], [1, 1], [1, 1], [0, 0]], name="pad")
    y = n.tf.nn.relu(n.tf.add(short, n.conv(padded, "b", 4, strides=2, padding="VALID"), name="sum"), name="sum/Relu")
    y = n.tf.add_n([y, n.conv(y, "c", 4), n.conv(y, "d", 4)], name="many")
    y = n.tf.concat([y, n.conv(y, "e", 2), n.v1.nn.avg_pool2d(y, 3, 1, "SAME", name="avg")], 3, name="cat")
    y = n.v1.reduce_mean(n.conv(y, "f", 4), [1, 2], keep_dims=True, name="mean")
    return n.tf.nn.softmax(n.dense(n.tf.squeeze(y, [1, 2], name="squeeze"), "fc", 3), name="probabilities")


def _dilated(n: Layers, x: Any) -> Any:
    """As TensorFlow 1 writes a dilated convolution: between SpaceToBatchND and BatchToSpaceND."""
    def block(y: Any, name: str, bias: bool) -> Any:
        y = n.tf.raw_ops.SpaceToBatchND(input=y, block_shape=[2, 2], paddings=[[2, 2], [2, 2]], name=f"{name}/s2b")
        y = n.conv(y, name, 4, bias=None, padding="VALID")
        y = n.tf.raw_ops.BatchToSpaceND(input=y, block_shape=[2, 2], crops=[[0, 0], [0, 0]], name=f"{name}/b2s")
        return n.bias(y, name, 4) if bias else y

    y = n.tf.nn.relu(block(x, "a", True), name="a/Relu")
    return block(n.tf.nn.relu(block(block(y, "b", True), "c", False), name="c/Relu"), "d", False)


def _transposed(n: Layers, x: Any) -> Any:
    y = n.tf.nn.relu(n.transposed(n.conv(x, "a", 4), "plain", [4, 16, 16, 4]), name="plain/Relu")
    shape = n.tf.shape(y, name="slim/Shape")
    parts = [shape[0], shape[1] * 2, shape[2] * 2, n.tf.constant(4)]
    return n.transposed(y, "slim", n.tf.stack(parts, name="slim/stack"))


def _resized(n: Layers, x: Any) -> Any:
    y = n.v1.image.resize_nearest_neighbor(n.conv(x, "a", 4), [16, 12], name="near")
    y = n.conv(y, "b", 4)
    y = n.v1.image.resize_bilinear(y, n.tf.shape(y, name="shape")[1:3] * [2, 2], name="twice")
    y = n.v1.image.resize_bilinear(y, [8, 8], align_corners=True, name="fixed")
    return n.tf.expand_dims(n.v1.reduce_mean(y, [1, 2], name="mean"), 1, name="expanded")


def _dense_block(n: Layers, x: Any) -> Any:
    """As DenseNet: normalisations before convolutions, behind concatenations and pools, where nothing folds."""
    y = n.tf.nn.relu(n.norm(n.conv(x, "stem", 4, bias=None), "stem/bn"), name="stem/Relu")
    for block in ("a", "b"):
        z = n.tf.nn.relu(n.norm(y, f"{block}/bn1"), name=f"{block}/Relu1")
        z = n.tf.nn.relu(n.norm(n.conv(z, f"{block}/1", 5, bias=None), f"{block}/bn2"), name=f"{block}/Relu2")
        y = n.tf.concat([y, n.conv(z, f"{block}/2", 3, bias=None)], 3, name=f"{block}/cat")
    z = n.conv(n.tf.nn.relu(n.norm(y, "t/bn", fused=False), name="t/Relu"), "t", 4, bias=None)
    z = n.tf.nn.relu(n.norm(n.v1.nn.avg_pool2d(z, 2, 2, "VALID", name="t/pool"), "last"), name="last/Relu")
    return n.dense(n.v1.reduce_mean(z, [1, 2], name="mean"), "fc", 3)


def _shared(n: Layers, x: Any) -> Any:
    weights = n.variable("shared/weights", 3, 3, 2, 2)
    y = n.tf.nn.relu(n.tf.nn.conv2d(x, weights, 1, "SAME", name="a/Conv2D"), name="a/Relu")
    y = n.tf.nn.conv2d(n.tf.identity(y, name="dropout"), weights, 1, "SAME", name="b/Conv2D")
    y = n.tf.nn.relu(y, name="b/Relu")
    return n.tf.nn.conv2d(y, weights, 1, "SAME", name="c/Conv2D")


NETWORKS: dict[str, Callable[[Layers, Any], Any]] = {
    "plain": _plain, "depthwise": _depthwise, "norms": _norms, "lone_norm": _lone_norm, "leaky": _leaky,
    "residual": _residual, "dilated": _dilated, "transposed": _transposed, "resized": _resized, "shared": _shared,
    "dense_block": _dense_block,
}
BATCH = 4


def frozen(tf: Any, name: str) -> tuple[TFGraph, str]:
    """One network as a frozen graph, and its output node."""
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (None, 8, 8, 2), name="x")
        output = NETWORKS[name](Layers(tf, 5), x).op.name
    return parse_graphdef(graph.as_graph_def().SerializeToString(), name), output
