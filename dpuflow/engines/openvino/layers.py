"""Which layers OpenVINO's kernels compute exactly as the DPU does, and with which numbers.

The network holds the DPU's integers as float32, and every step keeps them exact whichever kernels
OpenVINO takes (engines specification, "half-even is made to round half-up" and "Traps"):

* A map behind a ReLU holds 0..127. A fake quantization tells so, and OpenVINO computes with bytes from
  there on: 127 times two weights fits the 16 bits in which CPUs without dot products add pairs.
* CPUs with dot products take every map as bytes, if their kernels prove exact with it.
* Elsewhere a signed map is bytes where the weights leave room: 255 times the largest pair of weights of one sign
  and one output channel fits 16 bits, whichever weights a kernel pairs. Behind a leaky ReLU maps seldom reach far
  below zero; there 127 + 32 stands for 255, the network says if a map reached further, and that run is repeated.
* All else stays float32, rounded and clipped, and its sums are exact while no partial sum can pass 2**24.
* Half an accumulator unit is added before the kernels round ties to even: no value lies on a tie then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np

from dpuflow.engines.openvino.bounds import EXACT, MAX_SHIFTS, SPREAD, largest_pair, nonnegative_maps, refusal
from dpuflow.engines.openvino.network import Kernel, Network
from dpuflow.engines.weighted_sums import Sums, weighted_sums
from dpuflow.ir.graph import Array, Graph, Node
from dpuflow.ops.conv import ConvAttrs
from dpuflow.ops.pool import average_factor
from dpuflow.ops.resize import repetition

Emit = Callable[[Network], None]


class Planner:
    """Decides layer by layer for one network."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nonnegative = nonnegative_maps(graph)

    def __call__(self, node: Node) -> Emit | str:
        """How to add a node to an OpenVINO network, or the reason why it would not be exact."""
        operands = self.graph.operands(node)
        if any(one.fix is None or one.fix.bits != 8 for one in (node, *operands)):
            return "it does not compute in 8 bits"
        if node.op not in _LAYERS:
            return f"{node.op} has no exact kernel yet"
        return _LAYERS[node.op](self, node)

    def low(self, name: str) -> int:
        """The least number that a tensor may hold."""
        return 0 if name in self.nonnegative else -128


Convolve = Callable[[Network, Any, Any], Any]  # the network, the map and the scaled weights: the sums


def _weighted(planner: Planner, node: Node, sums: Sums, weights: Array, convolve: Convolve,
              outputs_axis: int = 0, parted: bool = False) -> Emit | str:
    """A layer of weighted sums; ``weights``: as OpenVINO wants them, groups of output channels first."""
    x = planner.graph.operands(node)[0]
    rows = np.moveaxis(weights, outputs_axis, 0).reshape(sums.bias.size, -1)
    if reason := refusal(rows, sums, node, planner.low(x.name)):
        return reason

    kernel = Kernel(weights, 2.0**-sums.shift, largest_pair(rows), parted)

    def emit(network: Network) -> None:
        made = convolve(network, *network.operand(x.name, kernel))
        positive = x.name in network.positive and weights.min() >= 0 and sums.bias.min() >= 0  # an average, say
        network.finish(node, made, sums.bias, sums.shift,
                       "relu" if positive and sums.nonlinear == "none" else sums.nonlinear)
    return emit


def _window_refusal(kernel: tuple[int, ...], attrs: ConvAttrs) -> str | None:
    """OpenVINO 2026.4 moves such a stride to layers before, and then takes other pixels."""
    if kernel == (1, 1) and any(attrs.padding) and attrs.stride != (1, 1):
        return "a kernel of one pixel meets padding and a stride"
    return None


def _convolve(operator: str, attrs: ConvAttrs) -> Convolve:
    """A kernel of one pixel meets only the pixels that its stride picks: with a stride, kernels for bytes were seen
    to compute a wrong one where the threads' shares meet (OpenVINO 2026.4, AVX2)."""
    def convolve(network: Network, x: Any, w: Any) -> Any:
        stride = attrs.stride
        if tuple(w.shape)[-2:] == (1, 1) and stride != (1, 1):
            x, stride = network.picked(x, stride), (1, 1)
        return getattr(network.op, operator)(x, w, list(stride), *_pads(attrs), list(attrs.dilation))
    return convolve


