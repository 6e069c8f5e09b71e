"""The search: for every step the plan of least predicted time, and which maps stay on the chip."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dpuflow.errors import CompileError
from dpuflow.ir.graph import Graph
from dpuflow.program.allocation import Taken, allocate
from dpuflow.program.banks import Region
from dpuflow.program.builder import Builder, Track
from dpuflow.program.chip import Buffers, Chip
from dpuflow.program.clock import run_clock
from dpuflow.program.ddr import Ddr, Placing, Storage
from dpuflow.program.emit import StepWriter
from dpuflow.program.fusion import Step
from dpuflow.program.maps import lanes_of, strips_of, up
from dpuflow.program.plans import (
    Plan,
    needs,
    parameters_fit,
    plans,
)
from dpuflow.program.rule_of_thumb import RuleOfThumb
from dpuflow.target.arch import Core
from dpuflow.target.board import BoardTiming, map_weight

TIMED_PLANS = 4  # of every step, those that the rule of thumb puts first
MOST_TILES = 600


@dataclass(frozen=True)
class Choice:
    """A step as it will run."""

    step: Step
    plan: Plan
    buffers: Buffers

    @property
    def nodes(self) -> tuple[str, ...]:
        """Its layers."""
        return tuple(stage.node.name for stage in self.step.stages)

    @property
    def loads(self) -> tuple[str, ...]:
        """Maps that it takes from DDR."""
        return tuple(name for name in self.step.reads if name not in self.buffers.on_chip)

    @property
    def saves(self) -> tuple[str, ...]:
        """Maps that it may leave in DDR."""
        return (self.step.name,)


@dataclass(frozen=True)
class CopyChoice:
    """Bytes that are moved, as they will be."""

    node: str
    sources: tuple[str, ...]
    region: Region
    rows: int

    @property
    def nodes(self) -> tuple[str, ...]:
        """Its layer."""
        return (self.node,)

    @property
    def loads(self) -> tuple[str, ...]:
        """Maps that it takes from DDR."""
        return self.sources

    @property
    def saves(self) -> tuple[str, ...]:
        """The map that it makes."""
        return (self.node,)


@dataclass(frozen=True)
class Fit:
    """A plan with its buffers, and its predicted cycles."""

    plan: Plan
    buffers: Buffers
    cycles: float


class Searcher:
    """Chooses plans for the steps of one kernel; equal steps in equal surroundings are searched once."""

    def __init__(self, graph: Graph, core: Core, board: BoardTiming, clock_mhz: float, placing: Placing,
                 until: float | None = None) -> None:
        self.graph, self.core, self.board, self.clock_mhz, self.placing = graph, core, board, clock_mhz, placing
        self.until, self.cut_off = until, False
        self.rate = board.port_bytes_per_cycle * board.port_efficiency
        self.map_weight = map_weight(board)
        sizes = {name: view.size[0] * view.size[1] * view.size[2] for name, view in placing.views.items()}
        self.sizes, self.rule = sizes, RuleOfThumb(core, board, sizes)
        self._free_ddr = Ddr(placing, {name: Storage(9 + at, 0, size) for at, (name, size) in enumerate(sizes.items())},
                             b"", _AnyOffset())
        self._known: dict[object, Fit | None] = {}

    # -- exact time ------------------------------------------------------------------------------------------

    def cycles(self, step: Step, plan: Plan, buffers: Buffers) -> float:
        """The step's time on the program's clock, alone."""
        builder, chip = Builder(), Chip(self.core, self._free_ddr)
        for name in buffers.on_chip:
            region = (buffers.inputs | buffers.others)[name]  # type: ignore[operator]
            chip.resident[name] = region, Track(region.ring, region.lanes)
        StepWriter(builder, chip, self.graph, 0, step, plan, buffers).write()
        return run_clock(builder.finished(), self.core, self.board, self.clock_mhz).total_cycles

    # -- one step --------------------------------------------------------------------------------------------

    def _candidates(self, step: Step, taken: Taken, resident: Taken,
                    keeps: bool) -> Iterator[tuple[float, Plan, Buffers]]:
        on_chip = frozenset(name for name in step.reads if name in resident)
        for ahead in (1, 0):
            some = False
            for plan in plans(step, self.core, ahead):
                count = (up(step.last.output[0], plan.rows) * up(step.last.output[1], plan.cols)
                         * up(step.last.output[2], plan.block))
                if count > MOST_TILES and some:
                    continue
                if not parameters_fit(step, plan, self.core):
                    continue
                need = needs(step, plan, self.core, keeps)
                buffers = allocate(step, need, self.core, taken, resident, keeps)
                if buffers is not None:
                    some = True
                    yield self.rule.cycles(step, plan, need, on_chip), plan, buffers
            if some and ahead:
                return

    def best(self, step: Step, taken: Taken, resident: Taken, keeps: bool) -> Fit | None:
        """The plan of least time among those that fit beside what is taken; None if none fits."""
        key = (_signature(step, self.placing), tuple(sorted((r.group, r.base, r.end) for r in taken.values())),
               tuple((name in resident and resident[name]) for name in step.reads), keeps)
        if key in self._known:
            fit = self._known[key]
            return fit and replace(fit, buffers=_renamed(fit.buffers, step, resident))
        ranked = sorted(self._candidates(step, taken, resident, keeps), key=lambda one: one[0])[:TIMED_PLANS]
        if self.until is not None and time.monotonic() > self.until:
            self.cut_off, ranked = True, ranked[:1]
        fits = [Fit(plan, buffers, self.cycles(step, plan, buffers)) for _, plan, buffers in ranked]
        self._known[key] = min(fits, key=lambda fit: fit.cycles, default=None)
        return self._known[key]

    def fixed(self, item: Step | str) -> Choice | CopyChoice:
        """The baseline's choice: the first plan that fits an empty chip, channels of the result outermost."""
        if isinstance(item, str):
            return self._copy(item)
        for plan in plans(item, self.core, 0):
            if plan.order == "weights" and parameters_fit(item, plan, self.core):
                buffers = allocate(item, needs(item, plan, self.core), self.core, {}, {}, False)
                if buffers is not None:
                    return Choice(item, plan, buffers)
        raise _does_not_fit(item)

    def _copy(self, node: str) -> CopyChoice:
        """Copies go through the first rows of an image group, half of which each tile may take."""
        copies = self.placing.copies[node]
        sizes = [self.placing.views[copy.source].size for copy in copies]
        lanes = max(lanes_of(size[2], self.core) for size in sizes)
        if lanes > self.core.bank_depth:
            raise CompileError("not even one pixel fits into the image banks", where=f"node '{node}'", got=sizes[0])
        half = max(self.core.bank_depth // 2, lanes)
        cols = min(max(size[1] for size in sizes), half // lanes)
        strips = max(1, min(half // (cols * lanes), max(strips_of(size[0], self.core) for size in sizes)))
        ring = 2 * strips if 2 * strips * cols * lanes <= self.core.bank_depth else strips
        return CopyChoice(node, tuple(copy.source for copy in copies), Region(0, 0, ring, cols, lanes),
                          strips * self.core.pixel_parallel)

    # -- all steps -------------------------------------------------------------------------------------------

    def choose(self, items: Sequence[Step | str], readers: Mapping[str, Sequence[int]],
               on_chip_weight: float) -> tuple[Choice | CopyChoice, ...]:
        """Step after step; ``readers``: the items that read each map under its own name."""
        resident: dict[str, Region] = {}
        made: list[Choice | CopyChoice] = []
        for at, item in enumerate(items):
            resident = {name: region for name, region in resident.items() if readers.get(name, [at])[-1] >= at}
            if isinstance(item, str):
                resident = {}
                made.append(self._copy(item))
                continue
            later = [reader for reader in readers.get(item.name, ()) if isinstance(items[reader], Step)]
            fit, kept = self._choose_step(item, resident, len(later) if on_chip_weight else 0, on_chip_weight)
            resident = {name: resident[name] for name in kept}
            if fit.buffers.keeps:
                resident[item.name] = fit.buffers.result
            made.append(Choice(item, fit.plan, fit.buffers))
        return tuple(made)

    def _choose_step(self, step: Step, resident: Taken, readers: int, weight: float) -> tuple[Fit, tuple[str, ...]]:
        """The best of: everything on the chip stays, only what is read here stays, nothing stays; the result
        stays or not. A map that stays counts for the transfers that it saves."""
        kept_sets = dict.fromkeys([tuple(resident), tuple(name for name in resident if name in step.reads), ()])
        best: tuple[float, Fit, tuple[str, ...]] | None = None
        for kept in kept_sets:
            here = {name: resident[name] for name in kept}
            for keeps in (True, False) if readers else (False,):
                fit = self.best(step, here, here, keeps)
                if fit is None:
                    continue
                stays = sum(self.sizes[name] for name in kept if name not in step.reads)
                stays += self.sizes[step.name] * readers if keeps else 0
                score = fit.cycles - weight * stays * self.map_weight / self.rate
                if best is None or score < best[0]:
                    best = score, fit, kept
        if best is None:
            raise _does_not_fit(step)
        return best[1], best[2]


def _does_not_fit(step: Step) -> CompileError:
    return CompileError("not even one strip of the output fits into the core's memories", where=f"node '{step.name}'",
                        got=f"input {step.first.input}, output {step.last.output}",
                        remedy="split the layer, or use a core with more memory")


class _AnyOffset(dict):  # type: ignore[type-arg]
    """Offsets of constants while only time counts."""

    def __missing__(self, key: object) -> int:
        return 0


def _signature(step: Step, placing: Placing) -> object:
    """What a step's time depends on."""
    stages = tuple((stage.op, stage.input, stage.output, stage.window, len(stage.node.inputs)) for stage in step.stages)
    views = tuple((placing.views[name].row_stride, placing.views[name].pixel_stride, placing.views[name].size)
                  for name in (*step.reads, step.name))
    names = list(step.inputs), list(step.others)
    return stages, views, *(tuple(map(some.index, some)) for some in names)


def _renamed(buffers: Buffers, step: Step, resident: Taken) -> Buffers:
    """The same buffers for another step of the same signature."""
    inputs, others = dict.fromkeys(step.inputs), dict.fromkeys(step.others)
    return replace(buffers, inputs=dict(zip(inputs, buffers.inputs.values(), strict=True)),
                   others=dict(zip(others, buffers.others.values(), strict=True)),
                   on_chip=frozenset(name for name in step.reads if name in resident))
