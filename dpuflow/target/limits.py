"""Every hardware limit as one predicate; its docstring is the sentence that users read.

Sources: targets specification, section 2 (kernel, stride, channel and bank limits), arithmetic
specification, section 8 (shifts).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dpuflow.target.arch import Core
from dpuflow.target.work import ActivationWork, ConvWork, EltwiseWork, LayerWork, MoveWork, PoolWork, UpsampleWork

SHIFT_MAX = 16
_TRANSPOSED_RATIO_MAX = 16


@dataclass(frozen=True)
class Verdict:
    """Whether a limit is kept, and the numbers if it is not."""

    ok: bool
    detail: str = ""


@dataclass(frozen=True)
class Violation:
    """A limit that a layer breaks: its name, its sentence, the numbers, what would help."""

    limit: str
    sentence: str
    detail: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.sentence} ({self.detail})"


def _in_range(value: int, allowed: tuple[int, int], what: str) -> Verdict:
    return Verdict(allowed[0] <= value <= allowed[1], f"{what} {value}, allowed {allowed[0]} to {allowed[1]}")


def _both(first: Verdict, second: Verdict) -> Verdict:
    return first if not first.ok else second


def limit_conv_kernel(work: ConvWork, core: Core) -> Verdict:
    """The kernel of a convolution must lie within the engine's range."""
    if work.transposed:
        return Verdict(True)  # limit_transposed_kernel: its parts have the kernel divided by the stride
    allowed = core.dwconv_kernel if work.depthwise else core.conv_kernel
    return _both(_in_range(work.kernel[0], allowed, "kernel height"),
                 _in_range(work.kernel[1], allowed, "kernel width"))


def limit_conv_stride(work: ConvWork, core: Core) -> Verdict:
    """The stride of a convolution must lie within the engine's range."""
    allowed = core.dwconv_stride if work.depthwise else core.conv_stride
    return _both(_in_range(work.stride[0], allowed, "vertical stride"),
                 _in_range(work.stride[1], allowed, "horizontal stride"))


def most_input_channels(core: Core) -> int:
    """Input channels of the deepest convolution without dilation."""
    return 256 * core.input_channel_parallel


def limit_dilation(work: ConvWork, core: Core) -> Verdict:
    """Dilation (at least 1) times input channels must not exceed 256 times the input channel parallelism."""
    most = most_input_channels(core)
    value = max(work.dilation) * work.input[2] // work.groups
    return Verdict(value <= most, f"{value}, allowed {most}")


def limit_weight_depth(work: ConvWork, core: Core) -> Verdict:
    """The kernel's rows of input channels must fit the depth of a weight bank."""
    groups = 1 if work.depthwise else math.ceil(work.input[2] / work.groups / core.input_channel_parallel)
    value = work.kernel[0] * work.kernel[1] * groups
    return Verdict(value <= core.bank_depth, f"{value} rows, allowed {core.bank_depth}")


def most_output_channels(core: Core) -> int:
    """Output channels of the widest convolution."""
    return 256 * core.output_channel_parallel


def limit_output_channels(work: ConvWork, core: Core) -> Verdict:
    """Output channels must not exceed 256 times the output channel parallelism."""
    most = most_output_channels(core)
    return Verdict(work.output[2] <= most, f"{work.output[2]} channels, allowed {most}")


def limit_conv_padding(work: ConvWork, core: Core) -> Verdict:
    """Padding must be smaller than the dilated kernel."""
    high, wide = ((k - 1) * d for k, d in zip(work.kernel, work.dilation, strict=True))
    top, bottom, left, right = work.pads
    ok = max(top, bottom) <= high and max(left, right) <= wide
    return Verdict(ok, f"pads {work.pads}, allowed {high} rows and {wide} columns")


def _alu_padding(pads: tuple[int, int, int, int], core: Core) -> Verdict:
    if core.alu_padding is None:
        return Verdict(True)
    top, bottom, left, right = pads
    before, after = core.alu_padding
    return Verdict(max(top, left) <= before and max(bottom, right) <= after,
                   f"pads {pads}, allowed {before} at top and left, {after} at bottom and right")


def limit_depthwise_padding(work: ConvWork, core: Core) -> Verdict:
    """The padding of a depthwise convolution must lie within the engine's range."""
    return _alu_padding(work.pads, core) if work.depthwise else Verdict(True)


def limit_depthwise(work: ConvWork, core: Core) -> Verdict:
    """A depthwise convolution needs a core with a depthwise unit."""
    return Verdict(not work.depthwise or core.dwconv_pixel_parallel > 0, f"{core.name} has none")


