"""What integers OpenVINO's kernels hold exactly: 24 bits as float32, sums of two products in 16 bits as bytes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dpuflow.engines.weighted_sums import Sums
from dpuflow.ir.graph import Array, Graph, Node

MAX_SHIFTS = {"none": 15, "relu": 16, "relu6": 16, "leaky_relu": 10}
EXACT = 1 << 24  # float32 holds every integer up to it
SPREAD = 15  # binary places between a sum's operands that float32 holds
PAIR = (1 << 15) - 1  # what the sum of two products may reach in kernels of CPUs without dot products
_KEPT = ("max_pool", "reshape", "concat", "resize_nearest", "avg_pool", "mean")


def nonnegative_maps(graph: Graph) -> frozenset[str]:
    """The tensors that cannot hold a negative number."""
    found: set[str] = set()
    for node in graph.nodes:
        kept = node.op in _KEPT and all(name in found for name in node.inputs)
        if kept or getattr(node.attrs, "nonlinear", "none") in ("relu", "relu6") or node.op in ("relu", "relu6"):
            found.add(node.name)
    return frozenset(found)


def _reach(weights: Array, low: int) -> int:
    """The largest partial sum, of either sign, of a row of weights times integers from ``low`` to 127."""
    up, down = np.maximum(weights, 0).sum(1, np.int64), -np.minimum(weights, 0).sum(1, np.int64)
    return int(np.maximum(127 * up - low * down, 127 * down - low * up).max(initial=0))


def largest_pair(rows: Array) -> int:
    """The largest sum of two weights of one sign in a row, of either sign."""
    return max(int(_two_ends(rows, np.argmax).max()), -int(_two_ends(rows, np.argmin).min()))


def _two_ends(rows: Array, find: Callable[..., Array]) -> Array:
    """The sum of the two outermost weights of each row, as many of them as have the wanted sign."""
    at = find(rows, axis=1)[:, None]
    rest = rows.copy()
    np.put_along_axis(rest, at, 0, 1)
    second = np.take_along_axis(rest, find(rest, axis=1)[:, None], 1)
    ends: Array = np.add(np.take_along_axis(rows, at, 1), second, dtype=np.int64)
    return ends


def refusal(rows: Array, sums: Sums, node: Node, low: int) -> str | None:
    """Why float32 would not be exact on these numbers; None if it is."""
    assert node.fix is not None
    if sums.nonlinear not in MAX_SHIFTS:
        return f"{sums.nonlinear} has no exact kernel"
    limit = MAX_SHIFTS[sums.nonlinear]
    if not 0 <= sums.shift <= limit:
        return f"shift_cut {sums.shift} is outside 0..{limit} for {sums.nonlinear}"
    if sums.nonlinear == "relu6" and node.fix.pos < 0:
        return f"relu6 at position {node.fix.pos} clips to a fraction"
    if _reach(rows, low) > EXACT or int(np.abs(sums.bias).max(initial=0)) >= EXACT // 2:
        return "its sums may exceed 24 bits"
    return None
