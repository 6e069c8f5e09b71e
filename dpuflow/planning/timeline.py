"""When each engine works over a whole network: the clock's times of every instruction, joined where they touch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dpuflow.planning.estimate import engine_of
from dpuflow.program.schedule import Program


@dataclass(frozen=True)
class Interval:
    """An engine at work for a step, in cycles from the start of the network; ``layer`` is the step's first layer."""

    engine: str
    start_cycles: float
    end_cycles: float
    layer: str


def engine_intervals(programs: Sequence[Program]) -> tuple[Interval, ...]:
    """Kernel after kernel, without the CPU's time between them; the last interval ends at the predicted time."""
    made, begin = list[Interval](), 0.0
    for program in programs:
        open_: dict[str, Interval] = {}
        spans = zip(program.instructions, program.timeline.starts, program.timeline.ends, strict=True)
        for i, start, end in spans:
            engine, layer = engine_of(i), program.layers[i.layer][0]
            last = open_.get(engine)
            if last and last.layer == layer and begin + start - last.end_cycles < 1:
                open_[engine] = Interval(engine, last.start_cycles, begin + end, layer)
                continue
            if last:
                made.append(last)
            open_[engine] = Interval(engine, begin + start, begin + end, layer)
        made += open_.values()
        begin += program.timeline.total_cycles
    return tuple(sorted(made, key=lambda interval: (interval.start_cycles, interval.engine)))
