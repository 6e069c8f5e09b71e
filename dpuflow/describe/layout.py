"""Where to draw the nodes of a directed graph: layers from top to bottom, few crossings.

Every node lies one layer below its lowest operand. Edges that skip layers pass through invisible
nodes; the order in each layer follows the middle of its neighbours, swept down and up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_SWEEPS = 6
_MOST_SWEPT = 4000  # nodes, invisible ones included; beyond this the order stays that of the file


@dataclass(frozen=True)
class Layout:
    """``layers``: names from left to right, layer by layer; ``routes``: for every edge its invisible nodes."""

    layers: tuple[tuple[str, ...], ...]
    routes: Mapping[tuple[str, str], tuple[str, ...]]


def _depths(edges: Mapping[str, Sequence[str]]) -> dict[str, int]:
    depths: dict[str, int] = {}
    for name, operands in edges.items():
        depths[name] = max((depths[operand] + 1 for operand in operands if operand in depths), default=0)
    return depths


def _near_readers(edges: Mapping[str, Sequence[str]], depths: dict[str, int]) -> dict[str, int]:
    """Nodes without operands stand right above their first reader."""
    first: dict[str, int] = {}
    for name, operands in edges.items():
        for operand in operands:
            first[operand] = min(first.get(operand, depths[name]), depths[name])
    return {name: max(depth, first[name] - 1) if not edges[name] and name in first else depth
            for name, depth in depths.items()}


def layered(edges: Mapping[str, Sequence[str]]) -> Layout:
    """A layout of ``{node: operands}``, nodes in topological order; unknown operands are not drawn."""
    depths = _near_readers(edges, _depths(edges))
    layers: list[list[str]] = [[] for _ in range(max(depths.values(), default=-1) + 1)]
    for name, depth in depths.items():
        layers[depth].append(name)
    above: dict[str, list[str]] = {name: [] for name in edges}
    routes: dict[tuple[str, str], tuple[str, ...]] = {}
    for name, operands in edges.items():
        for operand in dict.fromkeys(operands):
            if operand in depths:
                routes[operand, name] = _route(operand, name, depths, layers, above)
    if sum(map(len, layers)) <= _MOST_SWEPT:
        _order(layers, above)
    return Layout(tuple(map(tuple, layers)), routes)


def _route(operand: str, name: str, depths: Mapping[str, int], layers: list[list[str]],
           above: dict[str, list[str]]) -> tuple[str, ...]:
    last, passed = operand, []
    for depth in range(depths[operand] + 1, depths[name]):
        invisible = f"\0{operand}\0{name}\0{depth}"
        layers[depth].append(invisible)
        above[invisible] = [last]
        passed.append(invisible)
        last = invisible
    above[name].append(last)
    return tuple(passed)


def _order(layers: list[list[str]], above: Mapping[str, list[str]]) -> None:
    below: dict[str, list[str]] = {}
    for name, operands in above.items():
        for operand in operands:
            below.setdefault(operand, []).append(name)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for at in range(1, len(layers)) if down else range(len(layers) - 2, -1, -1):
            fixed = layers[at - 1 if down else at + 1]
            place = {name: index for index, name in enumerate(fixed)}
            _sort(layers[at], above if down else below, place)


def _sort(layer: list[str], neighbours: Mapping[str, list[str]], place: Mapping[str, int]) -> None:
    own = {name: index for index, name in enumerate(layer)}

    def middle(name: str) -> float:
        places = sorted(place[other] for other in neighbours.get(name, ()) if other in place)
        if not places:
            return float(own[name])
        half = len(places) // 2
        return places[half] if len(places) % 2 else (places[half - 1] + places[half]) / 2

    layer.sort(key=lambda name: (middle(name), own[name]))
