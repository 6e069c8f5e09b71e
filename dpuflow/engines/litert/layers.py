"""Which layers LiteRT computes exactly as the DPU does, and with which numbers.

LiteRT's int8 kernels (XNNPACK) round ties to even. Scales of 2**-s * (1 + 2**-23) put every exact
tie just above the half: half up for accumulators that are not negative. A layer with ReLU clips
the rest; one without takes the output zero point -128 and a bias raised by 128 << s, so that its
accumulator is not negative. Exact for shifts up to 15 with ReLU and 14 without (engines
specification, "half-even is made to round half-up"); every other layer is refused with a reason.

LeakyReLU is two convolutions and a sum: one keeps what is positive, at zero point -128, the other what is
negative, at zero point 127, with 13/128 times the scale, a hair less, so that ties go up there too. A float32 holds
the products of the second exactly up to shift 9.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from dpuflow.engines.litert.segment import Segment
from dpuflow.engines.weighted_sums import Sums, weighted_sums
from dpuflow.ir.graph import Array, Graph, Node, Shape
from dpuflow.ops.base import Padding, same_padding
from dpuflow.ops.conv import ConvAttrs
from dpuflow.ops.pool import average_factor
from dpuflow.ops.transposed import TransposedAttrs

MAX_SHIFT_RELU = 15
MAX_SHIFT_SIGNED = 14
MAX_SHIFT_LEAKY = 9
_ADD_RATIOS = range(-9, 8)  # binary logarithms of an operand's step by the sum's: XNNPACK's own range, less one


_MAX_SHIFTS = {"none": MAX_SHIFT_SIGNED, "relu": MAX_SHIFT_RELU, "relu6": MAX_SHIFT_RELU,
               "leaky_relu": MAX_SHIFT_LEAKY}


def _refusal(sums: Sums, node: Node, per_channel: int) -> str | None:
    """Why LiteRT would not be exact on these numbers; None if it is."""
    assert node.fix is not None
    if sums.nonlinear not in _MAX_SHIFTS:
        return f"{sums.nonlinear} has no exact kernel"
    limit = _MAX_SHIFTS[sums.nonlinear]
    if not 0 <= sums.shift <= limit:
        return f"shift_cut {sums.shift} is outside 0..{limit} for {sums.nonlinear}"
    if sums.nonlinear == "relu6" and node.fix.pos < 0:
        return f"relu6 at position {node.fix.pos} clips to a fraction"
    largest = 128 * 128 * per_channel + int(np.abs(sums.bias).max(initial=0)) + (128 << sums.shift)
    if largest >= 1 << 31:
        return "the accumulator may exceed 32 bits"
    return None


def _same_or_valid(x: Shape, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int],
                   padding: Padding) -> str | None:
    if not any(padding):
        return "VALID"
    return "SAME" if padding == same_padding((x[1], x[2]), kernel, stride, dilation) else None


Emit = Callable[[Segment], None]


def _conv(graph: Graph, node: Node) -> Emit | str:
    sums = weighted_sums(graph, node)
    if isinstance(sums, str):
        return sums
    attrs: ConvAttrs = node.attrs
    x = graph.operands(node)[0]
    kh, kw, ic, _ = sums.weights.shape
    refusal = _refusal(sums, node, kh * kw * ic)
    if refusal:
        return refusal
    kind = _same_or_valid(x.shape, (kh, kw), attrs.stride, attrs.dilation, attrs.padding)

    def emit(segment: Segment) -> None:
        source, padding = segment.padded(x, attrs.padding, kind)
        ohwi = np.ascontiguousarray(sums.weights.transpose(3, 0, 1, 2))
        segment.weighted(node, x, sums, ohwi, 0, lambda parameters, output, activation: segment.writer.conv2d(
            [source, *parameters], output, attrs.stride, attrs.dilation, padding, activation))
    return emit


def _transposed(graph: Graph, node: Node) -> Emit | str:
    """One convolution makes every phase of the output as channels of its own; they are then put in place."""
    sums = weighted_sums(graph, node)
    if isinstance(sums, str):
        return sums
    x, attrs = graph.operands(node)[0], node.attrs
    refusal = _refusal(sums, node, math.prod(sums.weights.shape) // sums.weights.shape[2])
    if refusal:
        return refusal
    block = attrs.stride[0]
    if attrs.stride[1] != block or any(size % block for size in attrs.size):
        return "its output is no multiple of one stride"
    weights, padding = phases(sums.weights, block, attrs, (x.shape[1], x.shape[2]))
    if min(padding) < 0:
        return "its kernel leaves out rows or columns of the input"
    size = tuple(size // block for size in attrs.size)
    made = node.replace(name=f"{node.name}/phases", shape=(node.shape[0], *size, weights.shape[3]))
    spread = Sums(weights, np.tile(sums.bias, block * block), sums.shift, sums.nonlinear)

    def emit(segment: Segment) -> None:
        source, kind = segment.padded(x, padding, None if any(padding) else "VALID")
        ohwi = np.ascontiguousarray(weights.transpose(3, 0, 1, 2))
        segment.weighted(made, x, spread, ohwi, 0, lambda parameters, output, activation: segment.writer.conv2d(
            [source, *parameters], output, (1, 1), (1, 1), kind, activation))
        target = segment.feature(node, segment.zero_points[made.name])
        segment.writer.depth_to_space(segment.tensors[made.name], target, block)
    return emit


def phases(weights: Array, block: int, attrs: TransposedAttrs, size: tuple[int, int]) -> tuple[Array, Padding]:
    """(KH, KW, OC, IC) as a convolution's (rows, columns, IC, block * block * OC), and the padding of its input.

    Output row block * m + r is the sum over k, with (r + pad - k) a multiple of the block, of the kernel's row k
    times the input's row m + (r + pad - k) / block.
    """
    taps, pads = [], []
    for kernel, pad, old, new in zip(weights.shape, (attrs.padding.top, attrs.padding.left), size, attrs.size,
                                     strict=False):
        found = [((r + pad - k) // block, r, k) for r in range(block) for k in range(kernel)
                 if (r + pad - k) % block == 0]
        first, last = min(found)[0], max(found)[0]
        taps.append([(at - first, r, k) for at, r, k in found])
        pads += [-first, new // block - 1 + last - (old - 1)]
    reach = [max(at for at, _, _ in axis) + 1 for axis in taps]
    made = np.zeros((*reach, weights.shape[3], block, block, weights.shape[2]), np.int8)
    for down, r, k in taps[0]:
        for across, q, j in taps[1]:
            made[down, across, :, r, q] = weights[k, j].T
    return made.reshape(*reach, weights.shape[3], -1), Padding(*pads)


def _depthwise_sums(node: Node, x: Node, sums: Sums, attrs: ConvAttrs) -> Emit | str:
    """Depthwise weights are (KH, KW, C, multiplier) here and (1, KH, KW, C * multiplier) there."""
    kh, kw, channels, multiplier = sums.weights.shape
    refusal = _refusal(sums, node, kh * kw)
    if refusal:
        return refusal
    kind = _same_or_valid(x.shape, (kh, kw), attrs.stride, attrs.dilation, attrs.padding)

    def emit(segment: Segment) -> None:
        source, padding = segment.padded(x, attrs.padding, kind)
        flat = sums.weights.reshape(1, kh, kw, channels * multiplier)
        segment.weighted(node, x, sums, flat, 3, lambda parameters, output, activation: segment.writer.depthwise(
            [source, *parameters], output, attrs.stride, attrs.dilation, padding, activation, multiplier))
    return emit


def _depthwise(graph: Graph, node: Node) -> Emit | str:
    sums = weighted_sums(graph, node)
    if isinstance(sums, str):
        return sums
    return _depthwise_sums(node, graph.operands(node)[0], sums, node.attrs)


def _dense(graph: Graph, node: Node) -> Emit | str:
    sums = weighted_sums(graph, node)
    if isinstance(sums, str):
        return sums
    x = graph.operands(node)[0]
    refusal = _refusal(sums, node, sums.weights.shape[0])
    if refusal:
        return refusal

    def emit(segment: Segment) -> None:
        matrix = np.ascontiguousarray(sums.weights.transpose(1, 0))
        source = segment.feature(x)
        segment.weighted(node, x, sums, matrix, 0, lambda parameters, output, activation:
                         segment.writer.fully_connected([source, *parameters], output, activation))
    return emit


def _average(graph: Graph, node: Node, kernel: tuple[int, int], attrs: ConvAttrs) -> Emit | str:
    """An average is a depthwise convolution with the constant N of the factor N / 2**M."""
    (x,) = graph.operands(node)
    assert x.fix is not None and node.fix is not None
    n, m = average_factor(kernel)
    if not 0 < n <= 127:
        return f"the average's factor {n} does not fit 8 bits"
    weights = np.full((*kernel, x.shape[3], 1), n, np.int8)
    sums = Sums(weights, np.zeros(x.shape[3], np.int64), x.fix.pos + m - node.fix.pos, "none")
    return _depthwise_sums(node, x, sums, attrs)


def _avg_pool(graph: Graph, node: Node) -> Emit | str:
    return _average(graph, node, node.attrs.kernel, ConvAttrs(node.attrs.stride, node.attrs.padding))


def _mean(graph: Graph, node: Node) -> Emit | str:
    x = graph.operands(node)[0]
    pooled = node.replace(name=node.name if node.attrs.keep_dims else f"{node.name}/map",
                          shape=(x.shape[0], 1, 1, x.shape[3]))
    emit_map = _average(graph, pooled.replace(inputs=node.inputs), (x.shape[1], x.shape[2]), ConvAttrs())
    if isinstance(emit_map, str) or node.attrs.keep_dims:
        return emit_map

    def emit(segment: Segment) -> None:
        emit_map(segment)
        target = segment.feature(node, segment.zero_points[pooled.name])
        segment.writer.reshape(segment.tensors[pooled.name], target, (-1, x.shape[3]))
    return emit


def _max_pool(graph: Graph, node: Node) -> Emit | str:
    (x,) = graph.operands(node)
    attrs = node.attrs
    if x.fix != node.fix:
        return "input and output positions differ"
    kind = _same_or_valid(x.shape, attrs.kernel, attrs.stride, (1, 1), attrs.padding)

    def emit(segment: Segment) -> None:
        # LiteRT's own padding never wins; -128 does not win against a pixel either.
        source, padding = (segment.feature(x), kind) if kind else segment.padded(x, attrs.padding, None, -128)
        target = segment.feature(node, segment.zero_points[x.name])
        segment.writer.max_pool(source, target, attrs.kernel, attrs.stride, padding)
    return emit


def _reshape(graph: Graph, node: Node) -> Emit | str:
    (x,) = graph.operands(node)
    if x.fix != node.fix:
        return "input and output positions differ"

    def emit(segment: Segment) -> None:
        source = segment.feature(x)
        target = segment.feature(node, segment.zero_points[x.name])
        segment.writer.reshape(source, target, (-1, *node.shape[1:]))
    return emit


def _add(graph: Graph, node: Node) -> Emit | str:
    """XNNPACK adds integers times powers of two and rounds half up by a shift, as the DPU does (section 7.1)."""
    operands, relu = graph.operands(node), node.attrs.nonlinear == "relu"
    assert node.fix is not None
    if len(operands) != 2 or any(one.shape != node.shape or one.data is not None for one in operands):
        return "it does not add two maps of one shape"
    ups = [node.fix.pos - one.fix.pos for one in operands if one.fix]
    if any(up not in _ADD_RATIOS for up in ups) or max(ups) - min(ups) > _ADD_RATIOS[-1]:
        return "its positions lie too far apart"

    def emit(segment: Segment) -> None:
        first, second = (segment.plain(one) for one in operands)
        segment.writer.add(first, second, segment.feature(node), "relu" if relu else "none")
    return emit


def _concat(graph: Graph, node: Node) -> Emit | str:
    operands = graph.operands(node)
    if any(one.fix != node.fix for one in operands):
        return "input and output positions differ"
    if any(one.data is not None for one in operands):
        return "it joins a constant"

    def emit(segment: Segment) -> None:
        sources = [segment.feature(one) for one in operands]
        zero_points = {segment.zero_points[one.name] for one in operands}
        if len(zero_points) > 1:
            sources = [segment.plain(one) for one in operands]
        zero_point = zero_points.pop() if len(zero_points) == 1 else 0
        segment.writer.concat(sources, segment.feature(node, zero_point), node.attrs.axis)
    return emit


LAYERS: Mapping[str, Callable[[Graph, Node], Emit | str]] = {
    "conv2d": _conv,
    "depthwise_conv2d": _depthwise,
    "transposed_conv2d": _transposed,
    "dense": _dense,
    "avg_pool": _avg_pool,
    "mean": _mean,
    "max_pool": _max_pool,
    "reshape": _reshape,
    "add": _add,
    "concat": _concat,
}


def planner(graph: Graph) -> Callable[[Node], Emit | str]:
    """For a network: how to add a node to a segment, or the reason why LiteRT cannot compute it exactly."""
    return partial(_plan_layer, graph)


def _plan_layer(graph: Graph, node: Node) -> Emit | str:
    if node.fix is None or any(operand.fix is None for operand in graph.operands(node)):
        return "it computes in float"
    if node.fix.bits != 8 or any(o.fix is not None and o.fix.bits != 8 for o in graph.operands(node)):
        return "it is not 8 bits wide"
    if node.op not in LAYERS:
        return f"{node.op} has no exact kernel yet"
    return LAYERS[node.op](graph, node)
