"""FixNeurons that train (phase 2) or calibrate (phase 0) as standard TensorFlow operators.

Each finds the position of what it receives, quantizes with it and passes the gradient straight through
(quantizer specification, section 4). Beside it stand ``<fix>/found_position``, the position of this
step, and ``<fix>/bit_width``, for :func:`dpuflow.tensorflow.training.leave_positions`.
"""

from __future__ import annotations

import math

import numpy as np

from dpuedge import fixed
from dpuflow.formats.graphdef import TFNode, const_node, new_node
from dpuflow.formats.tf_values import FLOAT, DType
from dpuflow.quant.position import CANDIDATES
from dpuflow.tensorflow.expansion import Expansion

FOUND, WIDTH = "found_position", "bit_width"
_INT, _DOUBLE, _INT64 = DType(3), DType(2), DType(9)
_EXPONENT_BIAS, _EXPONENT_UNIT = 127, 1 << 23  # of a float32's bits


class _Training(Expansion):
    """The nodes of one FixNeuron that finds its own position."""

    def __init__(self, fix: TFNode) -> None:
        super().__init__(fix)
        self.x, self.mode, self.method = fix.inputs[0], fix.get("mode", 1), fix.get("method", 1)
        self.bits = int(fix.get("bit_width", 8))

    def constant(self, value: object) -> str:
        name = f"{self.name}/const_{len(self.nodes)}"
        self.nodes.append(const_node(name, np.asarray(value)))
        return name

    def cast(self, x: str, source: DType, target: DType) -> str:
        name = f"{self.name}/cast_{len(self.nodes)}"
        self.nodes.append(new_node(name, "Cast", (x,), SrcT=source, DstT=target))
        return name

    def over_all(self, op: str, x: str, kind: DType = FLOAT) -> str:
        """A reduction over every axis of a flat tensor."""
        return self.add(op, x, self.constant(np.int32(0)), T=kind, Tidx=_INT, keep_dims=False)

    def power_of_two(self, exponent: str) -> str:
        """2**exponent, exact: the exponent's bits as a float32."""
        whole = self.cast(exponent, FLOAT, _INT)
        shifted = self.add("Add", whole, self.constant(np.int32(_EXPONENT_BIAS)), T=_INT)
        bits = self.add("Mul", shifted, self.constant(np.int32(_EXPONENT_UNIT)), T=_INT)
        return self.add("Bitcast", bits, T=_INT, type=FLOAT)

    def scale(self, flat: str) -> str:
        """The step at which the range just does not overflow, 0 for a tensor of zeros."""
        low, high = (bound - 0.5 for bound in (-(2.0 ** (self.bits - 1)), 2.0 ** (self.bits - 1)))
        return self.add("Maximum", self.add("RealDiv", self.over_all("Min", flat), self.number(low)),
                        self.add("RealDiv", self.over_all("Max", flat), self.number(high)))

    def overflow_position(self, scale: str, zero: str) -> str:
        """The largest position without overflow: the logarithm in double, rounded to float32 before the floor."""
        ratio = self.add("RealDiv", self.number(1), self.add("Select", zero, self.number(1), scale))
        log = self.add("Log", self.cast(ratio, FLOAT, _DOUBLE), T=_DOUBLE)
        base2 = self.add("RealDiv", log, self.constant(np.float64(math.log(2))), T=_DOUBLE)
        return self.add("Floor", self.cast(base2, _DOUBLE, FLOAT))

    def quantize(self, x: str, position: str) -> str:
        """``x`` on the grid of a position."""
        scaled = self.add("Mul", x, self.power_of_two(position))
        rounded = self.half_up(scaled) if self.mode == 1 else self.half_away(scaled)
        low, high = fixed.int_range(self.bits)
        return self.add("Mul", self.clamp(rounded, low, high), self.power_of_two(self.add("Neg", position)))

    def error(self, flat: str, position: str) -> str:
        """What a position costs: squares, or the relative metric of depthwise weights with method 2."""
        moved = self.cast(self.add("Sub", self.quantize(flat, position), flat), FLOAT, _DOUBLE)
        if self.method != 2 or self.mode != 2:
            return self.over_all("Sum", self.add("Square", moved, T=_DOUBLE), _DOUBLE)
        size = self.cast(self.add("Abs", flat), FLOAT, _DOUBLE)
        share = self.add("RealDiv", self.add("Abs", moved, T=_DOUBLE),
                         self.add("Add", size, self.constant(np.float64(1e-9)), T=_DOUBLE), T=_DOUBLE)
        return self.over_all("Sum", self.add("Sqrt", share, T=_DOUBLE), _DOUBLE)

    def position(self, flat: str, first: str) -> str:
        """The position of this step, float32; the smallest of equals."""
        if self.method == 0:
            return first
        tried = [self.add("Add", first, self.number(step)) for step in range(CANDIDATES)]
        errors = self.add("Pack", *(self.error(flat, pos) for pos in tried), T=_DOUBLE, N=CANDIDATES, axis=0)
        best = self.add("ArgMin", errors, self.constant(np.int32(0)), T=_DOUBLE, Tidx=_INT, output_type=_INT64)
        return self.add("Add", first, self.cast(best, _INT64, FLOAT))

    def straight_through(self, quantized: str) -> TFNode:
        """The quantized value with the gradient of ``x``: x - x is 0 exactly."""
        still = self.add("StopGradient", quantized)
        nothing = self.add("Sub", self.x, self.add("StopGradient", self.x))
        return new_node(self.name, "Add", (still, nothing), T=FLOAT)


def training_expansion(fix: TFNode) -> list[TFNode]:
    """The nodes of a FixNeuron in phase 0 or 2; the last keeps its name."""
    made = _Training(fix)
    flat = made.add("Reshape", made.x, made.constant(np.array([-1], np.int32)), Tshape=_INT)
    scale = made.scale(flat)
    zero = made.add("Equal", scale, made.number(0))
    position = made.position(flat, made.overflow_position(scale, zero))
    last = made.straight_through(made.quantize(made.x, position))
    seen = made.add("Select", zero, made.number(fixed.ALL_ZERO_POS), position)
    found = new_node(f"{fix.name}/{FOUND}", "Cast", (seen,), SrcT=FLOAT, DstT=_INT)
    return [*made.nodes, found, const_node(f"{fix.name}/{WIDTH}", np.int32(made.bits)), last]
