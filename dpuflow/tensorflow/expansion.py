"""The nodes that stand for one FixNeuron: rounding and clamping from operators that every TensorFlow release has."""

from __future__ import annotations

import numpy as np

from dpuflow.formats.graphdef import TFNode, const_node, new_node
from dpuflow.formats.tf_values import BOOL, FLOAT


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
