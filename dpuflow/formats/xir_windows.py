"""XIR's convolutions, dense layers and pools (xmodel specification, sections 3 and 4)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.checks import checked_padding, checked_position
from dpuflow.formats.xir import XOp
from dpuflow.formats.xir_importer import Converter, XirImporter
from dpuflow.formats.xir_layouts import OHWI_TO_HWIO, OUT_IN_TO_IN_OUT, REVERSED_OHWI_TO_HWOI, Order
from dpuflow.formats.xir_operands import nonlinear_of, padding_of, pair_of, reduced_axes, where_of
from dpuflow.ir.graph import Array, Node
from dpuflow.ops.base import Padding, same_padding
from dpuflow.ops.conv import ConvAttrs, DenseAttrs
from dpuflow.ops.movement import PadAttrs, ReshapeAttrs
from dpuflow.ops.pool import MeanAttrs, PoolAttrs
from dpuflow.ops.reduction import ReduceAttrs
from dpuflow.ops.transposed import TransposedAttrs


def _bias(importer: XirImporter, op: XOp) -> list[Node]:
    bias = importer.operand(op, "bias")
    return [bias] if bias else []


def weights_of(importer: XirImporter, op: XOp, arg: str, order: Order) -> Node:
    """Weights in this library's axis order; GraphError if they are no constant of that rank."""
    node = importer.required(op, arg)
    if len(node.shape) != len(order.axes) or not importer.is_constant(node):
        raise GraphError(f"the weights are not a {len(order.axes)}-D constant", where=where_of(op), got=node.shape)
    return importer.in_order(node, order)


def conv(kind: str) -> Converter:
    """A convolution of the given kind of node."""
    def convert(importer: XirImporter, op: XOp) -> None:
        x, weights = importer.required(op), weights_of(importer, op, "weights", OHWI_TO_HWIO)
        kernel, stride = (weights.shape[0], weights.shape[1]), pair_of(op, "stride")
        dilation = pair_of(op, "dilation", (1, 1))
        stated = pair_of(op, "kernel")
        if stated != kernel:
            raise GraphError("kernel and weights differ", where=where_of(op), expected=kernel, got=stated)
        groups = int(op.get("group", 1)) if kind == "conv2d" else 1
        attrs = ConvAttrs(stride, padding_of(op, x, kernel, stride, dilation), dilation, groups)
        _weighted(importer, op, kind, (x, weights, *_bias(importer, op)), attrs)
    return convert


_GATES = {"HSIGMOID": "hard_sigmoid", "HSWISH": "hard_swish"}


def _weighted(importer: XirImporter, op: XOp, kind: str, operands: tuple[Node, ...], attrs: Any) -> None:
    """With its nonlinearity; a hard gate works on the result rounded at ``hsigmoid_in``."""
    gate = _GATES.get(str(op.get("nonlinear", "")))
    if gate is None:
        importer.emit(op, kind, operands, dataclasses.replace(attrs, nonlinear=nonlinear_of(op)))
        return
    inside = checked_position(op.get("hsigmoid_in"), 8, where_of(op), zero=False)
    inner = importer.emit_inner(op, "/linear", kind, operands, attrs, inside)
    importer.emit(op, gate, (inner,))


def _transposed_padding(op: XOp, kernel: tuple[int, int], stride: tuple[int, int]) -> Padding:
    """The framework's padding (xmodel specification, section 3)."""
    if op.get("pad_mode") == "SAME":
        return same_padding((op.tensor.dims[1], op.tensor.dims[2]), kernel, stride)
    left, right, top, bottom = op.get("pad") or (0, 0, 0, 0)
    return checked_padding((top, bottom, left, right), where_of(op))


def _block_diagonal(data: Array) -> Array:
    """Reversed depthwise weights [multiplier, h, w, in] as (h, w, in * multiplier, in): zeros between channels."""
    turned = data[:, ::-1, ::-1].transpose(1, 2, 3, 0)
    h, w, channels, multiplier = turned.shape
    wide = np.zeros((h, w, channels, multiplier, channels), data.dtype)
    index = np.arange(channels)
    wide[:, :, index, :, index] = turned.transpose(2, 0, 1, 3)
    return wide.reshape(h, w, channels * multiplier, channels)


