"""TensorFlow's operators in this library's terms: one converter each, in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.checks import checked_axis, checked_padding, checked_pairs, checked_position
from dpuflow.formats.graphdef import TFNode
from dpuflow.formats.tf_context import Importer
from dpuflow.formats.tf_maps import (
    batch_to_space,
    dilated,
    dilation_of,
    expand_dims,
    resize,
    space_to_batch,
    transposed_conv,
)
from dpuflow.formats.tf_moves import depth_and_space, reduce_over, reduction, slice_, strided_slice, transpose
from dpuflow.formats.tf_recurrent import OUTPUT, block_lstm, reverse
from dpuflow.formats.tf_values import TShape
from dpuflow.ir.graph import Array, Node, Shape, const
from dpuflow.ops.activation import LeakyAttrs
from dpuflow.ops.base import Padding, same_padding
from dpuflow.ops.conv import ConvAttrs, DenseAttrs
from dpuflow.ops.elementwise import EltwiseAttrs, FixAttrs
from dpuflow.ops.movement import ConcatAttrs, PadAttrs, ReshapeAttrs
from dpuflow.ops.normalization import BatchNormAttrs
from dpuflow.ops.pool import MeanAttrs, PoolAttrs


def _pair(node: TFNode, key: str, default: tuple[int, ...] = (1, 1, 1, 1)) -> tuple[int, int]:
    """Height and width of a 4-entry NHWC list."""
    values = node.get(key, default)
    if len(values) != 4 or values[0] != 1 or values[3] != 1 or min(values) < 1:
        raise GraphError(f"unsupported {key}", where=f"node '{node.name}' ({node.op})", got=values,
                         expected="[1, height, width, 1]")
    return int(values[1]), int(values[2])


def _require_nhwc(node: TFNode) -> None:
    layout = node.get("data_format", b"NHWC")
    if layout != b"NHWC":
        raise UnsupportedOp("unsupported data_format", where=f"node '{node.name}' ({node.op})",
                            got=layout.decode(), expected="NHWC", remedy="freeze the model in NHWC")


def _padding(node: TFNode, size: Shape, kernel: tuple[int, int], stride: tuple[int, int],
             dilation: tuple[int, int] = (1, 1)) -> Padding:
    kind, where = node.get("padding", b"VALID"), f"node '{node.name}' ({node.op})"
    if kind == b"SAME":
        return checked_padding(same_padding((size[1], size[2]), kernel, stride, dilation), where)
    if kind == b"VALID":
        return Padding()
    if kind == b"EXPLICIT":
        pads = node.get("explicit_paddings", ())
        if len(pads) == 8:
            return checked_padding(pads[2:6], where)
    raise UnsupportedOp("unsupported padding", where=where, got=kind, expected="SAME or VALID")


def conv_attrs(node: TFNode, x: Shape, kernel: Shape) -> ConvAttrs:
    """Stride, dilation and resolved padding of a TensorFlow convolution."""
    _require_nhwc(node)
    if len(x) != 4 or len(kernel) != 4:
        raise GraphError("a convolution takes a 4-D map and 4-D weights",
                         where=f"node '{node.name}' ({node.op})", got=f"{x} and {kernel}")
    stride, dilation = _pair(node, "strides"), _pair(node, "dilations")
    groups = x[3] // kernel[2] if node.op == "Conv2D" and kernel[2] else 1
    padding = _padding(node, x, (kernel[0], kernel[1]), stride, dilation)
    return ConvAttrs(stride, padding, dilation, max(groups, 1))


def pool_attrs(node: TFNode, x: Shape) -> PoolAttrs:
    """Kernel, stride and resolved padding of a TensorFlow pool."""
    _require_nhwc(node)
    if len(x) != 4:
        raise GraphError("a pool takes a 4-D map", where=f"node '{node.name}' ({node.op})", got=x)
    kernel, stride = _pair(node, "ksize"), _pair(node, "strides")
    return PoolAttrs(kernel, stride, _padding(node, x, kernel, stride))


def mean_attrs(node: TFNode, axes: Array, rank: int) -> MeanAttrs:
    """A mean over height and width; others are not supported."""
    if sorted(int(axis) % rank for axis in axes.reshape(-1)) != [1, 2] or rank != 4:
        raise UnsupportedOp("a mean over other axes than height and width",
                            where=f"node '{node.name}' ({node.op})", got=axes.tolist(), expected=[1, 2])
    return MeanAttrs(bool(node.get("keep_dims", False)))


def reshape_attrs(node: TFNode, target: Array, x: Shape) -> ReshapeAttrs:
    """The shape of one image; the first entry must be the batch."""
    shape = tuple(int(size) for size in target.reshape(-1))
    if not shape or (shape[0] not in (-1, x[0]) and shape[0] != 1):
        raise UnsupportedOp("a reshape that does not keep the batch", where=f"node '{node.name}'",
                            got=shape, expected="[-1, ...]")
    rest = shape[1:]
    if any(size < -1 for size in rest):
        raise GraphError("a reshape with a negative size", where=f"node '{node.name}'", got=shape)
    if -1 in rest and shape[0] == -1:
        raise GraphError("a reshape with two unknown sizes", where=f"node '{node.name}'", got=shape)
    return ReshapeAttrs(rest)


def _placeholder(importer: Importer, node: TFNode) -> None:
    shape = importer.input_shapes.get(node.name)
    if shape is None:
        recorded = node.get("shape", TShape(None))
        shape = recorded.dims
    if not shape:
        raise GraphError("the input has no shape", where=f"node '{node.name}' (Placeholder)",
                         remedy="give it, as in --input_shapes ?,32,32,1")
    shape = (1, *shape[1:])
    if any(size < 1 for size in shape):
        raise GraphError("the input has unknown sizes beside the batch", where=f"node '{node.name}'",
                         got=shape, remedy="give them, as in --input_shapes ?,32,32,1")
    importer.nodes[node.name] = Node(node.name, "input", shape=shape)


def _const(importer: Importer, node: TFNode) -> None:
    importer.nodes[node.name] = const(node.name, node.tensor())


def _identity(importer: Importer, node: TFNode) -> None:
    importer.alias[node.name] = importer.made(node.operands[0]).name


def _conv(op: str) -> Converter:
    def convert(importer: Importer, node: TFNode) -> None:
        x, weights = importer.operands(node)
        attrs = dilated(conv_attrs(node, x.shape, weights.shape), dilation_of(importer, node))
        importer.emit(node, op, (x, weights), attrs)
    return convert


def _dense(importer: Importer, node: TFNode) -> None:
    if node.get("transpose_a", False) or node.get("transpose_b", False):
        raise UnsupportedOp("a transposed MatMul", where=f"node '{node.name}'", remedy="store the weights as (in, out)")
    importer.emit(node, "dense", importer.operands(node), DenseAttrs())


def _bias_add(importer: Importer, node: TFNode) -> None:
    _require_nhwc(node)
    importer.emit(node, "bias_add", importer.operands(node))


def is_bias(data: Node, bias: Node) -> bool:
    """Whether adding ``bias`` is adding one value per channel."""
    sizes = [size for size in bias.shape if size != 1]
    return len(sizes) <= 1 and (not sizes or bias.shape[-1] == data.shape[-1])


def _constant_at_root(importer: Importer, node: Node) -> bool:
    while node.op == "fix":
        node = importer.nodes[node.inputs[0]]
    return node.op == "const"


def _add(importer: Importer, node: TFNode) -> None:
    operands = importer.operands(node)
    if len(operands) == 2 and _constant_at_root(importer, operands[1]) and is_bias(*operands):
        importer.emit(node, "bias_add", operands)
    else:
        importer.emit(node, "add", operands, EltwiseAttrs())


def _simple(op: str, attrs: Callable[[TFNode], Any] = lambda node: None) -> Converter:
    def convert(importer: Importer, node: TFNode) -> None:
        importer.emit(node, op, importer.operands(node), attrs(node))
    return convert


def _pool(op: str) -> Converter:
    def convert(importer: Importer, node: TFNode) -> None:
        (x,) = importer.operands(node)
        importer.emit(node, op, (x,), pool_attrs(node, x.shape))
    return convert


def _mean(importer: Importer, node: TFNode) -> None:
    x, axes = importer.made(node.operands[0]), importer.constant(node, 1, "list of axes")
    if len(x.shape) == 4 and sorted(int(axis) % 4 for axis in axes.reshape(-1)) == [1, 2]:
        importer.emit(node, "mean", (x,), mean_attrs(node, axes, len(x.shape)))
    else:
        reduce_over(importer, node, x, axes, "mean")


def _reshape(importer: Importer, node: TFNode) -> None:
    x = importer.made(node.operands[0])
    attrs = reshape_attrs(node, importer.constant(node, 1, "new shape"), x.shape)
    importer.emit(node, "reshape", (x,), attrs)


def _squeeze(importer: Importer, node: TFNode) -> None:
    (x,) = importer.operands(node)
    rank = len(x.shape)
    axes = {int(axis) % rank for axis in node.get("squeeze_dims", ())}
    axes = axes or {axis for axis in range(1, rank) if x.shape[axis] == 1}
    if 0 in axes or any(x.shape[axis] != 1 for axis in axes):
        raise GraphError("cannot squeeze these axes", where=f"node '{node.name}'", got=sorted(axes))
    kept = tuple(size for axis, size in enumerate(x.shape) if axis not in axes)
    importer.emit(node, "reshape", (x,), ReshapeAttrs(kept[1:]))


def _concat(importer: Importer, node: TFNode) -> None:
    names = node.operands
    at = 0 if node.op == "Concat" else len(names) - 1
    axis = int(importer.constant(node, at, "axis"))
    operands = [importer.made(name) for index, name in enumerate(names) if index != at]
    where = f"node '{node.name}' ({node.op})"
    importer.emit(node, "concat", operands, ConcatAttrs(checked_axis(axis, len(operands[0].shape), where)))


def _pad(importer: Importer, node: TFNode) -> None:
    x = importer.made(node.operands[0])
    pads = importer.constant(node, 1, "list of pads")
    importer.emit(node, "pad", (x,), PadAttrs(checked_pairs(pads.reshape(-1, 2), f"node '{node.name}' ({node.op})")))


def _batch_norm(importer: Importer, node: TFNode) -> None:
    _require_nhwc(node)
    if node.get("is_training", True):
        raise UnsupportedOp("batch normalisation in training form", where=f"node '{node.name}' ({node.op})",
                            remedy="freeze the model for inference (is_training false)")
    importer.emit(node, "batch_norm", importer.operands(node), BatchNormAttrs(float(node.get("epsilon", 1e-4))))


def _old_batch_norm(importer: Importer, node: TFNode) -> None:
    """BatchNormWithGlobalNormalization: mean, variance, beta, gamma, in that order."""
    x, mean, variance, beta, gamma = importer.operands(node)
    if not node.get("scale_after_normalization", True):
        raise UnsupportedOp("batch normalisation without scale", where=f"node '{node.name}' ({node.op})",
                            remedy="freeze the model with FusedBatchNorm")
    epsilon = float(node.get("variance_epsilon", 1e-4))
    importer.emit(node, "batch_norm", (x, gamma, beta, mean, variance), BatchNormAttrs(epsilon))


def _argmax(importer: Importer, node: TFNode) -> None:
    x = importer.made(node.operands[0])
    where = f"node '{node.name}' ({node.op})"
    axis = checked_axis(int(importer.constant(node, 1, "axis").reshape(-1)[0]), len(x.shape), where)
    if axis != len(x.shape) - 1:
        raise UnsupportedOp("the largest entry along another axis than the last", where=where, got=axis)
    importer.emit(node, "argmax", (x,))


def _fix(importer: Importer, node: TFNode) -> None:
    rounding = "half_up" if node.get("mode", 1) == 1 else "half_away"
    fix = checked_position(node.get("quantize_pos", 0), node.get("bit_width", 8), f"node '{node.name}' ({node.op})")
    importer.emit(node, "fix", importer.operands(node), FixAttrs(fix.pos, fix.bits, rounding))


Converter = Callable[[Importer, TFNode], None]

CONVERTERS: Mapping[str, Converter] = {
    "Placeholder": _placeholder,
    "Const": _const,
    "Identity": _identity,
    "StopGradient": _identity,
    "CheckNumerics": _identity,
    "Conv2D": _conv("conv2d"),
    "DepthwiseConv2dNative": _conv("depthwise_conv2d"),
    "MatMul": _dense,
    "BiasAdd": _bias_add,
    "Add": _add,
    "AddV2": _add,
    "AddN": _simple("add", lambda node: EltwiseAttrs()),
    "Mul": _simple("mul", lambda node: EltwiseAttrs()),
    "Maximum": _simple("maximum"),
    "Relu": _simple("relu"),
    "Relu6": _simple("relu6"),
    "LeakyRelu": _simple("leaky_relu", lambda node: LeakyAttrs(float(node.get("alpha", 0.2)))),
    "Softmax": _simple("softmax"),
    "MaxPool": _pool("max_pool"),
    "AvgPool": _pool("avg_pool"),
    "Mean": _mean,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "ConcatV2": _concat,
    "Concat": _concat,
    "Pad": _pad,
    "FusedBatchNorm": _batch_norm,
    "FusedBatchNormV2": _batch_norm,
    "FusedBatchNormV3": _batch_norm,
    "BatchNormWithGlobalNormalization": _old_batch_norm,
    "Conv2DBackpropInput": transposed_conv,
    "SpaceToBatchND": space_to_batch,
    "BatchToSpaceND": batch_to_space,
    "ResizeBilinear": resize("resize_bilinear"),
    "ResizeNearestNeighbor": resize("resize_nearest"),
    "ExpandDims": expand_dims,
    "ArgMax": _argmax,
    "Sub": _simple("sub"),
    "Neg": _simple("neg"),
    "Transpose": transpose,
    "StridedSlice": strided_slice,
    "Slice": slice_,
    "DepthToSpace": depth_and_space,
    "SpaceToDepth": depth_and_space,
    "Sum": reduction("sum"),
    "Max": reduction("max"),
    "Prod": reduction("product"),
    "Minimum": _simple("minimum"),
    "RealDiv": _simple("div"),
    "Sigmoid": _simple("sigmoid"),
    "Tanh": _simple("tanh"),
    "ReverseV2": reverse,
    "BlockLSTM": block_lstm,
    "FixNeuron": _fix,
}
# Computed at import time, from static shapes.
STATIC_ONLY = frozenset({"Shape", "Pack", "Cast", "NoOp", "Fill"})
# Operators of several outputs: the one output that may be read.
MAIN_OUTPUT: Mapping[str, str] = {"BlockLSTM": OUTPUT}
