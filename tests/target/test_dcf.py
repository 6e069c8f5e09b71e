"""DNNDK configuration files, built here from the message table; damaged, lying and random ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpuflow.errors import ConfigError, DpuError, FormatError
from dpuflow.target.arch import core_differences
from dpuflow.target.board import ZYNQ_7000, board_timing
from dpuflow.target.dcf import parse_dcf, read_dcf, text_facts
from dpuflow.target.select import find_target
from dpuflow.target.table import named_targets


def varint(value: int) -> bytes:
    value %= 2**64
    out = bytearray()
    while value > 127:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def message(fields: dict[int, Any]) -> bytes:
    """Protobuf bytes: numbers as varints, dicts as messages, bytes as they are."""
    out = b""
    for number, value in fields.items():
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = message(value) if isinstance(value, dict) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def fields(**changes: dict[int, Any]) -> dict[str, dict[int, Any]]:
    """The ZedBoard's column of the targets specification, section 4."""
    made: dict[str, dict[int, Any]] = {
        "core": {1: 1, 5: 320, 6: 64, 7: 1, 8: 2, 9: 4, 10: 12, 11: 12},
        "memory": {1: 32, 2: 2048, 3: 2048, 4: 2048},
        "load": {1: 2, 5: 1}, "save": {1: 2}, "conv": {1: 1, 6: 1},
        "pool": {1: 1, 5: 1, 7: bytes(range(2, 9))}, "dwconv": {6: 1}, "eltwise": {1: 1}, "misc": {1: 1},
        "text": {1: b"Arch of DPU:B1152;RAM Usage:low;Number of DPU Core:1"},
    }
    return {part: {**values, **changes.get(part, {})} for part, values in made.items()}


def dcf(**changes: dict[int, Any]) -> bytes:
    parts = fields(**changes)
    engines = {number: parts[name] for number, name in
               enumerate(("load", "save", "conv", "pool", "dwconv", "eltwise", "misc"), 1)}
    dpu = {2: parts["core"], 3: parts["memory"], 4: engines, 5: parts["text"]}
    return message({1: 1, 3: {1: 1, 2: dpu}})


def test_a_zedboard_file_describes_the_zedboard():
    core = parse_dcf(dcf(), "ZedBoard.dcf")
    assert core_differences(core, named_targets()["zedboard"]) == ()
    assert core.fingerprint == 0x01000020E6010103
    assert "RAM Usage: low" in core.description


# The other columns of section 4: what differs from the ZedBoard's.
BOARD_CHANGES: dict[str, dict[str, dict[int, Any]]] = {
    "pynq-z2": {"conv": {5: 1}, "pool": {1: 2}, "dwconv": {1: 2}},
    "ultra96": {"core": {6: 128, 9: 8, 10: 10, 11: 10}, "load": {5: 0}, "conv": {5: 1}, "pool": {1: 4},
                "dwconv": {1: 4}, "text": {1: b""}},
    "zcu102": {"core": {6: 128, 9: 8, 10: 16, 11: 16}, "conv": {5: 1}, "pool": {1: 4}, "dwconv": {1: 4},
               "text": {1: b""}},
    "zcu104": {"core": {6: 128, 8: 3, 9: 8, 10: 16, 11: 16}, "conv": {5: 1}, "pool": {1: 4}, "dwconv": {1: 4},
               "text": {1: b""}},
}


@pytest.mark.parametrize("board", BOARD_CHANGES)
def test_other_boards(board):
    core = parse_dcf(dcf(**BOARD_CHANGES[board]), f"{board}.dcf")
    assert core_differences(core, named_targets()[board]) == ()


def test_the_content_tells_the_board_not_the_file_name(tmp_path):
    path = tmp_path / "dpu-2020-01-01.dcf"
    path.write_bytes(dcf())
    core = find_target(str(path))
    assert board_timing(core) == ZYNQ_7000
    assert (core.name, core.board, core.dnndk) == ("dpu-2020-01-01", "dpu-2020-01-01", True)


def test_values_of_the_file_win():
    core = parse_dcf(dcf(memory={3: 1024}, pool={7: bytes([3, 5])}))
    assert (core.bank_depth, core.average_pool_kernel) == (1024, (3, 5))


@pytest.mark.parametrize(("changes", "error", "expected"), [
    ({"text": {1: b"Arch of DPU:B4096"}}, FormatError, "contradicts itself"),
    ({"core": {9: 5}}, FormatError, "no DPU has this parallelism.*5 x 12 x 12"),
    ({"core": {9: -4}}, FormatError, "no DPU has this parallelism"),
    ({"core": {8: 7}}, FormatError, "out of range.*expected 0..3, got 7"),
    ({"core": {8: 0}}, ConfigError, "no working core"),
    ({"core": {6: 77}}, FormatError, "memory port width.*got 77"),
    ({"pool": {1: 16}}, FormatError, "out of range.*0..15, got 16"),
    ({"pool": {1: -1}}, FormatError, "out of range.*got -1"),
    ({"pool": {7: varint(2**31 - 1)}}, FormatError, "average pool kernel"),
    ({"pool": {7: b"\x00"}}, FormatError, "average pool kernel.*got 0"),
    ({"memory": {2: 3}}, FormatError, "RAM depth.*got 3"),
    ({"conv": {1: 99}}, FormatError, "write parallelism.*got 99"),
])
def test_files_that_lie(changes, error, expected):
    with pytest.raises(error, match=expected):
        parse_dcf(dcf(**changes), "board.dcf")


@pytest.mark.parametrize("data", [b"", b"\x08\x01", b"no protobuf at all", message({1: 1, 3: {1: 1, 2: {}}}),
                                  message({1: 1, 3: {2: {2: fields()["core"]}}})])
def test_files_that_describe_no_dpu(data):
    with pytest.raises(FormatError):
        parse_dcf(data, "board.dcf")


@given(st.integers(0, len(dcf())), st.binary(max_size=12), st.integers(0, 12))
def test_damaged_bytes_yield_a_core_or_a_typed_error(at, inserted, dropped):
    data = dcf()
    try:
        core = parse_dcf(data[:at] + inserted + data[at + dropped:])
    except DpuError:
        return
    assert core.image_bank_groups in (1, 2, 3)


@given(st.binary(max_size=200))
def test_random_bytes_yield_typed_errors_only(data):
    with pytest.raises(DpuError):
        parse_dcf(data)


@pytest.mark.parametrize(("name", "error"), [("absent.dcf", "no such file"), (".", "a folder was given")])
def test_missing_file_and_folder(tmp_path, name, error):
    with pytest.raises(FormatError, match=error):
        read_dcf(tmp_path / name)


def test_text_facts():
    assert text_facts("a: 1;b:x:y;;c; :z") == {"a": "1", "b": "x:y", "c": ""}


@pytest.mark.skipif("DPUFLOW_VENDOR" not in os.environ, reason="DPUFLOW_VENDOR does not name the vendor's files")
def test_the_vendor_s_file():
    core = read_dcf(Path(os.environ["DPUFLOW_VENDOR"]) / "ZedBoard.dcf")
    assert core_differences(core, named_targets()["zedboard"]) == ()
