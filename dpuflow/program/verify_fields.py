"""What the numbers of an instruction must fulfil by themselves: window arithmetic, forms, the core's limits."""

from __future__ import annotations

from dpuflow.errors import CompileError
from dpuflow.program.banks import BOX
from dpuflow.program.instructions import MOST_OPERANDS, NONLINEARS, OPERAND_PREFIXES, Instruction
from dpuflow.program.maps import up
from dpuflow.program.schedule import Program
from dpuflow.target.arch import Core
from dpuflow.target.limits import SHIFT_MAX


def wrong(what: str, i: Instruction, at: int, got: object = None, expected: object = None) -> CompileError:
    return CompileError(f"the program is wrong: {what}", where=f"instruction {at} ({i.op}, layer {i.layer})", got=got,
                        expected=expected, remedy="this is a fault of the scheduler: please report it")


def _check_window(i: Instruction, at: int, core: Core) -> None:
    f = i.fields
    if min(f["pad_top"], f["pad_bottom"], f["pad_left"], f["pad_right"]) < 0:
        raise wrong("a negative pad", i, at)
    both = ("h", "rows", f["pad_top"] + f["pad_bottom"]), ("w", "cols", f["pad_left"] + f["pad_right"])
    for axis, size, pads in both:
        kernel, stride, dilation = f[f"kernel_{axis}"], f[f"stride_{axis}"], f.get(f"dilation_{axis}", 1)
        if stride < 1 or dilation < 1 or (f[f"out_{size}"] == 1 and stride > 1) or (kernel == 1 and dilation > 1):
            raise wrong("a stride or dilation without a use", i, at, (stride, dilation))
        span = (kernel - 1) * dilation + 1
        if f[f"in_{size}"] + pads - span != (f[f"out_{size}"] - 1) * stride:
            raise wrong("window and output size differ", i, at, f[f"out_{size}"],
                         (f[f"in_{size}"] + pads - span) // stride + 1)
    allowed = core.conv_kernel if i.op == "conv" else (1, 256)
    if not allowed[0] <= f["kernel_h"] <= allowed[1] or not allowed[0] <= f["kernel_w"] <= allowed[1]:
        raise wrong("a kernel beyond the engine's range", i, at, (f["kernel_h"], f["kernel_w"]), allowed)


def _check_operands(i: Instruction, at: int) -> None:
    f = i.fields
    if not 1 <= f["operands"] <= MOST_OPERANDS:
        raise wrong("an unknown form", i, at)
    for index, prefix in enumerate(OPERAND_PREFIXES):
        sizes = tuple(f[prefix + name] for name in ("rows", "cols", "channels"))
        if index < f["operands"] and sizes != (f["out_rows"], f["out_cols"], f["out_channels"]):
            raise wrong("operands and result differ in size", i, at, sizes)
        if index >= f["operands"] and (any(f[prefix + name] for name in BOX) or f[f"pos{index}"]):
            raise wrong("numbers of an operand that is not there", i, at)


def check_fields(program: Program, i: Instruction, at: int) -> None:
    """Numbers that no access shows: window arithmetic, channels, operands, nonlinearity, the core's limits."""
    f, core = i.fields, program.core
    if not 0 <= i.layer < len(program.layers):
        raise wrong("an unknown layer", i, at, i.layer)
    if "kernel_h" in f:
        _check_window(i, at, core)
    if "operands" in f:
        _check_operands(i, at)
    if i.queue == "ALU" and f["in_channels"] != f["out_channels"]:
        raise wrong("channels differ", i, at, f["out_channels"], f["in_channels"])
    _check_arithmetic(i, at, core)
    if "register" in f:
        _check_runs(i, at)
    if f.get("cell_stride") and f["channels"] > f["cell_stride"]:
        raise wrong("kernel cells that run into each other", i, at, f["channels"], f["cell_stride"])
    if i.op == "upsample":
        _check_upsample(i, at)
    if i.op not in ("add", "mul") and i.queue in ("CONV", "ALU") and f["in_group"] == f["out_group"]:
        raise wrong("a window reads the image group that it writes", i, at, f["in_group"])


def _check_runs(i: Instruction, at: int) -> None:
    """A pixel ends before the next begins, a row before the next row."""
    f = i.fields
    if f["cols"] > 1 and f["channels"] > f["pixel_stride"]:
        raise wrong("pixels that run into each other", i, at, f["channels"], f["pixel_stride"])
    if f["rows"] > 1 and (f["cols"] - 1) * f["pixel_stride"] + f["channels"] > f["row_stride"]:
        raise wrong("rows that run into each other", i, at, f["cols"], f["row_stride"])


def _check_upsample(i: Instruction, at: int) -> None:
    f = i.fields
    for axis, size in (("h", "rows"), ("w", "cols")):
        factor, skip = f[f"factor_{axis}"], f[f"skip_{axis}"]
        if factor < 1 or not 0 <= skip < factor or up(skip + f[f"out_{size}"], factor) != f[f"in_{size}"]:
            raise wrong("factor and output size differ", i, at, f[f"out_{size}"], (factor, skip))


def _check_arithmetic(i: Instruction, at: int, core: Core) -> None:
    f = i.fields
    if not 0 <= f.get("nonlinear", 0) < len(NONLINEARS):
        raise wrong("an unknown form", i, at)
    if f.get("has_bias", 0) not in (0, 1) or not 0 <= f.get("shift_cut", 0) <= SHIFT_MAX:
        raise wrong("a shift beyond 0 to 16", i, at, f.get("shift_cut"))
    if not f.get("has_bias", 1) and (f["bias_base"] or f["shift_bias"]):
        raise wrong("numbers of a bias that is not there", i, at)
    if i.op == "conv" and (f["augmented"] not in (0, 1) or (f["out_row_step"] > 0) != (f["out_rows"] > 1)):
        raise wrong("an unknown form", i, at)
    if f.get("augmented") and (f["kernel_w"] == 1 or f["kernel_w"] * f["in_channels"] > core.channel_augmentation):
        raise wrong("a kernel row that cannot be packed into the lanes", i, at, f["kernel_w"] * f["in_channels"])
