"""What a board adds to a core: clock, memory ports, efficiencies, fixed costs. One set of constants a board."""

from __future__ import annotations

from dataclasses import dataclass

from dpuflow.target.arch import Core


@dataclass(frozen=True)
class BoardTiming:
    """Timing facts (performance specification, sections 2 to 4)."""

    clock_mhz: float
    port_bytes_per_cycle: float  # per direction
    port_efficiency: float
    ddr_bytes_per_second: float  # loads and saves together
    fixed_cycles: float = 500.0  # of every layer, on its first computing engine
    fixed_us: float = 4.0
    array_efficiency: float = 0.985  # steady state of the convolution array (section 3)
    alu_efficiency: float = 1.0
    issue_cycles: float = 16.0  # of every computing instruction
    latency_cycles: float = 32.0  # of every transfer
    error_band: str = ""


ZYNQ_7000 = BoardTiming(90.0, 16.0, 0.75, 2.6e9,
                        error_band="+-10 % compute-bound, +-40 % for small-image nets limited by loading weights")
MPSOC = BoardTiming(300.0, 32.0, 0.56, 14e9,
                    error_band="+-15 % for large images, +-40 % for small-image nets limited by loading weights")
_ZYNQ_7000_PORT_BITS = 64


def board_timing(core: Core) -> BoardTiming:
    """The timing facts of the board that a core sits on, told by the width of its memory ports."""
    return ZYNQ_7000 if core.hp_port_bits <= _ZYNQ_7000_PORT_BITS else MPSOC
