"""ONNX operators with a sliding window: convolutions and pools, padding as TensorFlow says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.checks import MAX_PAD
from dpuflow.formats.onnx_graph import OnnxNode
from dpuflow.formats.onnx_values import NHWC, Conversion, Value, pair
from dpuflow.formats.tf_values import INT32
from dpuflow.ir.graph import Array
from dpuflow.ops.base import Padding, same_padding


@dataclass(frozen=True)
class Window:
    """Kernel, stride, dilation, resolved pads and output size of a sliding window."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: Padding
    out: tuple[int, int]


def _given_pads(node: OnnxNode) -> Padding:
    pads = tuple(node.attrs.get("pads", (0, 0, 0, 0)))
    if len(pads) != 4 or not all(0 <= pad <= MAX_PAD for pad in pads):
        raise GraphError("impossible pads", where=node.where, got=pads, expected="top, left, bottom, right")
    return Padding(pads[0], pads[2], pads[1], pads[3])


def find_window(node: OnnxNode, size: tuple[int, int], kernel: tuple[int, int]) -> Window:
    """The window of a convolution or pool over a map of ``size``; ceil_mode becomes padding."""
    stride, dilation = pair(node, "strides"), pair(node, "dilations")
    auto = node.attrs.get("auto_pad", b"NOTSET")
    if auto in (b"SAME_UPPER", b"SAME_LOWER"):
        pads = same_padding(size, kernel, stride, dilation)
        if auto == b"SAME_LOWER":
            pads = Padding(pads.bottom, pads.top, pads.right, pads.left)
    else:
        pads = Padding() if auto == b"VALID" else _given_pads(node)
    out, extra = [], []
    for length, k, s, d, before, after in zip(size, kernel, stride, dilation, (pads.top, pads.left),
                                              (pads.bottom, pads.right), strict=True):
        span, padded = (k - 1) * d + 1, length + before + after
        if padded < span:
            raise GraphError("the kernel is larger than the padded map", where=node.where, got=padded, expected=span)
        count = (padded - span) // s + 1
        if node.attrs.get("ceil_mode", 0) and (padded - span) % s and count * s < length + before:
            count += 1
        out.append(count)
        extra.append(max((count - 1) * s + span - padded, 0))
    pads = Padding(pads.top, pads.bottom + extra[0], pads.left, pads.right + extra[1])
    return Window(kernel, stride, dilation, pads, (out[0], out[1]))


def padding_attrs(window: Window, size: tuple[int, int]) -> dict[str, Any]:
    """TensorFlow's words for the pads: VALID, SAME where it means the same, else EXPLICIT."""
    if not any(window.pads):
        return {"padding": "VALID"}
    if window.pads == same_padding(size, window.kernel, window.stride, window.dilation):
        return {"padding": "SAME"}
    top, bottom, left, right = window.pads
    return {"padding": "EXPLICIT", "explicit_paddings": [0, 0, top, bottom, left, right, 0, 0]}


def zero_pad(conversion: Conversion, x: Value, pads: Padding) -> Value:
    """A Pad node of zeros around an NHWC map."""
    name = conversion.unique(f"{x.node}/pad")
    top, bottom, left, right = pads
    table = conversion.constant(f"{name}/paddings", np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32))
    conversion.emit(name, "Pad", (x.node, table))
    n, c, h, w = x.shape
    floor = None if x.floor is None else min(x.floor, 0.0)
    return Value(name, (n, c, h + top + bottom, w + left + right), NHWC, floor=floor)


def _weights(conversion: Conversion, node: OnnxNode) -> tuple[Array, int | None]:
    value = conversion.value(node, 1)
    data = conversion.data(node, 1, "weight tensor")
    if data.ndim != 4:
        raise UnsupportedOp("only two-dimensional convolutions", where=node.where, got=f"weights {data.shape}",
                            remedy="write one-dimensional layers as (N, C, 1, W)")
    return np.asarray(data, np.float32), value.pos


def add_bias(conversion: Conversion, node: OnnxNode, source: str, index: int) -> str:
    """The bias addition after a node, if there is a bias; returns the last node."""
    bias = conversion.optional_data(node, index, "bias")
    if bias is None:
        return source
    pos = conversion.value(node, index).pos
    name = conversion.constant(node.inputs[index], np.asarray(bias, np.float32).reshape(-1), pos)
    return conversion.emit(conversion.last_name(node, "/BiasAdd"), "BiasAdd", (source, name), data_format=b"NHWC")


