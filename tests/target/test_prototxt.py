"""Target descriptions in protobuf's text form: every named core, and files that lie or are none."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpuflow.errors import DpuError, FormatError
from dpuflow.formats.textproto import Message, parse_text
from dpuflow.target.arch import Core
from dpuflow.target.prototxt import parse_prototxt
from dpuflow.target.select import find_target
from dpuflow.target.table import named_targets

TARGETS = {name: core for name, core in named_targets().items() if not core.board}


def limit(name: str, kernel, stride, more: str = "") -> str:
    return f'{name} {{ kernel_size: "{kernel[0]}-{kernel[1]}" stride: "{stride[0]}-{stride[1]}" {more}}}'


def nonlinear(names) -> str:
    return "nonlinear { " + " ".join(f"nonlinear_type: {n.replace('relu6', 'relu_six')}" for n in names) + " }"


def alu(core: Core) -> str:
    if core.isa == 1:
        out = f'stride_out_h: "{core.stride_out_h[0]}-{core.stride_out_h[1]}" '
        return (f"alu_engine {{ pixel_parallel: {core.pool_pixel_parallel} alu_type: dwconv alu_type: avg_pool "
                f"{limit('alu_limit', core.max_pool_kernel, core.max_pool_stride, out)} }}")
    average = limit("avg_limit", core.average_pool_kernel, core.average_pool_stride) if core.average_pool else ""
    dwconv = ""
    if core.dwconv_pixel_parallel:
        dwconv = (f"dwconv_engine {{ pixel_parallel: {core.dwconv_pixel_parallel} "
                  f"{limit('dwconv_limit', core.dwconv_kernel, core.dwconv_stride)} }}")
    return (f"pool_engine {{ pixel_parallel: {core.pool_pixel_parallel} pool_type: max "
            f"{limit('max_limit', core.max_pool_kernel, core.max_pool_stride)} {average} }} {dwconv}")


def description(core: Core) -> str:
    """A target description as the vendor's files state one."""
    banks = "\n".join(
        f'bank_group {{ name: "VB{index}" type: "Virtual" base_id: {index * core.pixel_parallel} '
        f"bank_num: {core.pixel_parallel} bank_width: {core.input_channel_parallel} bank_depth: {core.bank_depth} }}"
        for index in range(core.image_bank_groups))
    augmentation = (f"channel_augmentation {{ channel_num: {core.channel_augmentation} }}"
                    if core.channel_augmentation else "")
    out = f'stride_out_h: "{core.stride_out_h[0]}-{core.stride_out_h[1]}" ' if core.stride_out_h else ""
    kinds = " ".join(f"elew_type: {kind.replace('mul', 'mult')}" for kind in core.eltwise_types)
    return f"""# a comment
name: "{core.name}"
type: "DPUCZDX8G"
isa_version: 0x{core.isa:02x}
feature_code: 0x{core.fingerprint % 2**48:012x}
{banks}
bank_group {{ name: 'CONVW' type: "Param" bank_num: {core.output_channel_parallel} bank_depth: {core.bank_depth} }}
load_engine {{ channel_parallel: 16 output_bank: "VB0" output_bank: "VB1" }}
save_engine {{ argmax: {'true' if core.argmax else 'false'} }}
conv_engine {{
  input_channel_parallel: {core.input_channel_parallel}
  output_channel_parallel: {core.output_channel_parallel}
  pixel_parallel: {core.pixel_parallel}
  {augmentation}
  {nonlinear(core.conv_nonlinears)}
  {limit('conv_limit', core.conv_kernel, core.conv_stride, out)}
}}
eltwise_engine {{ pixel_parallel: {core.eltwise_pixel_parallel} {kinds} {nonlinear(['relu'])} }}
{alu(core)}
"""


@pytest.mark.parametrize("name", TARGETS)
def test_every_named_core(name):
    assert parse_prototxt(description(TARGETS[name]).encode()) == TARGETS[name]


def test_a_file_selects_a_core(tmp_path):
    path = tmp_path / "mine.prototxt"
    path.write_text(description(TARGETS["DPUCZDX8G_ISA1_B1152"]))
    assert find_target(str(path)).name == "DPUCZDX8G_ISA1_B1152"


