"""Fingerprints of all named targets against the families' table, decoding, unknown codes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpuflow.errors import ConfigError
from dpuflow.target.arch import core_differences
from dpuflow.target.fingerprint import decode_fingerprint
from dpuflow.target.select import by_fingerprint
from dpuflow.target.table import BOARDS, known_fingerprints, named_targets

# Targets specification, section 2: B -> (pixel parallel, channel parallel).
PARALLEL = {512: (4, 8), 800: (4, 10), 1024: (8, 8), 1152: (4, 12), 1600: (8, 10), 2304: (8, 12), 3136: (8, 14),
            4096: (8, 16)}
# Sections 3 and board specification: fingerprints that are published as such.
PUBLISHED = {
    "DPUCZDX8G_ISA1_B512": 0x0101000056010200, "DPUCZDX8G_ISA1_B800": 0x0101000056010201,
    "DPUCZDX8G_ISA1_B1024": 0x0101000056010402, "DPUCZDX8G_ISA1_B1152": 0x0101000056010203,
    "DPUCZDX8G_ISA1_B1600": 0x0101000056010404, "DPUCZDX8G_ISA1_B2304": 0x0101000056010405,
    "DPUCZDX8G_ISA1_B3136": 0x0101000056010406, "DPUCZDX8G_ISA1_B4096": 0x0101000056010407,
    "DPUCZDX8G_ISA0_B4096_MAX_BG2": 0x01000020F6014407, "DPUCZDX8G_ISA0_B1152_MAX": 0x01000020F7012203,
    "DPUCZDX8G_ISA0_B1152_MIN": 0x0100002022010103,
}
# Family -> groups, depthwise, average pool, leaky relu, augmentation, products, divisor of the pool's pixels.
FAMILIES = {
    "MAX": (3, True, True, True, True, False), "MAX_BG2": (2, True, True, True, True, False),
    "MAX_EM": (3, True, True, True, True, True), "MIN": (2, False, False, False, False, False),
    "": (2, True, True, True, True, True),
}
NAMES = [name for name in named_targets() if name not in BOARDS]


def expected(name: str) -> dict[str, object]:
    _, isa, size, *family = name.split("_")
    ops = int(size[1:])
    pixels, channels = PARALLEL[ops]
    groups, depthwise, average, leaky, augmented, products = FAMILIES["_".join(family)]
    new = isa == "ISA1"
    half = pixels // 2
    return {
        "name": name, "isa": int(new), "peak_ops_per_cycle": ops, "pixel_parallel": pixels,
        "input_channel_parallel": channels, "output_channel_parallel": channels, "image_bank_groups": groups,
        "channel_augmentation": 2 * channels if augmented else 0, "arch": size,
        "pool_pixel_parallel": 1 if family == ["MIN"] else half,
        "dwconv_pixel_parallel": half if depthwise else 0, "eltwise_pixel_parallel": half if new else 1,
        "eltwise_types": ("add", "mul") if products else ("add",),
        "conv_nonlinears": ("relu", "leaky_relu", "relu6") if leaky else ("relu", "relu6"),
        "average_pool": average, "max_reduce": True, "argmax": new, "mean_reduction": False,
        "max_pool_kernel": (1, 256) if new else (1, 8), "max_pool_stride": (1, 256) if new else (1, 8),
        "average_pool_kernel": (1, 256) if new else (2, 8), "average_pool_stride": (1, 256) if new else (1, 8),
        "dwconv_kernel": (1, 256) if new else (1, 16), "dwconv_stride": (1, 256) if new else (1, 8),
        "conv_kernel": (1, 16), "conv_stride": (1, 8), "bank_depth": 2048, "conv_write_parallel": 1,
        "alu_padding": (15, 255) if new else None, "board": "",
    }


def test_there_are_28_targets_and_five_boards():
    assert len(NAMES) == 28
    assert sorted(BOARDS) == ["pynq-z2", "ultra96", "zcu102", "zcu104", "zedboard"]
    families = {family: sum(name.split("_", 3)[3:] == ([family] if family else []) for name in NAMES)
                for family in FAMILIES}
    assert families == {"MAX": 8, "MAX_BG2": 3, "MAX_EM": 1, "MIN": 8, "": 8}


@pytest.mark.parametrize("name", NAMES)
def test_fields_of_a_named_target(name):
    core = named_targets()[name]
    fields = expected(name)
    assert {key: getattr(core, key) for key in fields} == fields
    if core.dwconv_pixel_parallel:
        assert core.dwconv_nonlinears == ("relu", "relu6")
    assert core.fingerprint == PUBLISHED.get(name, core.fingerprint)
    assert by_fingerprint(core.fingerprint) == core


# Targets specification, section 4: groups, PP, ICP, augmentation, leaky, pool PP, depthwise PP, port bits.
@pytest.mark.parametrize(("key", "fields"), [
    ("zedboard", (2, 4, 12, 24, False, 1, 0, 64)), ("pynq-z2", (2, 4, 12, 24, True, 2, 2, 64)),
    ("ultra96", (2, 8, 10, 0, True, 4, 4, 128)), ("zcu102", (2, 8, 16, 32, True, 4, 4, 128)),
    ("zcu104", (3, 8, 16, 32, True, 4, 4, 128)),
])
def test_boards(key, fields):
    core = named_targets()[key]
    assert fields == (core.image_bank_groups, core.pixel_parallel, core.input_channel_parallel,
                      core.channel_augmentation, "leaky_relu" in core.conv_nonlinears, core.pool_pixel_parallel,
                      core.dwconv_pixel_parallel, core.hp_port_bits)
    assert core.dnndk
    assert "relu6" in core.conv_nonlinears
    assert (core.average_pool, core.average_pool_kernel, core.eltwise_pixel_parallel) == (True, (2, 8), 1)


def test_inferred_board_fingerprints_are_those_of_the_named_targets():
    known = known_fingerprints()
    assert known[BOARDS["zcu102"].fingerprint] == "DPUCZDX8G_ISA0_B4096_MAX_BG2"
    assert known[BOARDS["zcu104"].fingerprint] == "DPUCZDX8G_ISA0_B4096_MAX"


def test_codes_of_release_2_5_name_the_same_targets():
    core = by_fingerprint(0x0101000016010407)
    assert (core.name, core.argmax) == ("DPUCZDX8G_ISA1_B4096", False)
    assert core_differences(core, named_targets()["DPUCZDX8G_ISA1_B4096"]) == (
        "fingerprint: 0x0101000016010407 against 0x0101000056010407", "argmax: False against True")


def test_a_code_without_a_name_is_decoded():
    core = by_fingerprint(0x0101000C36010208)
    assert core.name == "DPUCZDX8G_ISA1_B128_0101000C36010208"
    assert (core.pixel_parallel, core.input_channel_parallel, core.arch) == (4, 4, "B128")
    assert core.dwconv_nonlinears == ("relu", "leaky_relu", "relu6")
    assert by_fingerprint(0x0101000356010407).conv_write_parallel == 8


@pytest.mark.parametrize(("fingerprint", "message"), [
    (0x02000020F6014407, "not a DPUCZDX8G core.*DPUCAHX8H"), (0x0A00000000000000, "not a DPUCZDX8G core.*type 10"),
    (0x0102000056010407, "unknown instruction set version.*got 2"), (0, "not a DPUCZDX8G core.*type 0"),
    (0x010000202201010C, "unknown architecture code.*got 12"), (0x010100005601040F, "unknown architecture code"),
    (0x0100002020010107, "no working core.*0 image bank groups"), (0x0100002022010007, "pool parallel 0"),
    (-1, "not a fingerprint"), (2**64, "not a fingerprint.*65 bits"),
])
def test_codes_that_describe_no_core(fingerprint, message):
    with pytest.raises(ConfigError, match=message):
        by_fingerprint(fingerprint)


@given(st.integers(-2, 2**66))
def test_any_number_is_a_core_or_a_typed_error(fingerprint):
    try:
        core = decode_fingerprint(fingerprint)
    except ConfigError:
        return
    assert core.fingerprint == fingerprint


@given(st.integers(0, 11), st.integers(1, 15), st.integers(0, 15), st.integers(0, 15), st.integers(1, 3),
       st.integers(0, 255), st.booleans(), st.booleans())
def test_isa0_fields_round_trip(arch, pool, dwconv, eltwise, groups, flags, mul, reduce):
    code = (0x0100 << 48) + arch + (pool << 8) + (dwconv << 12) + (eltwise << 16) + (groups << 24)
    code += ((flags & 0xFC) << 24) + (mul << 36) + (reduce << 37)
    core = decode_fingerprint(code)
    assert (core.pool_pixel_parallel, core.dwconv_pixel_parallel) == (pool, dwconv)
    assert core.eltwise_pixel_parallel == eltwise
    assert core.image_bank_groups == groups
    bits = [bool(flags & 1 << bit) for bit in range(8)]
    assert (core.channel_augmentation > 0, core.mean_reduction, "leaky_relu" in core.conv_nonlinears,
            "relu6" in core.conv_nonlinears, core.average_pool, "relu6" in core.dwconv_nonlinears) == tuple(bits[2:])
    assert ("mul" in core.eltwise_types, core.max_reduce) == (mul, reduce)