def convolution(conversion: Conversion, node: OnnxNode) -> None:
    """Conv: dense, grouped and depthwise."""
    x = conversion.feature_map(node)
    weights, pos = _weights(conversion, node)
    groups, (n, channels, height, width) = int(node.attrs.get("group", 1)), x.shape
    if groups < 1 or weights.shape[1] * groups != channels or weights.shape[0] % groups:
        raise GraphError("the weights do not fit the map", where=node.where, got=f"{weights.shape}, {groups} groups",
                         expected=f"{channels} input channels")
    window = find_window(node, (height, width), (weights.shape[2], weights.shape[3]))
    depthwise = groups == channels and groups > 1
    if depthwise:
        kernel = weights.reshape(channels, -1, *weights.shape[2:]).transpose(2, 3, 0, 1)
    else:
        kernel = weights.transpose(2, 3, 1, 0)
    biased = conversion.optional(node, 2) is not None
    stem = conversion.stem(node)
    op = "DepthwiseConv2dNative" if depthwise else "Conv2D"
    name = conversion.unique(f"{stem}/{op}") if biased else conversion.last_name(node, f"/{op}")
    constant = conversion.constant(node.inputs[1], kernel, pos)
    conversion.emit(name, op, (x.node, constant), data_format=b"NHWC", strides=[1, *window.stride, 1],
                    dilations=[1, *window.dilation, 1], **padding_attrs(window, (height, width)))
    last = add_bias(conversion, node, name, 2)
    conversion.finish(node, Value(last, (n, weights.shape[0], *window.out), NHWC))


def transposed_convolution(conversion: Conversion, node: OnnxNode) -> None:
    """ConvTranspose: where its pads are neither SAME nor VALID the border of the VALID result is cut off."""
    x = conversion.feature_map(node)
    weights, pos = _weights(conversion, node)
    if int(node.attrs.get("group", 1)) != 1:
        raise UnsupportedOp("a grouped transposed convolution", where=node.where, remedy="resize and convolve instead")
    if pair(node, "dilations") != (1, 1):
        raise UnsupportedOp("a dilated transposed convolution", where=node.where)
    n, _, height, width = x.shape
    kernel, stride = (weights.shape[2], weights.shape[3]), pair(node, "strides")
    crop, out = _crops(node, (height, width), kernel, stride)
    full = tuple((size - 1) * s + max(k, s) for size, s, k in zip((height, width), stride, kernel, strict=True))
    same = same_padding(out, kernel, stride) == crop and out == (height * stride[0], width * stride[1])
    made, padding = (out, "SAME") if same else (full, "VALID")
    biased = conversion.optional(node, 2) is not None
    cut = not same and out != full
    stem = conversion.stem(node)
    plain = not biased and not cut
    name = conversion.last_name(node, "/conv2d_transpose") if plain else conversion.unique(f"{stem}/conv2d_transpose")
    sizes = conversion.integers(f"{name}/input_sizes", (n, *made, weights.shape[1]))
    constant = conversion.constant(node.inputs[1], weights.transpose(2, 3, 1, 0), pos)
    conversion.emit(name, "Conv2DBackpropInput", (sizes, constant, x.node), data_format=b"NHWC", padding=padding,
                    strides=[1, *stride, 1], dilations=[1, 1, 1, 1])
    last = add_bias(conversion, node, name, 2)
    if cut:
        last = _cut(conversion, node, last, crop, out)
    conversion.finish(node, Value(last, (n, weights.shape[1], *out), NHWC))


