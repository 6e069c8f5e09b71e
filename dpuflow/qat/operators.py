"""The operators that can be trained, on ``keras.ops``; channels last, any backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras import ops

from dpuflow.errors import UnsupportedOp
from dpuflow.ir.graph import Node
from dpuflow.ops.activation import LEAKY_FACTOR

Kernel = Callable[[Sequence[Any], Any], Any]


def _padded(x: Any, attrs: Any, fill: float = 0.0) -> Any:
    top, bottom, left, right = attrs.padding
    if not any(attrs.padding):
        return x
    return ops.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)


def _conv(operands: Sequence[Any], attrs: Any) -> Any:
    return _biased(ops.conv(_padded(operands[0], attrs), operands[1], attrs.stride, "valid", "channels_last",
                            attrs.dilation), operands)


def _depthwise(operands: Sequence[Any], attrs: Any) -> Any:
    return _biased(ops.depthwise_conv(_padded(operands[0], attrs), operands[1], attrs.stride, "valid",
                                      "channels_last", attrs.dilation), operands)


def _dense(operands: Sequence[Any], attrs: Any) -> Any:
    return _biased(ops.matmul(operands[0], operands[1]), operands)


def _biased(out: Any, operands: Sequence[Any]) -> Any:
    return out if len(operands) < 3 else out + ops.reshape(operands[2], (-1,))


def _max_pool(operands: Sequence[Any], attrs: Any) -> Any:
    return ops.max_pool(_padded(operands[0], attrs, -3.0e38), attrs.kernel, attrs.stride, "valid", "channels_last")


def _average_pool(operands: Sequence[Any], attrs: Any) -> Any:
    if any(attrs.padding):
        raise UnsupportedOp("an average pool with padding cannot be trained: the DPU divides by the full kernel",
                            remedy="pad the map before the pool, or use VALID padding")
    return ops.average_pool(operands[0], attrs.kernel, attrs.stride, "valid", "channels_last")


def _mean(operands: Sequence[Any], attrs: Any) -> Any:
    x = operands[0]
    return ops.sum(x, axis=(1, 2), keepdims=attrs.keep_dims) / float(x.shape[1] * x.shape[2])


def _leaky(operands: Sequence[Any], attrs: Any) -> Any:
    return ops.where(operands[0] < 0, operands[0] * getattr(attrs, "alpha", LEAKY_FACTOR / 256), operands[0])


def _reshape(operands: Sequence[Any], attrs: Any) -> Any:
    return ops.reshape(operands[0], (-1, *attrs.shape) if -1 not in attrs.shape else (
        ops.shape(operands[0])[0], *attrs.shape))


def _add(operands: Sequence[Any], attrs: Any) -> Any:
    total = operands[0]
    for other in operands[1:]:
        total = total + other
    return total


def _multiply(operands: Sequence[Any], attrs: Any) -> Any:
    product = operands[0]
    for other in operands[1:]:
        product = product * other
    return product


def _pad(operands: Sequence[Any], attrs: Any) -> Any:
    return ops.pad(operands[0], attrs.pads, attrs.mode, attrs.value if attrs.mode == "constant" else None)


KERNELS: Mapping[str, Kernel] = {
    "conv2d": _conv, "depthwise_conv2d": _depthwise, "dense": _dense, "bias_add": _add, "add": _add, "mul": _multiply,
    "sub": lambda operands, attrs: operands[0] - operands[1], "neg": lambda operands, attrs: -operands[0],
    "maximum": lambda operands, attrs: ops.maximum(operands[0], operands[1]),
    "relu": lambda operands, attrs: ops.relu(operands[0]),
    "relu6": lambda operands, attrs: ops.relu6(operands[0]), "leaky_relu": _leaky,
    "max_pool": _max_pool, "avg_pool": _average_pool, "mean": _mean, "reshape": _reshape,
    "concat": lambda operands, attrs: ops.concatenate(list(operands), axis=attrs.axis), "pad": _pad,
    "identity": lambda operands, attrs: operands[0], "softmax": lambda operands, attrs: ops.softmax(operands[0]),
}


def kernel_of(node: Node) -> Kernel:
    """How to compute a node; UnsupportedOp naming it if it cannot be trained."""
    if node.op not in KERNELS:
        raise UnsupportedOp(f"{node.op} cannot be trained", where=f"node '{node.name}'", expected=", ".join(KERNELS),
                            remedy="quantize the network after training: dpuflow quantize --recipe auto")
    if getattr(node.attrs, "nonlinear", "none") != "none":
        raise UnsupportedOp("a fused nonlinearity cannot be trained", where=f"node '{node.name}'")
    return KERNELS[node.op]
