"""From a DPU kernel to its program: plans are chosen step by step, then written with their tokens.

The objective is the predicted time. Every step's plans are ranked by a rule of thumb, the best few
are written and timed with the program's own clock. Maps stay on the chip between steps where they fit
and it pays. The simple fixed schedule (``baseline``) is one tile after the other without overlap; a
searched schedule that does not beat it gives way to it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from dpuflow.compiler.compiled import Compiled, Kernel
from dpuflow.ir.graph import Graph, Shape
from dpuflow.program.builder import Builder
from dpuflow.program.chip import Chip
from dpuflow.program.clock import Timeline, run_clock
from dpuflow.program.ddr import Ddr, Placing, lay_out, place_maps
from dpuflow.program.emit import StepWriter, write_copies
from dpuflow.program.fusion import PLACED, Step, steps_of
from dpuflow.program.instructions import Instruction
from dpuflow.program.maps import Pair
from dpuflow.program.search import Choice, CopyChoice, Searcher
from dpuflow.target.arch import Core
from dpuflow.target.board import BoardTiming, board_timing


@dataclass(frozen=True)
class Program:
    """A DPU kernel as virtual instructions for one image, with its memory.

    ``layers``: the nodes of every step, an instruction's ``layer`` counts them. ``baseline_cycles``:
    what the simple fixed schedule would take, ``timeline`` what this one takes, both predicted.
    """

    kernel: Kernel
    core: Core
    layers: tuple[tuple[str, ...], ...]
    instructions: tuple[Instruction, ...]
    ddr: Ddr
    shapes: Mapping[str, Shape]
    timeline: Timeline
    clock_mhz: float
    board: BoardTiming
    choices: tuple[Choice | CopyChoice, ...] = ()
    baseline_cycles: float = 0.0
    searched: bool = True
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Task:
    """What the schedule is made for: the kernel, the maps that must be seen in DDR, and the board's timing."""

    graph: Graph
    kernel: Kernel
    core: Core
    board: BoardTiming
    clock_mhz: float
    keep: frozenset[str]


Item = Step | str  # a step, or a node whose bytes are copied


def items_of(task: Task, placing: Placing, fuse: bool, apart: Collection[str] = ()) -> tuple[Item, ...]:
    """Steps and copies in the order in which they run; ``apart``: layers that take nothing in."""
    steps = {step.name: step for step in steps_of(task.graph, task.kernel, task.keep.union(apart), fuse)}
    return tuple(steps.get(name, name) for name in task.kernel.nodes
                 if name in steps or (task.graph.by_name[name].op in PLACED and name in placing.copies))


def _readers(items: tuple[Item, ...], placing: Placing) -> dict[str, list[int]]:
    """Which items read each map by its own name."""
    found: dict[str, list[int]] = {}
    for at, item in enumerate(items):
        names = item.reads if isinstance(item, Step) else tuple(copy.source for copy in placing.copies[item])
        for name in names:
            found.setdefault(name, []).append(at)
    return found


def _seen(task: Task, placing: Placing, choices: Collection[Choice | CopyChoice]) -> frozenset[str]:
    """Storages whose bytes in DDR somebody reads: outside, or a step that does not find the map on the chip."""
    names = {*task.kernel.outputs, *task.keep}
    for choice in choices:
        names |= set(choice.loads)
    return frozenset(placing.views[name].storage for name in names if name in placing.views)


def _lives(placing: Placing, choices: tuple[Choice | CopyChoice, ...], seen: frozenset[str]) -> dict[str, Pair]:
    """The first and last item that touch each storage in DDR."""
    lives: dict[str, Pair] = {}

    def touch(name: str, at: int) -> None:
        storage = placing.views[name].storage
        first, last = lives.get(storage, (at, at))
        lives[storage] = min(first, at), max(last, at)

    for at, choice in enumerate(choices):
        for name in choice.loads:
            touch(name, at)
        for name in choice.saves:
            if placing.views[name].storage in seen:
                touch(name, at)
    return lives


def _write(task: Task, placing: Placing, choices: tuple[Choice | CopyChoice, ...],
           serial: bool) -> tuple[tuple[Instruction, ...], Ddr]:
    seen = _seen(task, placing, choices)
    kept = {placing.views[name].storage for name in task.keep if name in placing.views}
    ddr = lay_out(task.graph, task.kernel, placing, _lives(placing, choices, seen), kept)
    builder, chip = Builder(serial), Chip(task.core, ddr)
    for layer, choice in enumerate(choices):
        if isinstance(choice, CopyChoice):
            views = [(placing.views[copy.source], copy.target) for copy in placing.copies[choice.node]]
            write_copies(builder, chip, layer, views, choice.region, choice.rows)
            continue
        saves = placing.views[choice.step.name].storage in seen
        StepWriter(builder, chip, task.graph, layer, choice.step, choice.plan, choice.buffers, saves).write()
    return builder.finished(), ddr