def _pads(attrs: Any) -> tuple[list[int], list[int]]:
    top, bottom, left, right = attrs.padding
    return [top, left], [bottom, right]


def _conv(planner: Planner, node: Node) -> Emit | str:
    sums, attrs = weighted_sums(planner.graph, node), node.attrs
    if isinstance(sums, str):
        return sums
    kh, kw, inputs, outputs = sums.weights.shape
    if reason := _window_refusal((kh, kw), attrs):
        return reason
    weights = np.ascontiguousarray(sums.weights.transpose(3, 2, 0, 1))
    if attrs.groups == 1:
        return _weighted(planner, node, sums, weights, _convolve("convolution", attrs), parted=True)
    grouped = weights.reshape(attrs.groups, outputs // attrs.groups, inputs, kh, kw)
    return _grouped(planner, node, sums, grouped, attrs)


def _grouped(planner: Planner, node: Node, sums: Sums, weights: Array, attrs: ConvAttrs) -> Emit | str:
    """``weights``: (groups, outputs of a group, inputs of a group, height, width)."""
    return _weighted(planner, node, sums, weights, _convolve("group_convolution", attrs))


def _depthwise(planner: Planner, node: Node) -> Emit | str:
    sums = weighted_sums(planner.graph, node)
    if isinstance(sums, str):
        return sums
    if reason := _window_refusal(sums.weights.shape[:2], node.attrs):
        return reason
    weights = np.ascontiguousarray(sums.weights.transpose(2, 3, 0, 1))[:, :, None]
    return _grouped(planner, node, sums, weights, node.attrs)


def _dense(planner: Planner, node: Node) -> Emit | str:
    sums = weighted_sums(planner.graph, node)
    if isinstance(sums, str):
        return sums
    weights = np.ascontiguousarray(sums.weights.T)[:, :, None, None]

    def convolve(network: Network, x: Any, w: Any) -> Any:
        pixel = network.reshaped(x, (0, -1, 1, 1))
        return network.op.convolution(pixel, w, [1, 1], [0, 0], [0, 0], [1, 1])
    return _weighted(planner, node, sums, weights, convolve)


def _transposed(planner: Planner, node: Node) -> Emit | str:
    sums, attrs = weighted_sums(planner.graph, node), node.attrs
    if isinstance(sums, str):
        return sums
    weights = np.ascontiguousarray(sums.weights.transpose(3, 2, 0, 1))
    pads = attrs.padding.top + attrs.padding.bottom, attrs.padding.left + attrs.padding.right
    more = [(size + pad - kernel) % stride for size, pad, kernel, stride in
            zip(attrs.size, pads, sums.weights.shape, attrs.stride, strict=False)]

    return _weighted(planner, node, sums, weights, lambda network, x, w: network.op.convolution_backprop_data(
        x, w, list(attrs.stride), None, *_pads(attrs), [1, 1], "explicit", more), outputs_axis=1)


def _avg_pool(planner: Planner, node: Node) -> Emit | str:
    """An average is a depthwise convolution with the constant N of the factor N / 2**M."""
    (x,) = planner.graph.operands(node)
    assert x.fix is not None and node.fix is not None
    n, m = average_factor(node.attrs.kernel)
    if not 0 < n <= 127:
        return f"the average's factor {n} does not fit 8 bits"
    weights = np.full((x.shape[3], 1, 1, *node.attrs.kernel), n, np.int8)
    sums = Sums(weights, np.zeros(x.shape[3], np.int64), x.fix.pos + m - node.fix.pos, "none")
    return _grouped(planner, node, sums, weights, ConvAttrs(node.attrs.stride, node.attrs.padding))


def _mean(planner: Planner, node: Node) -> Emit | str:
    (x,) = planner.graph.operands(node)
    assert x.fix is not None and node.fix is not None
    n, m = average_factor((x.shape[1], x.shape[2]))
    shift = x.fix.pos + m - node.fix.pos
    if not 0 <= shift <= MAX_SHIFTS["none"]:
        return f"its shift {shift} is outside 0..{MAX_SHIFTS['none']}"
    if 128 * x.shape[1] * x.shape[2] * n > EXACT:
        return "its sums may exceed 24 bits"

    def emit(network: Network) -> None:
        total = network.op.reduce_sum(network.tensors[x.name], np.array([2, 3]), keep_dims=True)
        made = network.op.multiply(total, np.float32(n * 2.0**-shift))
        network.finish(node, made, np.zeros(1, np.int64), shift, "relu" if x.name in network.positive else "none")
    return emit


def _max_pool(planner: Planner, node: Node) -> Emit | str:
    (x,), attrs = planner.graph.operands(node), node.attrs
    if x.fix != node.fix:
        return "input and output positions differ"
    top, bottom, left, right = attrs.padding
    if max(top, bottom) >= attrs.kernel[0] or max(left, right) >= attrs.kernel[1]:
        return "some windows hold padding only"

    def emit(network: Network) -> None:
        network.keep(node, network.op.max_pool(network.tensors[x.name], list(attrs.stride), [1, 1], *_pads(attrs),
                                               list(attrs.kernel)).output(0))
    return emit


def _reshape(planner: Planner, node: Node) -> Emit | str:
    (x,) = planner.graph.operands(node)
    if x.fix != node.fix:
        return "input and output positions differ"

    def emit(network: Network) -> None:
        last = network.channels_last(network.tensors[x.name], x)
        made = network.reshaped(last, (network.batch, *node.shape[1:]))
        network.keep(node, network.channels_first(made, node))
    return emit


def _add(planner: Planner, node: Node) -> Emit | str:
    """Operands and half a unit are multiples of the finest step, 24 bits at most (section 7.1)."""
    operands, nonlinear = planner.graph.operands(node), node.attrs.nonlinear
    assert node.fix is not None
    if nonlinear not in ("none", "relu") or any(one.shape != node.shape or one.data is not None for one in operands):
        return "it does not add maps of one shape"
    ups = [node.fix.pos - one.fix.pos for one in operands if one.fix]
    if len(ups) < 2 or max(ups) - min(*ups, 0) >= SPREAD:
        return "its positions lie too far apart"

    def emit(network: Network) -> None:
        made = reduce(network.op.add, (network.op.multiply(network.tensors[one.name], np.float32(2.0**up))
                                       for one, up in zip(operands, ups, strict=True)))
        network.finish(node, made, np.zeros(1, np.int64), max(-min(ups), 0), nonlinear)
    return emit


def _concat(planner: Planner, node: Node) -> Emit | str:
    operands = planner.graph.operands(node)
    if any(one.fix != node.fix for one in operands):
        return "input and output positions differ"
    if any(one.data is not None for one in operands):
        return "it joins a constant"
    axis = node.attrs.axis % len(node.shape)

    def emit(network: Network) -> None:
        where = (0, 2, 3, 1)[axis] if len(node.shape) == 4 else axis
        network.keep(node, network.op.concat([network.tensors[one.name] for one in operands], where))
    return emit


def _resize_nearest(planner: Planner, node: Node) -> Emit | str:
    (x,) = planner.graph.operands(node)
    factors = repetition((x.shape[1], x.shape[2]), node.attrs)
    if x.fix != node.fix or factors is None:
        return "it does more than repeat pixels"

    def emit(network: Network) -> None:
        network.keep(node, network.repeated(network.tensors[x.name], factors))
    return emit


_LAYERS: Mapping[str, Callable[[Planner, Node], Emit | str]] = {
    "conv2d": _conv,
    "depthwise_conv2d": _depthwise,
    "dense": _dense,
    "transposed_conv2d": _transposed,
    "avg_pool": _avg_pool,
    "mean": _mean,
    "max_pool": _max_pool,
    "reshape": _reshape,
    "add": _add,
    "concat": _concat,
    "resize_nearest": _resize_nearest,
}
