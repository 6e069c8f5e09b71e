"""Which layers LiteRT computes exactly as the DPU does, and with which numbers.

LiteRT's int8 kernels (XNNPACK) round ties to even. Scales of 2**-s * (1 + 2**-23) put every exact
tie just above the half: half up for accumulators that are not negative. A layer with ReLU clips
the rest; one without takes the output zero point -128 and a bias raised by 128 << s, so that its
accumulator is not negative. Exact for shifts up to 15 with ReLU and 14 without (engines
specification, "half-even is made to round half-up"); every other layer is refused with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from dpuedge import fixed
from dpuflow.engines.litert_model import ModelWriter, Quantization
from dpuflow.ir.graph import Array, Graph, Node, Shape
from dpuflow.ops.base import Padding, same_padding
from dpuflow.ops.conv import ConvAttrs
from dpuflow.ops.pool import average_factor

MAX_SHIFT_RELU = 15
MAX_SHIFT_SIGNED = 14
_NUDGE = np.float32(1 + 2.0**-23)
_SIGNED_ZERO = -128  # the zero point that keeps a signed output's accumulator from being negative


@dataclass(frozen=True)
class Sums:
    """A layer as weighted sums: OHWI-like int8 weights, bias at accumulator scale, one shift."""

    weights: Array
    bias: Array
    shift: int
    nonlinear: str


def effective_bias(bias: Array, bias_pos: int, acc_pos: int, shift: int) -> Array:
    """The bias in accumulator units, exact even where it is finer than the accumulator.

    With d = bias_pos - acc_pos > 0 the exact result is floor((acc * 2**d + q) / 2**(shift + d) + 1/2).
    The accumulator is an integer, so for shift >= 1 the bias's lowest d bits never decide: its floor
    does. For shift 0 its half-up rounding does (arithmetic specification, section 4, "exact").
    """
    if bias_pos <= acc_pos:
        return fixed.shift_up(bias, acc_pos - bias_pos)
    down = bias_pos - acc_pos
    return fixed.shift_floor(bias, down) if shift >= 1 else fixed.shift_round(bias, down)


def _parameters(graph: Graph, node: Node) -> Sums | str:
    assert node.fix is not None
    operands = graph.operands(node)
    x, weights = operands[0], operands[1]
    if weights.data is None or weights.fix is None or x.fix is None:
        return "its weights are not constant"
    if len(operands) > 2 and (operands[2].data is None or operands[2].fix is None):
        return "its bias is not constant"
    acc_pos = x.fix.pos + weights.fix.pos
    shift = acc_pos - node.fix.pos
    channels = node.shape[-1]
    bias = np.zeros(channels, np.int64)
    if len(operands) > 2 and operands[2].data is not None and operands[2].fix is not None:
        bias = effective_bias(np.broadcast_to(operands[2].data.reshape(-1), (channels,)),
                              operands[2].fix.pos, acc_pos, shift)
    return Sums(weights.data, bias, shift, node.attrs.nonlinear)


def _refusal(sums: Sums, node: Node, per_channel: int) -> str | None:
    """Why LiteRT would not be exact on these numbers; None if it is."""
    assert node.fix is not None
    limit = MAX_SHIFT_SIGNED if sums.nonlinear == "none" else MAX_SHIFT_RELU
    if not 0 <= sums.shift <= limit:
        return f"shift_cut {sums.shift} is outside 0..{limit}"
    if sums.nonlinear == "relu6" and node.fix.pos < 0:
        return f"relu6 at position {node.fix.pos} clips to a fraction"
    if sums.nonlinear not in ("none", "relu", "relu6"):
        return f"{sums.nonlinear} has no exact kernel"
    largest = 128 * 128 * per_channel + int(np.abs(sums.bias).max(initial=0)) + (128 << sums.shift)
    if largest >= 1 << 31:
        return "the accumulator may exceed 32 bits"
    return None


def _same_or_valid(x: Shape, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int],
                   padding: Padding) -> str | None:
    if not any(padding):
        return "VALID"
    return "SAME" if padding == same_padding((x[1], x[2]), kernel, stride, dilation) else None


class Segment:
    """One LiteRT model under construction: graph tensors by name."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.writer = ModelWriter()
        self.tensors: dict[str, int] = {}
        self.zero_points: dict[str, int] = {}

    def feature(self, node: Node, zero_point: int = 0) -> int:
        """The tensor of a feature map (or of the segment's input)."""
        assert node.fix is not None
        if node.name not in self.tensors:
            scale = np.array([2.0**-node.fix.pos], np.float32)
            self.zero_points[node.name] = zero_point
            self.tensors[node.name] = self.writer.tensor(node.name, node.shape, Quantization(scale, zero_point))
        return self.tensors[node.name]

    def padded(self, node: Node, attrs_padding: Padding, kind: str | None) -> tuple[int, str]:
        """The operand, explicitly padded with the integer 0 where LiteRT's own padding would differ."""
        source = self.feature(node)
        if kind == "VALID" or (kind == "SAME" and self.zero_points[node.name] == 0):
            return source, kind
        assert node.fix is not None
        top, bottom, left, right = attrs_padding
        n, h, w, c = node.shape
        quantization = Quantization(np.array([2.0**-node.fix.pos], np.float32), self.zero_points[node.name])
        pads = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
        name = f"{node.name}/padded_{len(self.writer.graph.tensors)}"
        output = self.writer.tensor(name, (n, h + top + bottom, w + left + right, c), quantization)
        amounts = self.writer.tensor(f"{name}/pads", (4, 2), None, np.int32, pads)
        value = self.writer.tensor(f"{name}/value", (1,), quantization, np.int8, np.zeros(1, np.int8))
        self.writer.pad(source, amounts, value, output)
        return output, "VALID"

    def parameters(self, name: str, sums: Sums, weights: Array, axis: int, x: Node, out: Node) -> list[int]:
        """Weight and bias tensors whose scales shift, nudge and compensate zero points."""
        assert x.fix is not None and out.fix is not None
        channels = weights.shape[axis]
        step = np.float32(2.0 ** (x.fix.pos - sums.shift - out.fix.pos)) * _NUDGE
        scale = np.full(channels, step, np.float32)
        others = tuple(at for at in range(weights.ndim) if at != axis)
        bias = sums.bias + self.zero_points[x.name] * weights.astype(np.int64).sum(axis=others)
        if sums.nonlinear == "none":
            bias = bias + (128 << sums.shift)
        kernel = self.writer.tensor(f"{name}/weights", weights.shape, Quantization(scale, 0, axis), np.int8, weights)
        bias_scale = scale * np.float32(2.0**-x.fix.pos)
        biases = self.writer.tensor(f"{name}/bias", (channels,), Quantization(bias_scale, 0, 0), np.int32,
                                    bias.astype(np.int32))
        return [kernel, biases]

    def output(self, node: Node, nonlinear: str) -> int:
        """The tensor that a layer writes."""
        return self.feature(node, _SIGNED_ZERO if nonlinear == "none" else 0)


