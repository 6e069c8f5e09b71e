"""What a board adds to a core: clock, memory ports, efficiencies, fixed costs. One set of constants a board."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from dpuflow.target.arch import Core


@dataclass(frozen=True)
class BoardTiming:
    """Timing facts (performance specification, sections 2 to 4).

    Efficiencies, memory rates and fixed costs are fitted once a board to the published times of section
    5 or guessed; ``tests/planning/test_published_times.py`` holds every one of them.
    """

    clock_mhz: float
    port_bytes_per_cycle: float  # per direction
    port_efficiency: float  # of weights: one long run
    map_efficiency: float  # of feature maps: short runs, turned round between reading and writing
    ddr_bytes_per_second: float  # loads and saves together
    fixed_cycles: float = 500.0  # of every layer, on its first computing engine
    fixed_us: float = 4.0
    array_efficiency: float = 0.985  # steady state of the convolution array (section 3)
    alu_efficiency: float = 1.0
    issue_cycles: float = 16.0  # of every computing instruction
    latency_cycles: float = 32.0  # of every transfer
    error_band: str = ""


# Zynq-7000: the start values of section 2, none measured; they meet the one published time.
# MPSoC boards: weights at 5.04 GB/s of a 9.0 GB/s port (the node of section 5 that only loads weights, at 281
# MHz); map and ALU efficiency are fitted to the three networks on the KV260 (depthwise layers were seen to be slower
# than their formula, section 5).
# Ultra96: 32 instead of 64 bits of memory; the rate of its memory fitted to its one published time.
ZYNQ_7000 = BoardTiming(90.0, 16.0, 0.75, 0.75, 2.6e9,
                        error_band="+-10 % compute-bound, +-40 % for small-image nets limited by loading weights")
MPSOC = BoardTiming(300.0, 32.0, 0.56, 0.23, 14e9, alu_efficiency=0.8,
                    error_band="+-15 % for large images, +-40 % for small-image nets limited by loading weights")
ULTRA96 = dataclasses.replace(MPSOC, clock_mhz=287.0, ddr_bytes_per_second=4.2e9)
_ZYNQ_7000_PORT_BITS = 64


def map_weight(board: BoardTiming) -> float:
    """How many bytes of weights a byte of a map costs."""
    return board.port_efficiency / board.map_efficiency


def board_timing(core: Core) -> BoardTiming:
    """The timing facts of the board that a core sits on, told by its name or the width of its memory ports."""
    if core.board == "Ultra96":
        return ULTRA96
    return ZYNQ_7000 if core.hp_port_bits <= _ZYNQ_7000_PORT_BITS else MPSOC
