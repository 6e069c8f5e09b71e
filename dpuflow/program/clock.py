"""The clock: when every instruction of a program begins and ends, in cycles of the DPU.

The one source of time: the ``program`` engine counts with it and ``dpuflow estimate`` reports it. The
queues run in order, tokens hold them back; array and ALU cycles are the formulas of the performance
specification, section 3; transfers share the memory. Predicted, not measured.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dpuflow.program.instructions import QUEUES, Instruction
from dpuflow.program.maps import up
from dpuflow.target.arch import Core
from dpuflow.target.board import BoardTiming, map_weight

LOAD, CONV, ALU, SAVE = range(4)
_NEVER = float("inf")
_LAST_CYCLE = 1e-6  # what is left of a transfer when it counts as done


def array_cycles(f: Mapping[str, int], core: Core) -> int:
    """The convolution array's cycles for one instruction (section 3)."""
    lanes = core.input_channel_parallel
    inputs = f["in_channels"]
    steps = f["kernel_h"] * (up(f["kernel_w"] * inputs, lanes) if f["augmented"] else f["kernel_w"] * up(inputs, lanes))
    return (up(f["out_rows"], core.pixel_parallel) * f["out_cols"] * up(f["out_channels"], core.output_channel_parallel)
            * steps)


def _alu(f: Mapping[str, int], core: Core, pixel_parallel: int, cells: int) -> int:
    return (up(f["out_rows"], max(pixel_parallel, 1)) * f["out_cols"]
            * up(f["out_channels"], core.input_channel_parallel) * cells)


def engine_cycles(i: Instruction, core: Core) -> int:
    """Cycles of a computing instruction (section 3); a resize moves one result a lane and cycle (a guess)."""
    f = i.fields
    if i.op == "conv":
        return array_cycles(f, core)
    if i.op in ("add", "mul"):
        return _alu(f, core, core.eltwise_pixel_parallel, max(f["operands"] - 1, 1))
    if i.op == "upsample":
        return _alu(f, core, core.pool_pixel_parallel, 1)
    parallel = core.dwconv_pixel_parallel if i.op == "dwconv" else core.pool_pixel_parallel
    return _alu(f, core, parallel, f["kernel_h"] * f["kernel_w"])


def moved_bytes(i: Instruction) -> int:
    """Bytes that a load or save moves."""
    f = i.fields
    if i.op in ("load_map", "save_map"):
        return f["rows"] * f["cols"] * f["channels"]
    if i.op == "load_weights":
        return f["out_channels"] * f["cells"] * f["in_channels"]
    if i.op == "load_dw_weights":
        return f["cells"] * f["channels"]
    return f["channels"] if i.op == "load_bias" else 0


