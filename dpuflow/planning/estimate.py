"""A network's predicted time on a core: what the clock of its program says, layer by layer.

Beside it stand the bound that no schedule can pass, and what the simple fixed schedule would take.
Predicted, not run on hardware; silicon runs the vendor's schedule, not this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from dpuflow.compiler.compiled import Compiled
from dpuflow.compiler.driver import compile_graph, quantized_form
from dpuflow.compiler.placement import place
from dpuflow.model import Model
from dpuflow.program.clock import engine_cycles, moved_bytes
from dpuflow.program.instructions import Instruction
from dpuflow.program.schedule import Program, schedule_kernel
from dpuflow.target.arch import Core
from dpuflow.target.board import BoardTiming, board_timing, map_weight
from dpuflow.target.performance import Estimate, LayerEstimate
from dpuflow.target.work import ConvWork

ENGINES = {"add": "eltwise", "mul": "eltwise", "max_pool": "pool", "avg_pool": "pool", "upsample": "resize"}


def engine_of(i: Instruction) -> str:
    """The engine that runs an instruction, by the name that users read."""
    return i.queue.lower() if i.queue in ("LOAD", "SAVE") else ENGINES.get(i.op, i.op)


class _Step:
    """What one step of a program costs."""

    def __init__(self) -> None:
        self.busy: dict[str, float] = {}
        self.array: dict[str, int] = {}
        self.loaded = self.saved = 0
        self.loading = self.saving = 0.0  # bytes of weights that would take as long
        self.end = 0.0

    def add(self, i: Instruction, start: float, end: float, core: Core, board: BoardTiming) -> None:
        """Count one instruction."""
        engine = engine_of(i)
        self.busy[engine] = self.busy.get(engine, 0.0) + end - start
        self.end = max(self.end, end)
        if i.queue == "LOAD":
            self.loaded += moved_bytes(i)
            self.loading += moved_bytes(i) * (map_weight(board) if i.op == "load_map" else 1.0)
        elif i.queue == "SAVE":
            self.saved += moved_bytes(i)
            self.saving += moved_bytes(i) * map_weight(board)
        else:
            self.array[engine] = self.array.get(engine, 0) + engine_cycles(i, core)

    def floors(self, board: BoardTiming, clock_mhz: float) -> dict[str, float]:
        """Cycles that each engine needs at least: the array (with sums), the ALU, loads, saves, the memory."""
        rate = board.port_bytes_per_cycle * board.port_efficiency
        ddr = board.ddr_bytes_per_second / (clock_mhz * 1e6)
        alu = sum(self.array.get(name, 0) for name in ("dwconv", "pool", "resize")) / board.alu_efficiency
        array = self.array.get("conv", 0) / board.array_efficiency + self.array.get("eltwise", 0) / board.alu_efficiency
        return {"array": array, "alu": alu, "load": self.loading / rate, "save": self.saving / rate,
                "ddr": (self.loading + self.saving) / ddr}

    def bound(self, board: BoardTiming, clock_mhz: float) -> str:
        """The engine that takes longest; ``ddr`` where loads and saves together fill the memory's rate."""
        fixed = board.fixed_cycles + board.fixed_us * clock_mhz
        computing = {name: cycles / board.array_efficiency if name == "conv" else cycles / board.alu_efficiency
                     for name, cycles in self.array.items()}
        times: dict[str, float] = computing | {name: self.busy.get(name, 0.0) for name in ("load", "save")}
        times["ddr"] = (self.loading + self.saving) / (board.ddr_bytes_per_second / (clock_mhz * 1e6))
        slowest = max(times, key=lambda name: times[name])
        return slowest if times[slowest] > fixed else "fixed cost"


def _steps(program: Program) -> list[_Step]:
    found = [_Step() for _ in program.layers]
    spans = zip(program.instructions, program.timeline.starts, program.timeline.ends, strict=True)
    for i, start, end in spans:
        found[i.layer].add(i, start, end, program.core, program.board)
    return found


def _macs(compiled: Compiled, name: str) -> int:
    work = place(compiled.graph, compiled.graph.by_name[name], compiled.core).work
    return work.macs if isinstance(work, ConvWork) else 0


