"""Target descriptions as Vitis AI's compiler takes them (``vitis.ai.Target``, text form).

The feature code says what the core is; every other field must agree with it, except for limits,
which the file may narrow (targets specification, section 6).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dpuflow.errors import FormatError
from dpuflow.files import read_bytes
from dpuflow.formats.textproto import Message, parse_text
from dpuflow.target.arch import Core, Range
from dpuflow.target.fingerprint import TYPE_CODES, decode_fingerprint

_NONLINEAR: Mapping[object, str] = {"relu_six": "relu6"}
_ELTWISE: Mapping[object, str] = {"mult": "mul", 0: "add", 1: "mul"}
_RANGE = re.compile(r"(\d{1,4})-(\d{1,4})")


def _number(message: Message, name: str, where: object) -> int:
    value = message.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**48:
        raise FormatError(f"the field '{name}' is not a number", where=where, got=value, expected="a number")
    return value


def _fingerprint(target: Message, where: object) -> int:
    kind = target.get("type")
    if kind not in TYPE_CODES:
        raise FormatError("the field 'type' names no DPU", where=where, got=kind, expected=", ".join(TYPE_CODES))
    isa = _number(target, "isa_version", where)
    if isa > 255:
        raise FormatError("the field 'isa_version' is out of range", where=where, got=isa, expected="0 or 1")
    return TYPE_CODES[str(kind)] * 2**56 + isa * 2**48 + _number(target, "feature_code", where)


def _range(message: Message, name: str, where: object) -> Range | None:
    value = message.get(name)
    if value is None:
        return None
    found = _RANGE.fullmatch(str(value))
    low, high = map(int, found.groups()) if found else (1, 0)
    if low > high:
        raise FormatError(f"the limit '{name}' is not a range", where=where, got=value, expected="low-high")
    return low, high


def _image_banks(target: Message) -> list[Message]:
    return [bank for bank in target.all("bank_group") if isinstance(bank, Message) and bank.get("type") == "Virtual"]


def _words(message: Message, name: str, names: Mapping[object, str]) -> tuple[str, ...]:
    return tuple(sorted(names.get(word, str(word)) for word in message.all(name)))


def _claims(target: Message, core: Core) -> Iterator[tuple[str, object, object]]:
    """Field, what the file says (None: nothing), what its feature code says."""
    conv, eltwise = target.part("conv_engine"), target.part("eltwise_engine")
    alu = target.part("alu_engine" if core.isa == 1 else "pool_engine")
    for key in ("pixel_parallel", "input_channel_parallel", "output_channel_parallel"):
        yield f"conv_engine.{key}", conv.get(key), getattr(core, key)
    augmentation = conv.part("channel_augmentation").get("channel_num", 0)
    yield "conv_engine.channel_augmentation", augmentation, core.channel_augmentation
    yield "conv_engine.nonlinear", _words(conv.part("nonlinear"), "nonlinear_type", _NONLINEAR), tuple(
        sorted(core.conv_nonlinears))
    yield "eltwise_engine.pixel_parallel", eltwise.get("pixel_parallel"), core.eltwise_pixel_parallel
    yield "eltwise_engine.elew_type", _words(eltwise, "elew_type", _ELTWISE), tuple(sorted(core.eltwise_types))
    yield "pool or alu pixel_parallel", alu.get("pixel_parallel"), core.pool_pixel_parallel
    if core.isa == 0:
        yield "dwconv_engine.pixel_parallel", target.part("dwconv_engine").get("pixel_parallel", 0), (
            core.dwconv_pixel_parallel)
    yield "save_engine.argmax", bool(target.part("save_engine").get("argmax", False)), core.argmax
    yield "bank_group: image banks", len(_image_banks(target)), core.image_bank_groups
    for bank in _image_banks(target):
        yield f"bank_group {bank.get('name')}: bank_num", bank.get("bank_num"), core.pixel_parallel
        yield f"bank_group {bank.get('name')}: bank_width", bank.get("bank_width"), core.input_channel_parallel


def _limits(target: Message, core: Core, where: object) -> dict[str, Any]:
    """Ranges that the file states, by the core's field."""
    conv, alu = target.part("conv_engine").part("conv_limit"), target.part("alu_engine").part("alu_limit")
    pool, dwconv = target.part("pool_engine"), target.part("dwconv_engine").part("dwconv_limit")
    stated = {"conv_kernel": (conv, "kernel_size"), "conv_stride": (conv, "stride"),
              "stride_out_h": (conv, "stride_out_h"),
              "dwconv_kernel": (dwconv if core.isa == 0 else alu, "kernel_size"),
              "dwconv_stride": (dwconv if core.isa == 0 else alu, "stride")}
    for kind, field in (("max", "max_limit"), ("average", "avg_limit")):
        limit = pool.part(field) if core.isa == 0 else alu
        stated |= {f"{kind}_pool_kernel": (limit, "kernel_size"), f"{kind}_pool_stride": (limit, "stride")}
    ranges = {key: _range(message, name, where) for key, (message, name) in stated.items()}
    return {key: value for key, value in ranges.items() if value is not None}


def _bank_depth(target: Message, core: Core, where: object) -> int:
    depths = [_number(bank, "bank_depth", where) for bank in target.all("bank_group") if isinstance(bank, Message)]
    if depths and not 256 <= min(depths) <= max(depths) <= 65536:
        raise FormatError("impossible bank_depth", where=where, got=f"{min(depths)}..{max(depths)}",
                          expected="256..65536")
    return min(depths, default=core.bank_depth)


def parse_prototxt(data: bytes, where: object = "prototxt") -> Core:
    """The core that a target description's bytes describe; FormatError naming the field that does not fit."""
    target = parse_text(data, where)
    name = str(target.get("name") or Path(str(where)).stem)
    core = decode_fingerprint(_fingerprint(target, where), name)
    for field, stated, coded in _claims(target, core):
        if stated is not None and stated != coded:
            raise FormatError("the file contradicts itself", where=where, got=f"{field} {stated}",
                              expected=f"{coded} by its feature_code 0x{core.fingerprint % 2**48:012x}")
    return dataclasses.replace(core, bank_depth=_bank_depth(target, core, where), **_limits(target, core, where))


def read_prototxt(path: Path | str) -> Core:
    """Read a target description."""
    return parse_prototxt(read_bytes(path), path)
