"""One OpenVINO network under construction: the DPU's integers as float32, channels first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import openvino
from openvino import opset15

from dpuflow.engines.openvino.bounds import PAIR
from dpuflow.ir.graph import Array, Node
from dpuflow.ops.activation import LEAKY_FACTOR, LEAKY_SHIFT

_LEAKY_SLOPE = np.float32(LEAKY_FACTOR / 2**LEAKY_SHIFT)
_LEAKY_LEAST = np.float32(-math.ceil(128.05 / _LEAKY_SLOPE))  # anything below becomes -128 too
_CHANNELS_AT_ONCE = 4  # input channels that kernels for bytes take together, however few there are


@dataclass(frozen=True)
class Kernel:
    """int8 weights as OpenVINO wants them, and the power of two that scales them.

    ``pair``: the largest sum of two weights of one sign of one output channel, of either sign. ``parted``: a signed
    map may come as two positive ones, side by side as input channels.
    """

    weights: Array
    factor: float
    pair: int
    parted: bool = False


class Network:
    """Graph tensors by name, for one size of batch.

    ``signed``: every map is bytes, whatever it holds. ``room``: maps of bytes reach so far below zero (short of it),
    and ``least`` is to be looked at: the least number of each map that might have reached further.
    ``bytes``: the maps that are bytes without ``signed``; ``positive``: those that hold 0..127 only.
    """

    op = opset15

    def __init__(self, batch: int, signed: bool, room: int = 0) -> None:
        self.batch, self.signed, self.room = batch, signed, room
        self.tensors: dict[str, Any] = {}
        self.wide: dict[str, Any] = {}  # maps of -128..127 said to be bytes
        self.bytes: set[str] = set()
        self.positive: set[str] = set()
        self.least: list[Any] = []
        self.parameters: list[Any] = []

    def feed(self, node: Node, fits: bool) -> None:
        """An int8 input; ``fits``: it holds no number below zero, or none that reaches ``room``."""
        made = self.op.parameter([self.batch, *node.shape[1:]], np.int8, name=node.name)
        self.parameters.append(made)
        first = self.channels_first(self.op.convert(made, "f32"), node)
        self.tensors[node.name] = self._said(first) if fits and not self.signed else self.said_signed(first)
        self.bytes |= {node.name} if fits else set()
        self.positive |= {node.name} if fits and not self.room else set()

    def keep(self, node: Node, tensor: Any) -> None:
        """A map whose numbers are its operands', put elsewhere."""
        self.tensors[node.name] = tensor
        for kind in (self.bytes, self.positive):
            kind |= {node.name} if kind.issuperset(node.inputs) else set()

    def operand(self, x: str, kernel: Kernel) -> tuple[Any, Any]:
        """A map and its scaled weights, both as bytes where that is exact on every CPU, or with ``signed``."""
        weights, factor = kernel.weights, kernel.factor
        if self.signed or (x in self.bytes and (127 + self.room) * kernel.pair <= PAIR):
            return self.tensors[x], self._byte_weights(weights, factor)
        few = kernel.parted and 2 * weights.shape[1] <= _CHANNELS_AT_ONCE and weights.min() > -128
        if few and not self.room:
            return self._parted(x), self._byte_weights(np.concatenate([weights, -weights], 1), factor)
        if 255 * kernel.pair <= PAIR:
            return self._wide(x), self._byte_weights(weights, factor)
        return self.tensors[x], self.op.constant(weights * np.float32(factor))

    def _wide(self, x: str) -> Any:
        if x not in self.wide:
            self.wide[x] = self._said(self.tensors[x], 128)
        return self.wide[x]

    def _byte_weights(self, weights: Array, factor: float) -> Any:
        return self.op.multiply(self.op.convert(self.op.constant(weights), "f32"), np.float32(factor))

    def _parted(self, x: str) -> Any:
        """What of a map lies above zero, and what below, its sign turned: up to 128, times 2 * 127 still 16 bits."""
        tensor = self.tensors[x]
        below = self.op.clamp(self.op.multiply(tensor, np.float32(-1)), 0.0, 128.0)
        return self.op.concat([self._said(self.op.clamp(tensor, 0.0, 127.0)), self._said(below)], 1)

    def as_bytes(self, tensor: Any) -> Any:
        """Onto 0..127, rounded and said to be bytes."""
        clipped = self.op.clamp(tensor, 0.0, 127.0)
        return self.as_signed(clipped) if self.signed else self._said(clipped)

    def as_signed(self, tensor: Any) -> Any:
        """Onto -128..127, rounded; said to be bytes only with ``signed``."""
        return self.said_signed(self.op.round(self.op.clamp(tensor, -128.0, 127.0), "half_to_even"))

    def said_signed(self, whole: Any) -> Any:
        """Integers of -128..127, said to be bytes only with ``signed``."""
        return self._said(whole, 128) if self.signed else whole

    def watched(self, whole: Any) -> Any:
        """Integers that seldom reach ``room``, said to be bytes."""
        if self.signed or not self.room:
            return self.said_signed(whole)
        said = self._said(whole)
        self.least.append(self.op.reduce_min(said, np.arange(len(whole.shape))))
        return said

    def _said(self, tensor: Any, room: int | None = None) -> Any:
        """One range for all maps of a network that may meet: OpenVINO would align several, and lose bits.

        Said of numbers that may be negative, it was seen to lose ties: those are rounded before.
        """
        below = self.room if room is None else room
        ends = (np.float32(-below), np.float32(255 - below))
        return self.op.fake_quantize(tensor, *ends, *ends, 256)

    def finish(self, node: Node, sums: Any, bias: Array, shift: int, nonlinear: str) -> None:
        """Bias, nonlinearity, one rounding half up and saturation of sums already shifted."""
        assert node.fix is not None
        half = 0.5 if shift > 0 and nonlinear != "leaky_relu" else 0.0
        offset = ((bias + half) * 2.0**-shift).astype(np.float32)
        if offset.any():
            sums = self.op.add(sums, offset.reshape(1, -1, 1, 1) if offset.size > 1 else offset.reshape(()))
        made = self.activated(node, sums, nonlinear)
        self.tensors[node.name] = made if len(node.shape) == 4 else self.reshaped(made, (0, -1))
        self.positive |= {node.name} if nonlinear in ("relu", "relu6") else set()
        self.bytes |= {node.name} if nonlinear != "none" and (self.room or nonlinear != "leaky_relu") else set()

    def activated(self, node: Node, value: Any, nonlinear: str) -> Any:
        """Values of which none lies on a tie (leaky ReLU: any) onto the integers."""
        assert node.fix is not None
        if nonlinear == "relu":
            return self.as_bytes(value)
        if nonlinear == "relu6":
            return self.as_bytes(self.op.clamp(value, 0.0, min(6.0 * 2**node.fix.pos, 127.0)))
        if nonlinear == "leaky_relu":
            bent = self.op.prelu(self.op.clamp(value, float(_LEAKY_LEAST), 127.0), _LEAKY_SLOPE.reshape(1))
            whole = self.op.floor(self.op.add(bent, np.float32(0.5)))
            return self.watched(whole)
        return self.as_signed(value)

    def reshaped(self, tensor: Any, shape: Sequence[int]) -> Any:
        """Another shape; 0 keeps an axis."""
        return self.op.reshape(tensor, np.array(shape, np.int64), 0 in shape)

    def picked(self, tensor: Any, stride: tuple[int, int]) -> Any:
        """Every so many pixels, from the first."""
        return self.op.max_pool(tensor, list(stride), [1, 1], [0, 0], [0, 0], [1, 1]).output(0)

    def repeated(self, tensor: Any, factors: tuple[int, int]) -> Any:
        """Every pixel several times, down and across."""
        return self.op.interpolate(tensor, np.array(factors, np.float32), "nearest", "scales", np.zeros(4, np.int64),
                                   np.zeros(4, np.int64), "asymmetric", "floor", axes=np.array([2, 3]))

    def channels_first(self, tensor: Any, node: Node) -> Any:
        """NHWC as NCHW; other ranks as they are."""
        return self.op.transpose(tensor, np.array([0, 3, 1, 2])) if len(node.shape) == 4 else tensor

    def channels_last(self, tensor: Any, node: Node) -> Any:
        """NCHW as NHWC; other ranks as they are."""
        return self.op.transpose(tensor, np.array([0, 2, 3, 1])) if len(node.shape) == 4 else tensor

    def compile(self, outputs: Sequence[Node], threads: int) -> Any:
        """Ready to run; outputs as int8, channels last, and the least of ``least``, if any."""
        results = [self.op.convert(self.channels_last(self.tensors[node.name], node), "i8") for node in outputs]
        results += [reduce(self.op.minimum, self.least)] if self.least else []
        model = openvino.Model(results, self.parameters, "part")
        core = openvino.Core()
        return core.compile_model(model, "CPU", {
            "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0, "ENABLE_CPU_PINNING": False})