def _rows(compiled: Compiled, program: Program) -> list[LayerEstimate]:
    """A row for each layer; a step's time stands in its first layer's. Steps overlap, so each counts what it
    adds behind the ends of those before."""
    rows, passed = [], 0.0
    for nodes, step in zip(program.layers, _steps(program), strict=True):
        cycles, passed = max(step.end - passed, 0.0), max(step.end, passed)
        bound = step.bound(program.board, program.clock_mhz) if step.array else "copy"
        engines = {node: _array_cycles(compiled, node, step) for node in nodes}
        for at, node in enumerate(nodes):
            own = cycles if at == 0 else 0.0
            rows.append(LayerEstimate(
                compiled.graph.by_name[node].layer, round(own), own / program.clock_mhz / 1e3, _macs(compiled, node),
                step.loaded + step.saved if at == 0 else 0, bound if at == 0 else "fused", engines[node]))
    return rows


def _array_cycles(compiled: Compiled, node: str, step: _Step) -> int:
    op = compiled.graph.by_name[node].op
    engine = {"conv2d": "conv", "transposed_conv2d": "conv", "depthwise_conv2d": "dwconv",
              "resize_nearest": "resize"}.get(op, ENGINES.get(op, op))
    return step.array.get(engine, 0)


def floors(programs: Iterable[Program]) -> dict[str, float]:
    """Milliseconds that each engine needs at least for all that the programs do, and ``steps``: the sum over
    steps of the busiest engine's, what remains if engines overlap perfectly within every step."""
    total: dict[str, float] = {}
    for program in programs:
        for step in _steps(program):
            needed = step.floors(program.board, program.clock_mhz)
            for engine, cycles in [*needed.items(), ("steps", max(needed.values()))]:
                total[engine] = total.get(engine, 0.0) + cycles / program.clock_mhz / 1e3
    return total


def programs_of(compiled: Compiled, clock_mhz: float | None = None, board: BoardTiming | None = None,
                time_limit_s: float | None = None) -> tuple[Program, ...]:
    """The program of every DPU kernel, each scheduled once."""
    return _scheduled(compiled, clock_mhz, board, time_limit_s)


@lru_cache(maxsize=8)
def _scheduled(compiled: Compiled, clock_mhz: float | None, board: BoardTiming | None,
               time_limit_s: float | None) -> tuple[Program, ...]:
    return tuple(schedule_kernel(compiled, kernel, (), board, clock_mhz, time_limit_s)
                 for kernel in compiled.dpu_kernels)


def estimate_compiled(compiled: Compiled, clock_mhz: float | None = None, board: BoardTiming | None = None) -> Estimate:
    """The predicted time of the DPU's layers; CPU layers are not counted. ``clock_mhz`` and ``board`` default
    to those of the board that the core sits on."""
    board = board or board_timing(compiled.core)
    clock = clock_mhz or board.clock_mhz
    return estimate_programs(compiled, programs_of(compiled, clock, board), board, clock)


def estimate_programs(compiled: Compiled, programs: Sequence[Program], board: BoardTiming | None = None,
                      clock_mhz: float | None = None) -> Estimate:
    """The same for programs that are there already, at the clock for which they were made."""
    board = board or (programs[0].board if programs else board_timing(compiled.core))
    clock = programs[0].clock_mhz if programs else clock_mhz or board.clock_mhz
    rows = tuple(row for program in programs for row in _rows(compiled, program))
    total = sum(program.timeline.total_cycles for program in programs) / clock / 1e3
    simple = sum(program.baseline_cycles for program in programs) / clock / 1e3
    return Estimate(total, 1e3 / total if total else 0.0, clock, board.error_band, compiled.core.name, rows,
                    floors(programs), simple)


def estimate_network(model: Model, core: Core, clock_mhz: float | None = None) -> Estimate:
    """The predicted time of a model file; a float network is taken as if quantized."""
    return estimate_compiled(compile_graph(quantized_form(model), core, model.graph.name), clock_mhz)