def bus_bytes(i: Instruction, board: BoardTiming) -> int:
    """Bytes that a transfer takes on the bus: every contiguous run fills whole beats of the ports."""
    beat = int(board.port_bytes_per_cycle)
    f, total = i.fields, moved_bytes(i)
    runs = 1
    if i.op in ("load_map", "save_map"):
        whole_rows = f["cols"] == 1 or f["pixel_stride"] == f["channels"]
        whole_map = whole_rows and (f["rows"] == 1 or f["row_stride"] == f["cols"] * f["channels"])
        runs = 1 if whole_map else f["rows"] if whole_rows else f["rows"] * f["cols"]
    elif i.op == "load_dw_weights":
        runs = 1 if f["cell_stride"] == f["channels"] else f["cells"]
    return runs * up(total // runs, beat) * beat


def transfer_work(i: Instruction, board: BoardTiming) -> float:
    """A transfer's bytes on the bus, in bytes as long runs of weights take."""
    return bus_bytes(i, board) * (map_weight(board) if i.op in ("load_map", "save_map") else 1.0)


@dataclass(frozen=True)
class Timeline:
    """Begin and end of every instruction, and the end of all, in cycles."""

    starts: tuple[float, ...]
    ends: tuple[float, ...]
    total_cycles: float


def _durations(instructions: Sequence[Instruction], core: Core, board: BoardTiming, clock_mhz: float) -> list[float]:
    """Cycles of computing instructions; bus bytes of transfers. The first computation of a layer also takes
    the layer's fixed cost."""
    begun, made = set[int](), list[float]()
    for i in instructions:
        if i.queue in ("LOAD", "SAVE"):
            made.append(transfer_work(i, board))
            continue
        cycles = engine_cycles(i, core) / (board.array_efficiency if i.op == "conv" else board.alu_efficiency)
        fixed = board.fixed_cycles + board.fixed_us * clock_mhz if i.layer not in begun else 0.0
        begun.add(i.layer)
        made.append(cycles + fixed + board.issue_cycles)
    return made


class _Run:
    """The event simulation: at most one instruction a queue; a load and a save share the memory's rate."""

    def __init__(self, instructions: Sequence[Instruction], board: BoardTiming, clock_mhz: float,
                 work: list[float]) -> None:
        self.board, self.work, self.now = board, work, 0.0
        self.ddr_rate = board.ddr_bytes_per_second / (clock_mhz * 1e6)
        self.port_rate = board.port_bytes_per_cycle * board.port_efficiency
        self.queues = [deque(at for at, i in enumerate(instructions) if i.queue == queue) for queue in QUEUES]
        self.waits, self.signals = [i.wait for i in instructions], [i.signal for i in instructions]
        self.tokens = [[0] * len(QUEUES) for _ in QUEUES]  # [giver][taker]
        self.running: list[int | None] = [None] * len(QUEUES)
        self.left = [0.0] * len(QUEUES)
        self.starts, self.ends = [0.0] * len(instructions), [0.0] * len(instructions)

    def begin(self) -> None:
        """Start whatever has its tokens."""
        for queue in range(len(QUEUES)):
            if self.running[queue] is not None or not self.queues[queue]:
                continue
            at = self.queues[queue][0]
            givers = [giver for giver in range(len(QUEUES)) if self.waits[at] & 2**giver]
            if all(self.tokens[giver][queue] for giver in givers):
                for giver in givers:
                    self.tokens[giver][queue] -= 1
                self.queues[queue].popleft()
                self.running[queue], self.starts[at] = at, self.now
                transfers = queue in (LOAD, SAVE)
                self.left[queue] = self.work[at] + (self.board.latency_cycles * self.port_rate if transfers else 0.0)

    def rates(self) -> list[float]:
        """Progress of each queue a cycle: bytes or cycles."""
        both = self.running[LOAD] is not None and self.running[SAVE] is not None
        transfer = min(self.port_rate, self.ddr_rate / (2 if both else 1))
        return [transfer, 1.0, 1.0, transfer]

    def step(self) -> bool:
        """To the next end of an instruction; False when nothing runs any more."""
        rates = self.rates()
        times = [self.left[q] / rates[q] if self.running[q] is not None else _NEVER for q in range(len(QUEUES))]
        passed = min(times)
        if passed == _NEVER:
            return False
        self.now += passed
        for queue, at in enumerate(self.running):
            if at is None:
                continue
            self.left[queue] -= passed * rates[queue]
            if self.left[queue] <= _LAST_CYCLE:
                self.ends[at], self.running[queue] = self.now, None
                for taker in range(len(QUEUES)):
                    self.tokens[queue][taker] += bool(self.signals[at] & 2**taker)
        return True


def run_clock(instructions: Sequence[Instruction], core: Core, board: BoardTiming, clock_mhz: float) -> Timeline:
    """When every instruction runs. The program must be free of deadlock (the verifier shows that)."""
    run = _Run(instructions, board, clock_mhz, _durations(instructions, core, board, clock_mhz))
    run.begin()
    while run.step():
        run.begin()
    return Timeline(tuple(run.starts), tuple(run.ends), run.now)