def _crops(node: OnnxNode, size: tuple[int, int], kernel: tuple[int, int],
           stride: tuple[int, int]) -> tuple[Padding, tuple[int, int]]:
    """How much of the full result is cut off at each side, and what is left."""
    extra = tuple(node.attrs.get("output_padding", (0, 0)))
    full = [(length - 1) * s + k for length, s, k in zip(size, stride, kernel, strict=True)]
    wanted = node.attrs.get("output_shape")
    auto = node.attrs.get("auto_pad", b"NOTSET")
    if wanted is not None or auto in (b"SAME_UPPER", b"SAME_LOWER"):
        target = tuple(wanted)[-2:] if wanted is not None else tuple(length * s for length, s in
                                                                     zip(size, stride, strict=True))
        total = [max(f + e - t, 0) for f, e, t in zip(full, extra, target, strict=True)]
        before = [t // 2 if auto == b"SAME_UPPER" else t - t // 2 for t in total]
        after = [t - b for t, b in zip(total, before, strict=True)]
    else:
        pads = _given_pads(node)
        before, after = [pads.top, pads.left], [pads.bottom, pads.right]
    out = [f - b - a + e for f, b, a, e in zip(full, before, after, extra, strict=True)]
    if min(out) < 1 or min(extra) < 0:
        raise GraphError("the pads leave nothing of the map", where=node.where, got=out)
    end = [f - b - o for f, b, o in zip(full, before, out, strict=True)]
    if min(end) < 0 and any(-e > max(s - k, 0) for e, s, k in zip(end, stride, kernel, strict=True)):
        raise UnsupportedOp("output_padding beyond the window", where=node.where, got=extra,
                            remedy="pad the result in a layer of its own")
    return Padding(before[0], max(end[0], 0), before[1], max(end[1], 0)), (out[0], out[1])


def _cut(conversion: Conversion, node: OnnxNode, source: str, crop: Padding, out: tuple[int, int]) -> str:
    name = conversion.last_name(node, "/cut")
    begin = conversion.integers(f"{name}/begin", (0, crop.top, crop.left, 0))
    end = conversion.integers(f"{name}/end", (0, crop.top + out[0], crop.left + out[1], 0))
    strides = conversion.integers(f"{name}/strides", (1, 1, 1, 1))
    return conversion.emit(name, "StridedSlice", (source, begin, end, strides), Index=INT32, begin_mask=9, end_mask=9,
                           ellipsis_mask=0, new_axis_mask=0, shrink_axis_mask=0)


def max_pool(conversion: Conversion, node: OnnxNode) -> None:
    """MaxPool; its padding never wins."""
    x = conversion.feature_map(node)
    n, channels, height, width = x.shape
    window = find_window(node, (height, width), pair(node, "kernel_shape"))
    if window.dilation != (1, 1):
        raise UnsupportedOp("a dilated pool", where=node.where, got=window.dilation)
    name = conversion.last_name(node, "/MaxPool")
    conversion.emit(name, "MaxPool", (x.node,), data_format=b"NHWC", ksize=[1, *window.kernel, 1],
                    strides=[1, *window.stride, 1], **padding_attrs(window, (height, width)))
    conversion.finish(node, Value(name, (n, channels, *window.out), NHWC, floor=x.floor))


def average_pool(conversion: Conversion, node: OnnxNode) -> None:
    """AveragePool: padding that counts is a Pad node, padding that does not only where SAME says it."""
    x = conversion.feature_map(node)
    n, channels, height, width = x.shape
    window = find_window(node, (height, width), pair(node, "kernel_shape"))
    if window.dilation != (1, 1):
        raise UnsupportedOp("a dilated pool", where=node.where, got=window.dilation)
    given = find_window(_without_ceil(node), (height, width), window.kernel).pads
    attrs = padding_attrs(window, (height, width))
    if any(window.pads) and node.attrs.get("count_include_pad", 0) and window.pads == given:
        x = zero_pad(conversion, x, window.pads)
        attrs = {"padding": "VALID"}
    elif attrs["padding"] == "EXPLICIT":
        _uncounted_pool(conversion, node, x, window)
        return
    name = conversion.last_name(node, "/AvgPool")
    conversion.emit(name, "AvgPool", (x.node,), data_format=b"NHWC", ksize=[1, *window.kernel, 1],
                    strides=[1, *window.stride, 1], **attrs)
    conversion.finish(node, Value(name, (n, channels, *window.out), NHWC, floor=x.floor))


def _uncounted_pool(conversion: Conversion, node: OnnxNode, x: Value, window: Window) -> None:
    """Padding that does not count and is not SAME: the pool that counts it, times what that is too small by."""
    n, channels, height, width = x.shape
    stem = conversion.stem(node)
    padded = zero_pad(conversion, x, window.pads)
    pool = conversion.emit(conversion.unique(f"{stem}/AvgPool"), "AvgPool", (padded.node,), data_format=b"NHWC",
                           ksize=[1, *window.kernel, 1], strides=[1, *window.stride, 1], padding="VALID")
    starts = (window.pads.top, window.pads.left)
    shares = []
    for length, before, kernel, stride, count in zip((height, width), starts, window.kernel, window.stride, window.out,
                                                     strict=True):
        first = [at * stride - before for at in range(count)]
        shares.append(np.array([kernel / max(min(f + kernel, length) - max(f, 0), 1) for f in first], np.float32))
    factor = conversion.constant(f"{stem}/uncounted", (shares[0][:, None] * shares[1][None, :])[None, :, :, None])
    name = conversion.emit(conversion.last_name(node, "/mul"), "Mul", (pool, factor))
    conversion.finish(node, Value(name, (n, channels, *window.out), NHWC, floor=x.floor))


def _without_ceil(node: OnnxNode) -> OnnxNode:
    return OnnxNode(node.name, node.op, node.inputs, node.outputs, {**node.attrs, "ceil_mode": 0}, node.domain)


def global_pool(conversion: Conversion, node: OnnxNode) -> None:
    """GlobalAveragePool is a mean over the map, GlobalMaxPool a pool as large as it."""
    x = conversion.feature_map(node)
    n, channels, height, width = x.shape
    if node.op == "GlobalAveragePool":
        name = conversion.last_name(node, "/Mean")
        axes = conversion.integers(f"{name}/reduction_indices", (1, 2))
        conversion.emit(name, "Mean", (x.node, axes), keep_dims=True)
    else:
        name = conversion.last_name(node, "/MaxPool")
        conversion.emit(name, "MaxPool", (x.node,), data_format=b"NHWC", ksize=[1, height, width, 1],
                        strides=[1, 1, 1, 1], padding="VALID")
    conversion.finish(node, Value(name, (n, channels, 1, 1), NHWC, floor=x.floor))