def _activation(sums: Sums, node: Node) -> str:
    assert node.fix is not None
    if sums.nonlinear == "relu6" and node.fix.pos >= 5:  # 6 * 2**5 > 127: only saturation remains
        return "relu"
    return sums.nonlinear


Emit = Callable[[Segment], None]


def _conv(graph: Graph, node: Node) -> Emit | str:
    sums = _parameters(graph, node)
    if isinstance(sums, str):
        return sums
    attrs: ConvAttrs = node.attrs
    x = graph.operands(node)[0]
    if attrs.groups != 1:
        return "grouped convolution has no exact kernel yet"
    kh, kw, ic, _ = sums.weights.shape
    refusal = _refusal(sums, node, kh * kw * ic)
    if refusal:
        return refusal
    kind = _same_or_valid(x.shape, (kh, kw), attrs.stride, attrs.dilation, attrs.padding)

    def emit(segment: Segment) -> None:
        source, padding = segment.padded(x, attrs.padding, kind)
        ohwi = np.ascontiguousarray(sums.weights.transpose(3, 0, 1, 2))
        parameters = segment.parameters(node.name, sums, ohwi, 0, x, node)
        segment.writer.conv2d([source, *parameters], segment.output(node, sums.nonlinear), attrs.stride,
                              attrs.dilation, padding, _activation(sums, node))
    return emit


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
        parameters = segment.parameters(node.name, sums, flat, 3, x, node)
        segment.writer.depthwise([source, *parameters], segment.output(node, sums.nonlinear), attrs.stride,
                                 attrs.dilation, padding, _activation(sums, node), multiplier)
    return emit


def _depthwise(graph: Graph, node: Node) -> Emit | str:
    sums = _parameters(graph, node)
    if isinstance(sums, str):
        return sums
    return _depthwise_sums(node, graph.operands(node)[0], sums, node.attrs)


def _dense(graph: Graph, node: Node) -> Emit | str:
    sums = _parameters(graph, node)
    if isinstance(sums, str):
        return sums
    x = graph.operands(node)[0]
    refusal = _refusal(sums, node, sums.weights.shape[0])
    if refusal:
        return refusal

    def emit(segment: Segment) -> None:
        matrix = np.ascontiguousarray(sums.weights.transpose(1, 0))
        parameters = segment.parameters(node.name, sums, matrix, 0, x, node)
        segment.writer.fully_connected([segment.feature(x), *parameters], segment.output(node, sums.nonlinear),
                                       _activation(sums, node))
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
    if kind is None:
        return "its padding is neither SAME nor VALID"

    def emit(segment: Segment) -> None:
        source = segment.feature(x)
        target = segment.feature(node, segment.zero_points[x.name])
        segment.writer.max_pool(source, target, attrs.kernel, attrs.stride, kind)
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


LAYERS: Mapping[str, Callable[[Graph, Node], Emit | str]] = {
    "conv2d": _conv,
    "depthwise_conv2d": _depthwise,
    "dense": _dense,
    "avg_pool": _avg_pool,
    "mean": _mean,
    "max_pool": _max_pool,
    "reshape": _reshape,
}


def plan_layer(graph: Graph, node: Node) -> Emit | str:
    """How to add a node to a segment, or the reason why LiteRT cannot compute it exactly."""
    if node.fix is None or any(operand.fix is None for operand in graph.operands(node)):
        return "it computes in float"
    if node.fix.bits != 8 or any(o.fix is not None and o.fix.bits != 8 for o in graph.operands(node)):
        return "it is not 8 bits wide"
    if node.op not in LAYERS:
        return f"{node.op} has no exact kernel yet"
    return LAYERS[node.op](graph, node)
