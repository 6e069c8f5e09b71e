"""The reference engine: the operators' fixed-point kernels, one after the other, in NumPy.

Integers throughout, int64 accumulators, one rounding per operator (arithmetic specification).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from dpuedge import fixed
from dpuflow.engines.base import Engine
from dpuflow.ir.graph import Array, Graph, Node
from dpuflow.ops import Fixed, get_op
from dpuflow.ops.activation import nonlinear_requantize


def fixed_operands(graph: Graph, node: Node, values: Mapping[str, Array]) -> list[Fixed]:
    """A quantized node's operands with their positions."""
    operands = ((values[name], graph.by_name[name].fix) for name in node.inputs)
    return [Fixed(value, fix.pos) for value, fix in operands if fix]


def compute_node(graph: Graph, node: Node, values: Mapping[str, Array]) -> Array:
    """One node's value: int8 if it has a position, else float32."""
    op = get_op(node.op)
    if node.fix is not None and op.fixed is not None:
        return op.fixed(fixed_operands(graph, node, values), node.attrs, node.fix)
    operands = [(values[name], graph.by_name[name].fix) for name in node.inputs]
    if node.op == "float2fix" and node.fix is not None:
        return fixed.quantize(operands[0][0], node.fix.pos, "half_up", node.fix.bits)
    floats = [fixed.dequantize(value, fix.pos) if fix else value for value, fix in operands]
    return op.float_(floats, node.attrs)


ACCUMULATOR_LIMIT = 1 << 23  # a 24-bit accumulator's: silicon's width is not documented (section 3)


class ReferenceEngine(Engine):
    """Slow and plain; the other engines are measured against it.

    ``watch``: keep the largest absolute accumulator of every layer with weights in
    ``largest_accumulators``, in units of the sum of products, and warn above 2**23.
    """

    name = "reference"

    def __init__(self, graph: Graph, watch: bool = False) -> None:
        super().__init__(graph)
        self.watch = watch
        self.largest_accumulators: dict[str, int] = {}

    @property
    def description(self) -> str:
        """What computes which layer."""
        return "reference: NumPy, integer arithmetic"

    def compute(self, values: dict[str, Array], wanted: tuple[str, ...]) -> Mapping[str, Array]:
        """Every node in order; tensors that nobody needs any more are freed."""
        last = {name: node.name for node in self.graph.nodes for name in node.inputs}
        for node in self.graph.nodes:
            if node.op == "input":
                continue
            values[node.name] = node.data if node.data is not None else self._computed(node, values)
            for name in node.inputs:
                if last[name] == node.name and name not in wanted:
                    values.pop(name, None)
        return values

    def _computed(self, node: Node, values: Mapping[str, Array]) -> Array:
        accumulate = get_op(node.op).accumulate
        if not self.watch or accumulate is None or node.fix is None:
            return compute_node(self.graph, node, values)
        operands = fixed_operands(self.graph, node, values)
        acc, pos = accumulate(operands, node.attrs)
        self._note(node, int(np.max(np.abs(acc))), pos - operands[0].pos - operands[1].pos)
        return nonlinear_requantize(acc, pos, node.attrs.nonlinear, node.fix)

    def _note(self, node: Node, largest: int, fraction_bits: int) -> None:
        largest //= 2**fraction_bits
        before = self.largest_accumulators.get(node.name, 0)
        self.largest_accumulators[node.name] = max(before, largest)
        if before <= ACCUMULATOR_LIMIT < largest:
            warnings.warn(f"{node.layer}: an accumulator of {largest} is above 2**23; the emulator is exact there, the "
                          "accumulator width of silicon is not known", stacklevel=4)
