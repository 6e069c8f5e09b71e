"""The formulas of the performance specification: cycles of the engines, work as the vendor counts it.

Every figure is predicted, not measured. Time itself comes from the clock of a program
(``dpuflow.program.clock``); what a board adds stands in ``dpuflow.target.board``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from dpuflow.target.arch import Core
from dpuflow.target.work import ConvWork, EltwiseWork, LayerWork, PoolWork, UpsampleWork


def up(value: int, multiple: int) -> int:
    """The next multiple."""
    return -(-value // multiple) * multiple


def is_augmented(work: ConvWork, core: Core) -> bool:
    """Whether one kernel row is packed into the input lanes (section 3, augmentation rule)."""
    if not core.channel_augmentation or work.depthwise or work.transposed or work.kernel[1] == 1:
        return False
    channels = work.input[2]
    return channels < core.input_channel_parallel and work.kernel[1] * channels <= core.channel_augmentation


def padded_products(work: ConvWork, core: Core) -> int:
    """Products per output value with the input lanes rounded up (Kpad)."""
    (kh, kw), ic, icp = work.kernel, work.input[2], core.input_channel_parallel
    return kh * up(kw * ic, icp) if is_augmented(work, core) else kh * kw * up(ic, icp)


def conv_cycles(work: ConvWork, core: Core) -> int:
    """Cycles of the convolution array: exact (section 3)."""
    oh, ow = work.input[:2] if work.transposed else work.output[:2]  # stride x stride parts on the input's grid
    oc = work.output[2]
    return (math.ceil(oh / core.pixel_parallel) * ow * math.ceil(oc / core.output_channel_parallel)
            * (padded_products(work, core) // core.input_channel_parallel))


def alu_cycles(output: tuple[int, int, int], kernel_cells: int, pixel_parallel: int, core: Core) -> int:
    """Cycles of a pool, depthwise or elementwise engine (section 3)."""
    oh, ow, channels = output
    return (math.ceil(oh / max(pixel_parallel, 1)) * ow * math.ceil(channels / core.input_channel_parallel)
            * kernel_cells)


def workload(work: LayerWork) -> int:
    """Operations as the vendor counts them, biases included (section 3)."""
    oh, ow, oc = work.output
    if isinstance(work, ConvWork):
        return 2 * work.macs + oh * ow * oc
    if isinstance(work, PoolWork):
        return oh * ow * oc * work.kernel[0] * work.kernel[1]
    return 0


def workload_on_arch(work: LayerWork, core: Core) -> int:
    """Operations with every lane rounded up (section 3)."""
    oh, ow, oc = work.output
    channels = up(oc, core.output_channel_parallel)
    if isinstance(work, ConvWork) and work.transposed:
        grid = up(work.input[0], core.pixel_parallel) * work.input[1]
        return channels * (2 * padded_products(work, core) * grid + oh * ow)
    if isinstance(work, ConvWork) and not work.depthwise:
        return up(oh, core.pixel_parallel) * ow * channels * (2 * padded_products(work, core) + 1)
    if isinstance(work, ConvWork):
        cells = work.kernel[0] * work.kernel[1]
        return up(oh, max(core.dwconv_pixel_parallel, 1)) * ow * channels * (2 * cells + 1)
    if isinstance(work, PoolWork):
        return up(oh, core.pool_pixel_parallel) * ow * channels * work.kernel[0] * work.kernel[1]
    return 0


@dataclass(frozen=True)
class LayerEstimate:
    """A layer's predicted time, and the engine that bounds it; ``array_cycles`` of its own engine."""

    name: str
    cycles: int
    ms: float
    macs: int
    bytes: int
    bound: str
    array_cycles: int = 0


@dataclass(frozen=True)
class Estimate:
    """A network's predicted time on a core at a clock.

    ``floors_ms``: what each engine needs at least for the schedule's work; ``steps`` of them is the sum over
    fused layers of the busiest engine's. ``baseline_ms``: the simple fixed schedule.
    """

    total_ms: float
    fps: float
    clock_mhz: float
    error_band: str
    core: str
    layers: tuple[LayerEstimate, ...]
    floors_ms: Mapping[str, float] = field(default_factory=dict)
    baseline_ms: float = 0.0


def compute_cycles(work: LayerWork, core: Core) -> tuple[str, int]:
    """The engine that computes a layer, and its cycles."""
    if isinstance(work, ConvWork) and not work.depthwise:
        return "conv", conv_cycles(work, core)
    if isinstance(work, ConvWork):
        cells = work.kernel[0] * work.kernel[1]
        return "dwconv", alu_cycles(work.output, cells, core.dwconv_pixel_parallel, core)
    if isinstance(work, PoolWork):
        return "pool", alu_cycles(work.output, work.kernel[0] * work.kernel[1], core.pool_pixel_parallel, core)
    if isinstance(work, EltwiseWork):
        adds = max(work.operands - 1, 1)
        return "eltwise", adds * alu_cycles(work.output, 1, core.eltwise_pixel_parallel, core)
    if isinstance(work, UpsampleWork):
        return "resize", alu_cycles(work.output, 1, core.pool_pixel_parallel, core)
    return "none", 0
