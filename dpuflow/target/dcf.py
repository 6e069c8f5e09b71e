"""DNNDK configuration files (``.dcf``): which DPU a board's bitstream holds.

Field meanings: targets specification, section 4. The file states facts of the core; its ISA0
fingerprint is inferred from them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dpuflow.errors import FormatError
from dpuflow.files import read_bytes
from dpuflow.formats.protobuf import Table, messages, parse
from dpuflow.target.arch import Core
from dpuflow.target.fingerprint import ARCHITECTURES, decode_fingerprint

_TABLE: Table = {
    "Dcf": ((1, "version", "int32"), (3, "body", "Body")),
    "Body": ((1, "version", "int32"), (2, "dpu", "Dpu")),
    "Dpu": ((2, "core", "CoreInfo"), (3, "memory", "Memory"), (4, "engines", "Engines"), (5, "text", "Text")),
    "CoreInfo": ((1, "constant", "int32"), (5, "target_version", "int32"), (6, "hp_port_bits", "int32"),
                 (7, "data_width", "int32"), (8, "image_bank_groups", "int32"), (9, "pixel_parallel", "int32"),
                 (10, "input_channel_parallel", "int32"), (11, "output_channel_parallel", "int32")),
    "Memory": ((1, "mean_depth", "int32"), (2, "depth_2", "int32"), (3, "depth_3", "int32"), (4, "depth_4", "int32")),
    "Engines": ((1, "load", "Load"), (2, "save", "Save"), (3, "conv", "Conv"), (4, "pool", "Pool"),
                (5, "dwconv", "Dwconv"), (6, "eltwise", "Eltwise"), (7, "misc", "Misc")),
    "Load": ((1, "parallel", "int32"), (5, "channel_augmentation", "int32")),
    "Save": ((1, "parallel", "int32"),),
    "Conv": ((1, "write_parallel", "int32"), (5, "leaky_relu", "int32"), (6, "relu6", "int32")),
    "Pool": ((1, "pixel_parallel", "int32"), (5, "average", "int32"), (7, "average_kernels", "int32", "packed")),
    "Dwconv": ((1, "pixel_parallel", "int32"), (6, "relu6", "int32")),
    "Eltwise": ((1, "pixel_parallel", "int32"),),
    "Misc": ((1, "write_parallel", "int32"),),
    "Text": ((1, "text", "bytes"),),
}
_Dcf = messages("dpuflow.dcf", _TABLE)["Dcf"]


def text_facts(text: str) -> dict[str, str]:
    """The ``key:value`` pairs of the file's text, separated by ';'."""
    pairs = (part.partition(":") for part in text.split(";"))
    return {key.strip(): value.strip() for key, _, value in pairs if key.strip()}


def _code(pixels: int, inputs: int, outputs: int, where: object) -> int:
    for code, (_, pp, channels) in ARCHITECTURES.items():
        if (pp, channels, channels) == (pixels, inputs, outputs):
            return code
    raise FormatError("no DPU has this parallelism", where=where, got=f"{pixels} x {inputs} x {outputs}",
                      expected="pixel, input and output channel parallelism of a B64 to B4096")


def _fingerprint(dpu: Any, where: object) -> int:
    core, engines = dpu.core, dpu.engines
    fields = (
        (0, _code(core.pixel_parallel, core.input_channel_parallel, core.output_channel_parallel, where), 15),
        (8, engines.pool.pixel_parallel, 15), (12, engines.dwconv.pixel_parallel, 15),
        (16, engines.eltwise.pixel_parallel, 15), (24, core.image_bank_groups, 3),
        (26, bool(engines.load.channel_augmentation), 1), (28, bool(engines.conv.leaky_relu), 1),
        (29, bool(engines.conv.relu6), 1), (30, bool(engines.pool.average), 1), (31, bool(engines.dwconv.relu6), 1),
        (37, 1, 1),  # max_reduce: assumed set (targets specification, section 5)
    )
    code = 0x0100 * 2**48
    for low, value, highest in fields:
        if not 0 <= int(value) <= highest:
            raise FormatError("a value is out of range", where=where, got=int(value), expected=f"0..{highest}")
        code += int(value) * 2**low
    return code