def limit_depthwise_multiplier(work: ConvWork, core: Core) -> Verdict:
    """A depthwise convolution must yield one channel per input channel."""
    return Verdict(work.multiplier == 1, f"channel multiplier {work.multiplier}")


def limit_transposed_kernel(work: ConvWork, core: Core) -> Verdict:
    """The kernel of a transposed convolution divided by its stride must lie in 1 to 16."""
    if not work.transposed:
        return Verdict(True)
    ratios = [math.ceil(k / s) for k, s in zip(work.kernel, work.stride, strict=True)]
    ok = all(1 <= k / s <= _TRANSPOSED_RATIO_MAX for k, s in zip(work.kernel, work.stride, strict=True))
    return Verdict(ok, f"kernel {work.kernel[0]} x {work.kernel[1]}, stride {work.stride[0]} x {work.stride[1]}, "
                       f"rounded up {ratios[0]} and {ratios[1]}")


def limit_transposed_output(work: ConvWork, core: Core) -> Verdict:
    """Every row and column of a transposed convolution must come from an input, none from padding alone."""
    if not work.transposed:
        return Verdict(True)
    top, _, left, _ = work.pads
    most = [(size - 1) * s + k - pad for size, s, k, pad in zip(work.input[:2], work.stride, work.kernel, (top, left),
                                                                 strict=True)]
    ok = work.output[0] <= most[0] and work.output[1] <= most[1]
    return Verdict(ok, f"output {work.output[0]} x {work.output[1]}, allowed {most[0]} x {most[1]}")


def limit_output_row_stride(work: ConvWork, core: Core) -> Verdict:
    """A transposed convolution writes rows one vertical stride apart: that must lie within the engine's range."""
    if not work.transposed or core.stride_out_h is None:
        return Verdict(True)
    return _in_range(work.stride[0], core.stride_out_h, "vertical stride")


def limit_groups(work: ConvWork, core: Core) -> Verdict:
    """A grouped convolution that is not depthwise does not run on the DPU."""
    return Verdict(work.groups == 1, f"{work.groups} groups")


def limit_conv_nonlinear(work: ConvWork, core: Core) -> Verdict:
    """The nonlinearity of a convolution must be one that the core has."""
    has = ("none", *(core.dwconv_nonlinears if work.depthwise else core.conv_nonlinears))
    return Verdict(work.nonlinear in has, f"{work.nonlinear}, the core has {', '.join(has[1:])}")


def limit_shift_cut(work: ConvWork, core: Core) -> Verdict:
    """shift_cut, input plus weight position less output position, must lie in 0 to 16."""
    return _in_range(work.shift_cut, (0, SHIFT_MAX), "shift_cut")


def limit_shift_bias(work: ConvWork, core: Core) -> Verdict:
    """shift_bias, input plus weight position less bias position, must lie in its range."""
    if work.shift_bias is None:
        return Verdict(True)
    low = min(0, -(24 - (8 + work.shift_cut)))
    return _in_range(work.shift_bias, (low, SHIFT_MAX), "shift_bias")


def limit_pool_kernel(work: PoolWork, core: Core) -> Verdict:
    """The kernel of a pool must lie within the engine's range."""
    allowed = core.max_pool_kernel if work.kind == "max" else core.average_pool_kernel
    return _both(_in_range(work.kernel[0], allowed, "kernel height"),
                 _in_range(work.kernel[1], allowed, "kernel width"))


def limit_pool_stride(work: PoolWork, core: Core) -> Verdict:
    """The stride of a pool must lie within the engine's range."""
    allowed = core.max_pool_stride if work.kind == "max" else core.average_pool_stride
    return _both(_in_range(work.stride[0], allowed, "vertical stride"),
                 _in_range(work.stride[1], allowed, "horizontal stride"))


def limit_pool_padding(work: PoolWork, core: Core) -> Verdict:
    """The padding of a pool must be smaller than its kernel and within the engine's range."""
    top, bottom, left, right = work.pads
    ok = max(top, bottom) < work.kernel[0] and max(left, right) < work.kernel[1]
    return _both(Verdict(ok, f"pads {work.pads}, kernel {work.kernel}"), _alu_padding(work.pads, core))


def limit_average_pool(work: PoolWork, core: Core) -> Verdict:
    """An average pool needs a core that has one."""
    return Verdict(work.kind == "max" or core.average_pool, f"{core.name} has none")


def limit_eltwise_kind(work: EltwiseWork, core: Core) -> Verdict:
    """The elementwise operation must be one that the core has."""
    return Verdict(work.kind in core.eltwise_types, f"{work.kind}, the core has {', '.join(core.eltwise_types)}")


