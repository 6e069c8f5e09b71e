"""One LiteRT model under construction: layers as weighted sums, feature maps with their zero points.

Bytes of a feature map are always the DPU's integers; a zero point only tells LiteRT what they stand for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dpuflow.engines.litert.model import ModelWriter, Quantization
from dpuflow.engines.weighted_sums import Sums
from dpuflow.ir.graph import Array, Node, Shape
from dpuflow.ops.activation import LEAKY_FACTOR, LEAKY_SHIFT
from dpuflow.ops.base import Padding

_NUDGE = np.float32(1 + 2.0**-23)
_LEAKY_FACTOR = np.nextafter(np.float32(LEAKY_FACTOR / 2**LEAKY_SHIFT), np.float32(0))
_SIGNED_ZERO = -128  # the zero point that keeps a signed output's accumulator from being negative
_NEGATIVE_ZERO = 127  # the zero point that leaves no room for positive values


def _activation(sums: Sums, node: Node) -> str:
    assert node.fix is not None
    if sums.nonlinear == "relu6" and node.fix.pos >= 5:  # 6 * 2**5 > 127: only saturation remains
        return "relu"
    return sums.nonlinear


def _quantization(node: Node, zero_point: int = 0) -> Quantization:
    """One step of the map's position."""
    assert node.fix is not None
    return Quantization(np.array([2.0**-node.fix.pos], np.float32), zero_point)


Call = Callable[[list[int], int, str], None]  # weights and bias, output tensor, activation


class Segment:
    """One LiteRT model under construction: graph tensors by name."""

    def __init__(self) -> None:
        self.writer = ModelWriter()
        self.tensors: dict[str, int] = {}
        self.zero_points: dict[str, int] = {}

    def feature(self, node: Node, zero_point: int = 0) -> int:
        """The tensor of a feature map (or of the segment's input)."""
        if node.name not in self.tensors:
            self.zero_points[node.name] = zero_point
            self.tensors[node.name] = self.extra(node.name, node, node.shape, zero_point)
        return self.tensors[node.name]

    def extra(self, name: str, like: Node, shape: Shape, zero_point: int) -> int:
        """A further tensor at a feature map's position."""
        return self.writer.tensor(name, shape, _quantization(like, zero_point))

    def plain(self, node: Node) -> int:
        """The operand at zero point 0: one at -128 has 128 taken off what LiteRT takes it for, its bytes stay."""
        source = self.feature(node)
        if self.zero_points[node.name] == 0:
            return source
        name = f"{node.name}/plain_{len(self.writer.tensors)}"
        offset = self.writer.tensor(f"{name}/offset", (1,), _quantization(node), np.int8,
                                    np.full(1, _SIGNED_ZERO, np.int8))
        moved = self.extra(name, node, node.shape, 0)
        self.writer.add(source, offset, moved, "none")
        return moved

    def padded(self, node: Node, attrs_padding: Padding, kind: str | None, fill: int = 0) -> tuple[int, str]:
        """The operand, explicitly padded with the integer ``fill`` where LiteRT's own padding would differ."""
        source = self.feature(node)
        if kind == "VALID" or (kind == "SAME" and self.zero_points[node.name] == fill):
            return source, kind
        top, bottom, left, right = attrs_padding
        n, h, w, c = node.shape
        quantization = _quantization(node, self.zero_points[node.name])
        pads = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
        name = f"{node.name}/padded_{len(self.writer.tensors)}"
        output = self.writer.tensor(name, (n, h + top + bottom, w + left + right, c), quantization)
        amounts = self.writer.tensor(f"{name}/pads", (4, 2), None, np.int32, pads)
        value = self.writer.tensor(f"{name}/value", (1,), quantization, np.int8, np.full(1, fill, np.int8))
        self.writer.pad(source, amounts, value, output)
        return output, "VALID"

    def weighted(self, node: Node, x: Node, sums: Sums, weights: Array, axis: int, call: Call) -> None:
        """The layer's tensor by ``call``, which adds the operator; ``weights``: as LiteRT wants them."""
        if sums.nonlinear != "leaky_relu":
            parameters = self.parameters(node.name, sums, weights, axis, x, node, _NUDGE)
            target = self.feature(node, _SIGNED_ZERO if sums.nonlinear == "none" else 0)
            call(parameters, target, _activation(sums, node))
            return
        parts = []
        for name, factor, zero in (("positive", _NUDGE, _SIGNED_ZERO), ("negative", _LEAKY_FACTOR, _NEGATIVE_ZERO)):
            parts.append(self.extra(f"{node.name}/{name}", node, node.shape, zero))
            call(self.parameters(f"{node.name}/{name}", sums, weights, axis, x, node, factor), parts[-1], "none")
        self.writer.add(parts[0], parts[1], self.feature(node), "none")

    def parameters(self, name: str, sums: Sums, weights: Array, axis: int, x: Node, out: Node,
                   factor: np.float32) -> list[int]:
        """Weight and bias tensors whose scales shift, nudge and compensate zero points."""
        assert x.fix is not None and out.fix is not None
        channels = weights.shape[axis]
        step = np.float32(2.0 ** (x.fix.pos - sums.shift - out.fix.pos)) * factor
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
