"""FixNeurons as standard TensorFlow operators, bit for bit.

    scaled = x * 2**pos, rounded to the nearest even; a tie shows as a difference of one half
    half up:   nearest + (scaled - nearest == 1/2)
    half away: the same on |scaled|, with the sign put back; a zero keeps its sign
    then NaN becomes the lower bound, both bounds, times 2**-pos

Quantizer specification, section 4; arithmetic specification, section 2. Only operators that exist
in every release since 1.0 are used.
"""

from __future__ import annotations

import numpy as np

from dpuedge import fixed
from dpuflow.errors import QuantizeError
from dpuflow.formats.graphdef import TFGraph, TFNode, const_node, new_node
from dpuflow.formats.tf_values import BOOL, FLOAT

EVALUATION = 1  # FixNeuron phase: quantize with the given position


class Expansion:
    """The nodes of one FixNeuron; every one is named under it."""

    def __init__(self, fix: TFNode) -> None:
        self.name = fix.name
        self.nodes: list[TFNode] = []

    def add(self, op: str, *operands: str, **attrs: object) -> str:
        name = f"{self.name}/{op.lower()}_{len(self.nodes)}"
        self.nodes.append(new_node(name, op, operands, **{"T": FLOAT, **attrs}))
        return name

    def number(self, value: float) -> str:
        name = f"{self.name}/const_{len(self.nodes)}"
        self.nodes.append(const_node(name, np.array(value, np.float32)))
        return name

    def half_up(self, x: str) -> str:
        nearest = self.add("Rint", x)
        tie = self.add("Equal", self.add("Sub", x, nearest), self.number(0.5))
        return self.add("Add", nearest, self._cast(tie))

    def half_away(self, x: str) -> str:
        size = self.half_up(self.add("Abs", x))
        signed = self.add("Select", self.add("Less", x, self.number(0)), self.add("Neg", size), size)
        return self.add("Select", self.add("Equal", x, self.number(0)), x, signed)

    def _cast(self, flag: str) -> str:
        name = f"{self.name}/cast_{len(self.nodes)}"
        self.nodes.append(new_node(name, "Cast", (flag,), SrcT=BOOL, DstT=FLOAT))
        return name

    def clamp(self, x: str, low: float, high: float) -> str:
        bound = self.number(low)
        lowest = self.add("Add", self.add("ZerosLike", x), bound)
        inside = self.add("Select", self.add("GreaterEqual", x, bound), x, lowest)
        return self.add("Minimum", inside, self.number(high))


def expansion(fix: TFNode) -> list[TFNode]:
    """The nodes that compute what a FixNeuron computes in its evaluation phase; the last keeps its name."""
    pos, bits, mode = fix.get("quantize_pos"), fix.get("bit_width"), fix.get("mode", 1)
    if not isinstance(pos, int) or not isinstance(bits, int):
        raise QuantizeError("a FixNeuron without position or width", where=f"node '{fix.name}'",
                            remedy="use the evaluation graph of `decent_q quantize`")
    if pos == fixed.ALL_ZERO_POS:
        return [new_node(fix.name, "ZerosLike", fix.inputs, T=FLOAT)]
    made = Expansion(fix)
    scaled = made.add("Mul", fix.inputs[0], made.number(2.0**pos))
    rounded = made.half_up(scaled) if mode == 1 else made.half_away(scaled)
    low, high = fixed.int_range(bits)
    clamped = made.clamp(rounded, low, high)
    back = made.number(2.0**-pos)
    return [*made.nodes, new_node(fix.name, "Mul", (clamped, back), T=FLOAT)]


def expand_fix_neurons(graph: TFGraph) -> TFGraph:
    """A graph that TensorFlow loads as it is, with the same names and the same values."""
    from dpuflow.tensorflow.expand_training import training_expansion

    def expanded(fix: TFNode) -> list[TFNode]:
        return expansion(fix) if fix.get("phase", EVALUATION) == EVALUATION else training_expansion(fix)

    nodes: list[TFNode] = []
    for node in graph.nodes:
        nodes.extend(expanded(node) if node.op == "FixNeuron" else (node,))
    return graph.replace(nodes)
