"""The reference engine: the operators' fixed-point kernels, one after the other, in NumPy.

Integers throughout, int64 accumulators, one rounding per operator (arithmetic specification).
"""

from __future__ import annotations

from collections.abc import Mapping

from dpuedge import fixed
from dpuflow.engines.base import Engine
from dpuflow.ir.graph import Array, Graph, Node
from dpuflow.ops import Fixed, get_op


def compute_node(graph: Graph, node: Node, values: Mapping[str, Array]) -> Array:
    """One node's value: int8 if it has a position, else float32."""
    op = get_op(node.op)
    operands = [(values[name], graph.by_name[name].fix) for name in node.inputs]
    if node.fix is not None and op.fixed is not None:
        return op.fixed([Fixed(value, fix.pos) for value, fix in operands if fix], node.attrs, node.fix)
    if node.op == "float2fix" and node.fix is not None:
        return fixed.quantize(operands[0][0], node.fix.pos, "half_up", node.fix.bits)
    floats = [fixed.dequantize(value, fix.pos) if fix else value for value, fix in operands]
    return op.float_(floats, node.attrs)


class ReferenceEngine(Engine):
    """Slow and plain; the other engines are measured against it."""

    name = "reference"

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
            values[node.name] = node.data if node.data is not None else compute_node(self.graph, node, values)
            for name in node.inputs:
                if last[name] == node.name and name not in wanted:
                    values.pop(name, None)
        return values