_SWITCH = {"enabled": True, "disabled": False}
_RAM_USAGE = {"low": 2, "high": 3}  # image bank groups (targets specification, section 4)


def _claims(facts: Mapping[str, str], core: Core, hp_port_bits: int) -> Iterator[tuple[str, object, object]]:
    """What the text says and what the numbers say; a text that is not understood claims nothing."""
    yield "Arch of DPU", facts.get("Arch of DPU", core.arch), core.arch
    switches = (("Channel Augmentation", core.channel_augmentation > 0), ("AveragePool", core.average_pool),
                ("DepthWiseConv", core.dwconv_pixel_parallel > 0))
    for key, number in switches:
        yield key, _SWITCH.get(facts.get(key, "").lower(), number), number
    groups = core.image_bank_groups
    yield "image bank groups (RAM Usage)", _RAM_USAGE.get(facts.get("RAM Usage", "").lower(), groups), groups
    leaky = "leaky_relu" in core.conv_nonlinears
    yield "leaky ReLU", "leaky" in facts["ReLU Type"].lower() if "ReLU Type" in facts else leaky, leaky
    width = "M-AXI HP Data Width (DPU)"
    yield width, facts.get(width, str(hp_port_bits)), str(hp_port_bits)


def _check_text(facts: Mapping[str, str], core: Core, hp_port_bits: int, where: object) -> None:
    for what, in_text, by_numbers in _claims(facts, core, hp_port_bits):
        if in_text != by_numbers:
            raise FormatError("the file contradicts itself", where=where, got=f"{in_text} in its text",
                              expected=f"{what} {by_numbers} by its numbers",
                              remedy="make it again from the hardware hand-off file")


def _bounded(value: int, allowed: tuple[int, ...] | range, what: str, where: object) -> int:
    if value not in allowed:
        shown = f"{allowed.start}..{allowed.stop - 1}" if isinstance(allowed, range) else " or ".join(map(str, allowed))
        raise FormatError(f"impossible {what}", where=where, got=value, expected=shown)
    return value


def _bank_depth(memory: Any, where: object) -> int:
    """Rows of a bank: the least of bias, weight and image RAM (which field is which is unsure)."""
    stated = [depth for depth in (memory.depth_2, memory.depth_3, memory.depth_4) if depth]
    return _bounded(min(stated, default=2048), range(256, 65537), "RAM depth", where)


def _average_kernels(pool: Any, core: Core, where: object) -> tuple[int, int]:
    kernels = [_bounded(size, range(1, 257), "average pool kernel", where) for size in pool.average_kernels]
    return (min(kernels), max(kernels)) if kernels else core.average_pool_kernel


def parse_dcf(data: bytes, where: object = "dcf") -> Core:
    """The core that a ``.dcf`` file's bytes describe; FormatError for anything else."""
    message = parse(_Dcf, data, where)
    dpu = message.body.dpu
    if not dpu.HasField("core") or not dpu.HasField("engines"):
        raise FormatError("the file describes no DPU", where=where, expected="a DNNDK configuration file (.dcf)")
    core = decode_fingerprint(_fingerprint(dpu, where), Path(str(where)).stem)
    facts = text_facts(dpu.text.text.decode("utf-8", "replace"))
    _check_text(facts, core, dpu.core.hp_port_bits, where)
    description = "; ".join(f"{key}: {value}" for key, value in facts.items())
    return dataclasses.replace(
        core, board=Path(str(where)).stem, average_pool_kernel=_average_kernels(dpu.engines.pool, core, where),
        conv_write_parallel=_bounded(dpu.engines.conv.write_parallel or 1, range(1, 9), "write parallelism", where),
        bank_depth=_bank_depth(dpu.memory, where), description=description,
        hp_port_bits=_bounded(dpu.core.hp_port_bits or 128, (32, 64, 128), "memory port width", where))


def read_dcf(path: Path | str) -> Core:
    """Read a ``.dcf`` file."""
    return parse_dcf(read_bytes(path), path)
