"""How long the processor of a board takes for what stands behind the DPU: measured here, scaled by an assumption."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Processor:
    """A board's processor against the computer that measured: how many times slower, at least and at most."""

    name: str
    times_slower: float
    low: float
    high: float
    reason: str

    def scaled_ms(self, host_ms: float) -> float:
        """Predicted milliseconds of work that took ``host_ms`` on one core of this computer."""
        return host_ms * self.times_slower


# Assumed, not measured: nobody here has the board.
ZEDBOARD = Processor(
    "one Cortex-A9 core of the ZedBoard at 667 MHz", 40.0, 20.0, 80.0,
    "a clock about five times lower, vectors of 4 instead of 8 or 16 numbers at half the rate, a cache of 512 kB, "
    "and a Python interpreter that spends most of such a layer's time between small NumPy calls")