def limit_eltwise_nonlinear(work: EltwiseWork, core: Core) -> Verdict:
    """An elementwise operation can be followed by relu only."""
    return Verdict(work.nonlinear in ("none", "relu"), work.nonlinear)


def limit_eltwise_shifts(work: EltwiseWork, core: Core) -> Verdict:
    """The positions of an elementwise operation may differ by 15 at most."""
    ok = 0 <= work.shift_read <= 15 and -15 <= work.shift_write <= 15
    return Verdict(ok, f"shift_read {work.shift_read}, shift_write {work.shift_write}")


def limit_upsample_position(work: UpsampleWork, core: Core) -> Verdict:
    """A resize copies bytes: its result must keep the position of its input."""
    return Verdict(work.positions_equal, "input and output positions differ")


def limit_activation(work: ActivationWork, core: Core) -> Verdict:
    """An activation runs as part of a convolution or sum; the DPU has no engine for one on its own."""
    return Verdict(False, work.kind)


def limit_move_positions(work: MoveWork, core: Core) -> Verdict:
    """Tensors that are only placed must keep their position."""
    return Verdict(work.positions_equal, "input and output positions differ")


Limit = Callable[..., Verdict]

LIMITS: Mapping[type[LayerWork], tuple[Limit, ...]] = {
    ConvWork: (limit_depthwise, limit_depthwise_multiplier, limit_groups, limit_transposed_kernel,
               limit_transposed_output, limit_output_row_stride, limit_conv_kernel, limit_conv_stride,
               limit_conv_padding, limit_depthwise_padding, limit_dilation, limit_weight_depth, limit_output_channels,
               limit_conv_nonlinear, limit_shift_cut, limit_shift_bias),
    PoolWork: (limit_average_pool, limit_pool_kernel, limit_pool_stride, limit_pool_padding),
    EltwiseWork: (limit_eltwise_kind, limit_eltwise_nonlinear, limit_eltwise_shifts),
    UpsampleWork: (limit_upsample_position,),
    ActivationWork: (limit_activation,),
    MoveWork: (limit_move_positions,),
}

REMEDIES: Mapping[str, str] = {
    "limit_conv_kernel": "split the kernel into smaller convolutions",
    "limit_conv_stride": "use a smaller stride followed by a pool",
    "limit_dilation": "use a smaller dilation or fewer channels",
    "limit_weight_depth": "split the layer by input channels and add the parts",
    "limit_output_channels": "split the layer by output channels and concatenate",
    "limit_conv_padding": "pad less, or pad in a layer of its own",
    "limit_depthwise_padding": "pad less, or pad in a layer of its own",
    "limit_depthwise": "use a plain convolution, or a core with depthwise enabled",
    "limit_depthwise_multiplier": "use a multiplier of 1 and a 1x1 convolution behind it",
    "limit_transposed_kernel": "resize the map and use a plain convolution",
    "limit_transposed_output": "leave out the output padding, or pad in a layer of its own",
    "limit_upsample_position": "quantize the resize with the position of its input",
    "limit_output_row_stride": "use a vertical stride of 4 or less, or resize the map and use a plain convolution",
    "limit_groups": "write the groups as separate convolutions and concatenate them",
    "limit_conv_nonlinear": "use relu or relu6, or a core with that nonlinearity",
    "limit_shift_cut": "quantize again with --adjust_shift_cut 1",
    "limit_shift_bias": "quantize again with --adjust_shift_bias 1",
    "limit_pool_kernel": "split the pool into two smaller ones",
    "limit_pool_stride": "use a smaller stride",
    "limit_pool_padding": "pad less, or pad in a layer of its own",
    "limit_average_pool": "use a max pool or a strided convolution",
    "limit_eltwise_kind": "use a core with elementwise multiplication",
    "limit_eltwise_nonlinear": "put the nonlinearity before the sum",
    "limit_eltwise_shifts": "quantize the operands to closer positions",
    "limit_activation": "put it directly behind a convolution, in place of that one's own",
    "limit_move_positions": "quantize with --align_concat 0",
}


def violations(work: LayerWork, core: Core) -> tuple[Violation, ...]:
    """The limits that a layer breaks on a core; empty if it fits."""
    found = []
    for limit in LIMITS[type(work)]:
        verdict = limit(work, core)
        if not verdict.ok:
            sentence = (limit.__doc__ or "").strip().rstrip(".")
            found.append(Violation(limit.__name__, sentence, verdict.detail, REMEDIES[limit.__name__]))
    return tuple(found)
