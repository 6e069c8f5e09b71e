"""The engines' shares of a predicted time as intervals: what overlaps with what, layer by layer.

Made from the same node model as the estimate: within a layer all engines overlap but for the first
strip's load and the last strip's save; layers follow one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dpuflow.target.arch import Core
from dpuflow.target.performance import BoardTiming, board_timing, node_intervals, nodes_of
from dpuflow.target.work import LayerWork


@dataclass(frozen=True)
class Interval:
    """An engine at work for a layer, in cycles from the start of the network."""

    engine: str
    start_cycles: float
    end_cycles: float
    layer: str


def engine_intervals(works: Sequence[LayerWork], core: Core, clock_mhz: float | None = None,
                     board: BoardTiming | None = None) -> tuple[Interval, ...]:
    """Every engine's intervals over the whole network; the last one ends at the predicted time."""
    board = board or board_timing(core)
    clock = clock_mhz or board.clock_mhz
    made: list[Interval] = []
    now = 0.0
    for node in nodes_of(works):
        spans, end = node_intervals(node, core, board, clock)
        made += [Interval(engine, now + start, now + stop, node[0].name) for engine, start, stop in spans]
        now += end
    return tuple(made)
