"""What would bring a layer onto the DPU, or make it faster there, with numbers.

Proposals change the network: unlike rewrites they are not exact, or cost time, so they are the
user's to choose.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

from dpuflow.target.arch import Core
from dpuflow.target.board import board_timing
from dpuflow.target.limits import REMEDIES, violations
from dpuflow.target.performance import alu_cycles, conv_cycles
from dpuflow.target.table import named_targets
from dpuflow.target.work import ConvWork, LayerWork, PoolWork

Advice = Callable[[LayerWork, Core, float], str]
_SHOWN_CORES = 4
_POOR_USE = 0.5  # share of the array below which a hint is given


def _array_ms(work: ConvWork, core: Core, clock_mhz: float) -> float:
    return conv_cycles(work, core) / board_timing(core).array_efficiency / clock_mhz / 1e3


def cores_that_fit(work: LayerWork, core: Core) -> str:
    """Named cores on which a layer breaks no limit, those of the same size first."""
    fitting = [other for other in named_targets().values() if not violations(work, other)]
    fitting.sort(key=lambda other: (other.arch != core.arch, not other.board))
    return ", ".join(other.name for other in fitting[:_SHOWN_CORES])


def _or_another_core(text: str, work: LayerWork, core: Core) -> str:
    fitting = cores_that_fit(work, core)
    return f"{text}; it fits {fitting}" if fitting else text


def _as_plain(work: ConvWork, core: Core, clock_mhz: float) -> str:
    """A depthwise or grouped convolution with zero weights between its groups."""
    plain = dataclasses.replace(work, depthwise=False, groups=1, multiplier=1)
    if violations(plain, core):
        return ""
    return (f"a plain convolution with zero weights between the groups gives the same values in "
            f"{_array_ms(plain, core, clock_mhz):.2f} ms on the DPU with {plain.weight_bytes / 1e3:.0f} kB of weights")


def _depthwise(work: LayerWork, core: Core, clock_mhz: float) -> str:
    assert isinstance(work, ConvWork)
    text = _as_plain(work, core, clock_mhz) or REMEDIES["limit_depthwise"]
    enabled = [c for c in named_targets().values() if c.arch == core.arch and not violations(work, c)]
    if not enabled:
        return _or_another_core(text, work, core)
    cycles = alu_cycles(work.output, work.kernel[0] * work.kernel[1], enabled[0].dwconv_pixel_parallel, enabled[0])
    return f"{text}; a {core.arch} with depthwise enabled ({enabled[0].name}): {cycles / clock_mhz / 1e3:.2f} ms"


def _groups(work: LayerWork, core: Core, clock_mhz: float) -> str:
    assert isinstance(work, ConvWork)
    height, width, channels = work.output
    one = dataclasses.replace(work, groups=1, depthwise=False, input=(*work.input[:2], work.input[2] // work.groups),
                              output=(height, width, channels // work.groups))
    plain = _as_plain(work, core, clock_mhz)
    separate = f"{work.groups} convolutions side by side: {work.groups * _array_ms(one, core, clock_mhz):.2f} ms"
    return f"{plain}; {separate}" if plain else separate


def _conv_kernel(work: LayerWork, core: Core, clock_mhz: float) -> str:
    assert isinstance(work, ConvWork)
    most = (core.dwconv_kernel if work.depthwise else core.conv_kernel)[1]
    parts = [[most, size - most + 1] if size > most else [size, 1] for size in work.kernel]
    return (f"a {parts[0][0]} x {parts[1][0]} kernel and a {parts[0][1]} x {parts[1][1]} kernel one behind the other "
            f"reach as far (to be trained again)")


def _weight_depth(work: LayerWork, core: Core, clock_mhz: float) -> str:
    assert isinstance(work, ConvWork)
    cells = work.kernel[0] * work.kernel[1]
    most = core.bank_depth // cells * core.input_channel_parallel
    if not most:
        return "use a smaller kernel"
    parts = math.ceil(work.input[2] / most)
    text = (f"at most {most} input channels with a {work.kernel[0]} x {work.kernel[1]} kernel: use fewer, or {parts} "
            f"layers of a part of the channels each and add them (quantized apart, so not bit for bit the same)")
    return _or_another_core(text, work, core)


def _dilation(work: LayerWork, core: Core, clock_mhz: float) -> str:
    assert isinstance(work, ConvWork)
    most = 256 * core.input_channel_parallel // max(work.dilation)
    return _or_another_core(f"at most {most} input channels with dilation {max(work.dilation)}", work, core)


def _pool_kernel(work: LayerWork, core: Core, clock_mhz: float) -> str:
    assert isinstance(work, PoolWork)
    most = core.average_pool_kernel[1] if work.kind == "avg" else core.max_pool_kernel[1]
    factors = [max((f for f in range(1, most + 1) if size % f == 0), default=1) for size in work.kernel]
    if all(f * most >= size for f, size in zip(factors, work.kernel, strict=True)) and not any(work.pads):
        rest = [size // f for f, size in zip(factors, work.kernel, strict=True)]
        text = (f"a {factors[0]} x {factors[1]} pool of the same stride and a {rest[0]} x {rest[1]} pool behind it "
                f"give the same mean but for rounding")
    else:
        text = REMEDIES["limit_pool_kernel"]
    return _or_another_core(text, work, core)


def _other_core(limit: str) -> Advice:
    def advise(work: LayerWork, core: Core, clock_mhz: float) -> str:
        return _or_another_core(REMEDIES[limit], work, core)
    return advise


ADVICE: Mapping[str, Advice] = {
    "limit_depthwise": _depthwise,
    "limit_depthwise_multiplier": lambda work, core, clock: _as_plain(work, core, clock)  # type: ignore[arg-type]
    or REMEDIES["limit_depthwise_multiplier"],
    "limit_groups": _groups,
    "limit_conv_kernel": _conv_kernel,
    "limit_weight_depth": _weight_depth,
    "limit_dilation": _dilation,
    "limit_pool_kernel": _pool_kernel,
    "limit_conv_nonlinear": _other_core("limit_conv_nonlinear"),
    "limit_average_pool": _other_core("limit_average_pool"),
    "limit_eltwise_kind": _other_core("limit_eltwise_kind"),
    "limit_activation": _other_core("limit_activation"),
}


def remedy(limit: str, work: LayerWork, core: Core, clock_mhz: float) -> str:
    """What would help a layer that breaks a limit."""
    advise = ADVICE.get(limit)
    return (advise(work, core, clock_mhz) if advise else "") or REMEDIES[limit]


def _used(value: int, lanes: int) -> float:
    """The share of lanes used."""
    return value / (math.ceil(value / lanes) * lanes)


def array_use(work: ConvWork, core: Core) -> float:
    """The share of the convolution array's products that are the layer's own."""
    return work.macs / (conv_cycles(work, core) * core.peak_ops_per_cycle / 2)


def hint(work: LayerWork | None, core: Core) -> str:
    """How a convolution that uses less than half of the array would use more; empty if it does not."""
    if not isinstance(work, ConvWork) or work.depthwise or array_use(work, core) >= _POOR_USE:
        return ""
    sides = {
        "rows of the map": (work.output[0], core.pixel_parallel),
        "input channels": (work.input[2], core.input_channel_parallel),
        "output channels": (work.output[2], core.output_channel_parallel),
    }
    worst = min(sides, key=lambda side: _used(*sides[side]))
    value, lanes = sides[worst]
    if work.output[:2] == (1, 1) and worst == "rows of the map":
        return ""  # a dense layer: nothing can be done about its one row
    return (f"{100 * array_use(work, core):.0f} % of the array in use: {value} {worst} on {lanes} lanes; "
            f"multiples of {lanes} cost the same time as what lies between")
