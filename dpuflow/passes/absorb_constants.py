"""fix(const) -> int8 const: weights and biases become the integers that the DPU stores.

    w: float32 = const            w: int8@7 = const
    w/wquant = fix(w) pos=7   ->
"""

from __future__ import annotations

import numpy as np

from dpuedge import fixed
from dpuflow.errors import GraphError
from dpuflow.ir.graph import Fix, Graph, Node, const, rebuild


def _integers(node: Node, attrs: object) -> Node:
    pos, bits, rounding = (getattr(attrs, key) for key in ("pos", "bits", "rounding"))
    assert node.data is not None
    if not np.isfinite(node.data).all():
        raise GraphError("a constant holds NaN or infinite values", where=f"node '{node.name}'",
                         remedy="look at the training that made it")
    if pos == fixed.ALL_ZERO_POS:
        # The quantizer's mark for all zeros: zero at any position (arithmetic specification, 1).
        return const(node.name, np.zeros(node.shape, np.int8), Fix(0, bits))
    return const(node.name, fixed.quantize(node.data, pos, rounding, bits), Fix(pos, bits))


def absorb_constant_fixes(graph: Graph) -> Graph:
    """Quantize each constant that a fix node reads; every reader gets the integers."""
    replaced: dict[str, Node | None] = {}
    rename: dict[str, str] = {}
    for node in graph.nodes:
        if node.op == "fix" and graph.by_name[node.inputs[0]].op == "const":
            source = node.inputs[0]
            made = _integers(graph.by_name[source], node.attrs)
            if set(graph.users[source]) == {node.name} and source not in graph.outputs:
                replaced[source], replaced[node.name] = made, None
                rename[node.name] = source
            else:
                replaced[node.name] = made.replace(name=node.name)
    return rebuild(graph, replaced, rename)
