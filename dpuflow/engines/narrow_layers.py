"""Layers that the fast engine computes in NumPy with the narrowest integers that hold them, bit for bit.

What is not here runs on the reference kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.ir.graph import Array, Graph, Node

Compute = Callable[[Mapping[str, Any]], Array]


def _add(graph: Graph, node: Node) -> Compute | None:
    """A sum of int8 maps of one shape (arithmetic specification, section 7.1)."""
    operands = graph.operands(node)
    if node.attrs.nonlinear not in ("none", "relu") or any(one.shape != node.shape for one in operands):
        return None
    positions = [one.fix.pos for one in operands if one.fix and one.fix.bits == 8]
    if len(positions) != len(operands) or node.fix is None or node.fix.bits != 8:
        return None
    finest, relu, names = max(positions), node.attrs.nonlinear == "relu", node.inputs
    ups, down = [finest - pos for pos in positions], finest - node.fix.pos
    zeros = [np.zeros(1, np.int8)] * len(ups)
    if max(*ups, abs(down)) > _MOST_SHIFT or fixed.narrow_sum(zeros, ups, down, relu) is None:
        return None
    return lambda values: np.asarray(fixed.narrow_sum([values[name] for name in names], ups, down, relu))


def _concat(graph: Graph, node: Node) -> Compute | None:
    """Maps of the result's own position are only put side by side."""
    if node.fix is None or any(one.fix != node.fix or one.data is not None for one in graph.operands(node)):
        return None
    names, axis = node.inputs, node.attrs.axis
    return lambda values: np.concatenate([values[name] for name in names], axis=axis)


_MOST_SHIFT = 30
_LAYERS: Mapping[str, Callable[[Graph, Node], Compute | None]] = {"add": _add, "concat": _concat}


def narrow_layer(graph: Graph, node: Node) -> Compute | None:
    """A function from the values to the layer's result; None if the reference kernel must compute it."""
    return _LAYERS[node.op](graph, node) if node.op in _LAYERS else None
