"""The cheapest cut between two nodes of a directed graph (Edmonds and Karp's maximum flow)."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping
from itertools import pairwise
from typing import TypeVar

N = TypeVar("N", bound=Hashable)


def _path(residual: Mapping[N, dict[N, int]], source: N, sink: N) -> dict[N, N]:
    """Predecessors of all that can be reached from the source with capacity left."""
    before: dict[N, N] = {}
    queue = deque([source])
    while queue and sink not in before:
        node = queue.popleft()
        for other, capacity in residual[node].items():
            if capacity > 0 and other not in before and other != source:
                before[other] = node
                queue.append(other)
    return before


def _push(residual: dict[N, dict[N, int]], before: Mapping[N, N], source: N, sink: N) -> None:
    """Send as much as the found path carries."""
    path = [sink]
    while path[-1] != source:
        path.append(before[path[-1]])
    steps = [(a, b) for b, a in pairwise(path)]
    amount = min(residual[a][b] for a, b in steps)
    for a, b in steps:
        residual[a][b] -= amount
        residual[b][a] = residual[b].get(a, 0) + amount


def source_side(capacities: Mapping[tuple[N, N], int], source: N, sink: N) -> set[N]:
    """The nodes on the source's side of a cut of the least total capacity.

    ``capacities``: cost of having the first node on the source's side and the second on the
    sink's. Of several cheapest cuts the one with the smallest source side.
    """
    residual: dict[N, dict[N, int]] = {source: {}, sink: {}}
    for (a, b), capacity in capacities.items():
        residual.setdefault(a, {})[b] = residual.get(a, {}).get(b, 0) + capacity
        residual.setdefault(b, {}).setdefault(a, 0)
    before = _path(residual, source, sink)
    while sink in before:
        _push(residual, before, source, sink)
        before = _path(residual, source, sink)
    return {source, *before}