def transposed(depthwise: bool) -> Converter:
    """A transposed convolution: weights reversed in height and width, the padding that of the framework."""
    def convert(importer: XirImporter, op: XOp) -> None:
        x, source = importer.required(op), importer.required(op, "weights")
        if len(source.shape) != 4 or not importer.is_constant(source) or len(op.tensor.dims) != 4:
            raise GraphError("the weights are not a 4-D constant", where=where_of(op), got=source.shape)
        if pair_of(op, "dilation", (1, 1)) != (1, 1):
            raise UnsupportedOp("a dilated transposed convolution", where=where_of(op), got=op.get("dilation"))
        if depthwise:
            if source.shape[0] * source.shape[3] ** 2 > _MOST_WIDE:
                raise UnsupportedOp("a transposed depthwise convolution of that many channels", where=where_of(op),
                                    got=source.shape[3])
            weights = importer.derived(source, "/block_diagonal", _block_diagonal)
        else:
            weights = weights_of(importer, op, "weights", REVERSED_OHWI_TO_HWOI)
        kernel, stride = (weights.shape[0], weights.shape[1]), pair_of(op, "stride")
        stated = pair_of(op, "kernel")
        if stated != kernel:
            raise GraphError("kernel and weights differ", where=where_of(op), expected=kernel, got=stated)
        size = (op.tensor.dims[1], op.tensor.dims[2])
        attrs = TransposedAttrs(size, stride, _transposed_padding(op, kernel, stride))
        _weighted(importer, op, "transposed_conv2d", (x, weights, *_bias(importer, op)), attrs)
    return convert


_MOST_WIDE = 1 << 24  # values of widened depthwise weights, for each pixel of the kernel


def _two_dimensional(importer: XirImporter, op: XOp, x: Node) -> Node:
    if len(x.shape) == 2:
        return x
    count = 1
    for size in x.shape[1:]:
        count *= size
    return importer.emit_inner(op, "/flat", "reshape", (x,), ReshapeAttrs((count,)))


def matmul(importer: XirImporter, op: XOp) -> None:
    """A dense layer: weights (in, out), or (out, in) with transpose_b."""
    operands = op.args.get("input", ())
    if len(operands) != 2 or op.get("transpose_a", False):
        raise UnsupportedOp("a matmul of this form", where=where_of(op), got=f"{len(operands)} operands, transpose_a "
                            f"{op.get('transpose_a')}", expected="features and weights, features not transposed")
    x, weights = importer.inputs(op)
    if op.get("transpose_b", False):
        if len(weights.shape) != 2 or not importer.is_constant(weights):
            raise UnsupportedOp("a matmul of two computed tensors", where=where_of(op), expected="constant weights")
        weights = importer.in_order(weights, OUT_IN_TO_IN_OUT)
    importer.emit(op, "dense", (x, weights, *_bias(importer, op)), DenseAttrs())


def inner_product(importer: XirImporter, op: XOp) -> None:
    """A dense layer over everything behind the batch; weights (out, in)."""
    if op.get("axis", 1) != 1:
        raise UnsupportedOp("an inner product over another axis than 1", where=where_of(op), got=op.get("axis"))
    weights = weights_of(importer, op, "weights", OUT_IN_TO_IN_OUT)
    x = _two_dimensional(importer, op, importer.required(op))
    importer.emit(op, "dense", (x, weights, *_bias(importer, op)), DenseAttrs())


def pool_fix(importer: XirImporter, op: XOp) -> None:
    """The DPU's own pool."""
    x, kernel, stride = importer.required(op), pair_of(op, "kernel"), pair_of(op, "stride")
    kinds = {"MAX": "max_pool", "AVG": "avg_pool"}
    if op.get("type") not in kinds:
        raise UnsupportedOp("unsupported pool", where=where_of(op), got=op.get("type"), expected="MAX or AVG")
    importer.emit(op, kinds[op.get("type")], (x,), PoolAttrs(kernel, stride, padding_of(op, x, kernel, stride)))


def _window(op: XOp, x: Node) -> tuple[tuple[int, int], tuple[int, int], Padding]:
    if op.get("global", False):
        return (x.shape[1], x.shape[2]), (1, 1), Padding()
    kernel, stride = pair_of(op, "kernel"), pair_of(op, "stride")
    return kernel, stride, padding_of(op, x, kernel, stride)


def float_pool(kind: str) -> Converter:
    """A pool in float.

    In a file that is yet to be compiled an average stands for the DPU's, which divides by the whole
    kernel. In one that is compiled it runs as it is: with counted padding as a pad and a plain pool.
    """
    def convert(importer: XirImporter, op: XOp) -> None:
        x = importer.required(op)
        if len(x.shape) != 4:
            raise GraphError("a pool of a tensor that is no map", where=where_of(op), got=x.shape)
        kernel, stride, padding = _window(op, x)
        counted = kind == "avg_pool" and any(padding) and op.get("count_include_pad", True)
        if counted and not importer.simulated:
            top, bottom, left, right = padding
            pads = PadAttrs(((0, 0), (top, bottom), (left, right), (0, 0)))
            x, padding = importer.emit_inner(op, "/pad", "pad", (x,), pads), Padding()
        importer.emit(op, kind, (x,), PoolAttrs(kernel, stride, padding))
    return convert


def mean(importer: XirImporter, op: XOp) -> None:
    """The mean over height and width is the DPU's; over other axes it runs in float."""
    x, keep = importer.required(op), bool(op.get("keep_dims", False))
    axes = reduced_axes(op, x)
    if len(x.shape) == 4 and axes == (1, 2):
        importer.emit(op, "mean", (x,), MeanAttrs(keep))
    else:
        importer.emit(op, "reduce", (x,), ReduceAttrs(axes, keep, "mean"))
