"""What layers on the CPU and tensors that cross between CPU and DPU are taken to cost.

Assumptions, not measurements: nothing here has run on a board. They serve to compare forms of a
network, and are printed with every figure that rests on them.
"""

from __future__ import annotations

from dataclasses import dataclass

from dpuflow.target.arch import Core

_ZYNQ_7000_PORT_BITS = 64


@dataclass(frozen=True)
class HostTiming:
    """A board's processor: one core, plain compiled code."""

    processor: str
    macs_per_second: float
    values_per_second: float  # of elementwise work
    copy_bytes_per_second: float  # between the application's memory and the DPU's
    launch_us: float  # to start a DPU kernel and be woken at its end

    @property
    def assumptions(self) -> str:
        """The sentence that stands beside every figure."""
        return (f"assumed, not measured: {self.processor}, one core, {self.macs_per_second / 1e9:g} GMAC/s, "
                f"{self.values_per_second / 1e6:g} M values/s elementwise, {self.copy_bytes_per_second / 1e6:g} MB/s "
                f"to and from the DPU's memory, {self.launch_us:g} us per DPU kernel")


ZYNQ_7000_HOST = HostTiming("Cortex-A9 at 667 MHz", 0.4e9, 60e6, 300e6, 100.0)
MPSOC_HOST = HostTiming("Cortex-A53 at 1.2 GHz", 1.5e9, 200e6, 1000e6, 60.0)


def host_timing(core: Core) -> HostTiming:
    """The processor beside a core, told by the width of its memory ports."""
    return ZYNQ_7000_HOST if core.hp_port_bits <= _ZYNQ_7000_PORT_BITS else MPSOC_HOST


def cpu_ms(macs: int, values: int, host: HostTiming) -> float:
    """Milliseconds of a layer on the CPU: its products, and its values read and written."""
    return 1e3 * (macs / host.macs_per_second + values / host.values_per_second)


def crossing_ms(size_bytes: int, host: HostTiming) -> float:
    """Milliseconds to hand a tensor from one device to the other."""
    return 1e3 * size_bytes / host.copy_bytes_per_second


# -- Python on the board: what is measured here, scaled -------------------------------------------------

@dataclass(frozen=True)
class NumPyScaling:
    """Python with NumPy on a board's processor: how many times slower than on the computer that measured, from
    ``low`` to ``high``, and why."""

    processor: str
    times_slower: float
    low: float
    high: float
    reason: str

    def scaled_ms(self, host_ms: float) -> float:
        """Predicted milliseconds of work that took ``host_ms`` on one core of this computer."""
        return host_ms * self.times_slower


ZYNQ_7000_NUMPY = NumPyScaling(
    f"one {ZYNQ_7000_HOST.processor} core", 40.0, 20.0, 80.0,
    "a clock about five times lower, vectors of 4 instead of 8 or 16 numbers at half the rate, a cache of 512 kB, "
    "and a Python interpreter that spends most of such a layer's time between small NumPy calls")