def _program(task: Task, placing: Placing, choices: tuple[Choice | CopyChoice, ...], serial: bool) -> Program:
    instructions, ddr = _write(task, placing, choices, serial)
    timeline = run_clock(instructions, task.core, task.board, task.clock_mhz)
    names = (*task.kernel.nodes, *task.kernel.inputs)
    return Program(task.kernel, task.core, tuple(choice.nodes for choice in choices), instructions, ddr,
                   {name: task.graph.by_name[name].shape for name in names}, timeline, task.clock_mhz, task.board,
                   choices, searched=not serial)


def _task(compiled: Compiled, kernel: Kernel, keep: Collection[str], board: BoardTiming | None,
          clock_mhz: float | None) -> Task:
    board = board or board_timing(compiled.core)
    return Task(compiled.graph, kernel, compiled.core, board, clock_mhz or board.clock_mhz, frozenset(keep))


def baseline(compiled: Compiled, kernel: Kernel, keep: Collection[str] = (), board: BoardTiming | None = None,
             clock_mhz: float | None = None) -> Program:
    """The simple fixed schedule: the largest tiles that fit, everything through DDR, no overlap, no fusion."""
    task = _task(compiled, kernel, keep, board, clock_mhz)
    placing = place_maps(task.graph, kernel)
    items = items_of(task, placing, fuse=False)
    searcher = Searcher(task.graph, task.core, task.board, task.clock_mhz, placing)
    choices = tuple(searcher.fixed(item) for item in items)
    return _program(task, placing, choices, serial=True)


def _better_apart(task: Task, placing: Placing, searcher: Searcher) -> frozenset[str]:
    """Convolutions that are faster without taking in the layer behind them, or that do not fit with it."""
    alone = {item.name: item for item in items_of(task, placing, False) if isinstance(item, Step)}
    found = set()
    for item in items_of(task, placing, True):
        if isinstance(item, Step) and len(item.stages) > 1:
            first = item.first.node.name
            together = searcher.best(item, {}, {}, False)
            parts = [searcher.best(alone[name], {}, {}, False) for name in (first, item.name)]
            apart = sum(part.cycles if part else math.inf for part in parts)
            if together is None or together.cycles > apart:
                found.add(first)
    return frozenset(found)


def _searched(task: Task, placing: Placing, searcher: Searcher, on_chip_weight: float) -> Program:
    items = items_of(task, placing, True, _better_apart(task, placing, searcher))
    readers = _readers(items, placing)
    choices = searcher.choose(items, readers, on_chip_weight)
    return _program(task, placing, choices, serial=False)


# How much a transfer that staying on the chip saves counts against a step's own time, whole networks tried with each.
ON_CHIP_WEIGHTS = (0.5, 0.0)


def schedule_kernel(compiled: Compiled, kernel: Kernel, keep: Collection[str] = (), board: BoardTiming | None = None,
                    clock_mhz: float | None = None, time_limit_s: float | None = None) -> Program:
    """The program of one DPU kernel: the best schedule found, never slower than the baseline.

    ``keep``: maps inside the kernel that must be seen in DDR afterwards. ``time_limit_s``: when it is
    over, the rest of the steps take the plan that the rule of thumb puts first, and the program's
    notes say so; without it the result is the same every time. CompileError naming a layer that
    cannot be placed.
    """
    task = _task(compiled, kernel, keep, board, clock_mhz)
    simple = baseline(compiled, kernel, keep, board, clock_mhz)
    placing = place_maps(task.graph, kernel)
    until = None if time_limit_s is None else time.monotonic() + time_limit_s
    searcher = Searcher(task.graph, task.core, task.board, task.clock_mhz, placing, until)
    found = [_searched(task, placing, searcher, weight) for weight in ON_CHIP_WEIGHTS]
    best = min((*found, simple), key=lambda program: program.timeline.total_cycles)
    notes = (f"the search was cut off after {time_limit_s:g} s",) if searcher.cut_off else ()
    return Program(best.kernel, best.core, best.layers, best.instructions, best.ddr, best.shapes, best.timeline,
                   best.clock_mhz, best.board, best.choices, simple.timeline.total_cycles, best.searched, notes)