def test_limits_and_depth_of_the_file_hold():
    core = TARGETS["DPUCZDX8G_ISA0_B1152_MAX"]
    text = description(core).replace('"1-16" stride: "1-8"', '"1-5" stride: "1-2"').replace("2048", "1024")
    made = parse_prototxt(text.encode())
    assert (made.conv_kernel, made.conv_stride, made.dwconv_kernel, made.bank_depth) == ((1, 5), (1, 2), (1, 5), 1024)


B1152 = description(TARGETS["DPUCZDX8G_ISA0_B1152_MAX"])


@pytest.mark.parametrize(("old", "new", "message"), [
    ("pixel_parallel: 4", "pixel_parallel: 8",
     r"expected 4 by its feature_code 0x0020f7.*conv_engine.pixel_parallel 8"),
    ("input_channel_parallel: 12", "input_channel_parallel: 16", "conv_engine.input_channel_parallel 16"),
    ("channel_num: 24", "channel_num: 12", "conv_engine.channel_augmentation 12"),
    ("nonlinear_type: leaky_relu", "", "conv_engine.nonlinear"),
    ("elew_type: add", "elew_type: add elew_type: mult", "eltwise_engine.elew_type"),
    ("dwconv_engine", "other_engine", r"expected 2 .*dwconv_engine.pixel_parallel 0"),
    ("argmax: false", "argmax: true", "save_engine.argmax True"),
    ('type: "Virtual" base_id: 0', 'type: "Param"', "expected 3 .*image banks 2"),
    ("bank_width: 12", "bank_width: 10", "bank_group VB0: bank_width 10"),
    ("bank_depth: 2048", "bank_depth: 3", "impossible bank_depth"),
    ('kernel_size: "1-16"', 'kernel_size: "16-1"', "the limit 'kernel_size' is not a range"),
    ('kernel_size: "1-16"', 'kernel_size: "all"', "the limit 'kernel_size' is not a range"),
    ('type: "DPUCZDX8G"', 'type: "DPU"', "the field 'type' names no DPU"),
    ("isa_version: 0x00", "isa_version: yes", "'isa_version' is not a number"),
    ("isa_version: 0x00", "isa_version: 0x1ff", "'isa_version' is out of range"),
    ("feature_code", "code", "'feature_code' is not a number"),
    ("conv_engine {", "conv_engine {{", r"line \d+: .*expected a field's name"),
    ("conv_engine {", "conv_engine ?", r"not protobuf text"),
    ("isa_version: 0x00", "isa_version: 09", "not protobuf text"),
    ("isa_version: 0x00", "isa_version 3", "expected ':' or '{'"),
    ("conv_engine {", "x { " * 20, "16 messages inside each other"),
])
def test_files_that_lie(old, new, message):
    assert old in B1152
    with pytest.raises(DpuError, match=message):
        parse_prototxt(B1152.replace(old, new, 1).encode(), "t.prototxt")


@pytest.mark.parametrize("data", [b"\xff\xfe", b"}", b"{", b"a: {", b"a: }", b"a", b'a: "', b"name: 'x'", b"a <"])
def test_what_is_no_description(data):
    with pytest.raises(FormatError):
        parse_prototxt(data, "t.prototxt")


def test_text_form_in_its_spellings():
    message = parse_text(b"a: 1, b < c: 'x' >; b { c: \"y\" d: true } # end\n e: -0x10 f: 010 g: name")
    assert (message.get("a"), message.get("e"), message.get("f"), message.get("g")) == (1, -16, 8, "name")
    assert [part.get("c") for part in message.all("b") if isinstance(part, Message)] == ["x", "y"]
    assert message.part("b").get("d") is True
    assert message.part("a") == Message(())


@given(st.integers(0, 10**9))
def test_damaged_text_yields_a_core_or_a_typed_error(seed):
    rng = np.random.default_rng(seed)
    data = bytearray(B1152.encode())
    for at in rng.integers(0, len(data), 3):
        data[at] = rng.integers(32, 127) if rng.random() < 0.9 else rng.integers(0, 256)
    with contextlib.suppress(DpuError):
        assert isinstance(parse_prototxt(bytes(data)), Core)
