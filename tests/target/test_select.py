"""Every way to name a core, and what is said to those that name none."""

from __future__ import annotations

import json

import pytest

from dpuflow.errors import ConfigError, DpuError, FormatError
from dpuflow.target.select import find_target
from target.test_dcf import dcf

B4096 = "DPUCZDX8G_ISA1_B4096"


@pytest.mark.parametrize(("text", "name"), [
    ("zedboard", "zedboard"), ("ZedBoard", "zedboard"), ("PYNQ_Z2", "pynq-z2"), ("Ultra96", "ultra96"),
    (B4096, B4096), ("0x0101000056010407", B4096), ("0X101000056010407", B4096), ("0x101000016010407", B4096),
    ("0x1000020f7012203", "DPUCZDX8G_ISA0_B1152_MAX"), ("0x100002022010103", "DPUCZDX8G_ISA0_B1152_MIN"),
    ("0x01000020E6010103", "DPUCZDX8G_ISA0_B1152_01000020E6010103"),
])
def test_names_and_fingerprints(text, name):
    assert find_target(text).name == name


@pytest.mark.parametrize("text", ["0x", "0xzz", "0x-5", "0x0_1", "0x" + "1" * 17, "0x " + "1" * 15, "0x" + "f" * 16])
def test_fingerprints_that_are_none(text):
    with pytest.raises(ConfigError):
        find_target(text)


@pytest.mark.parametrize(("text", "remedy"), [
    ("zedbord", "zedboard"), ("DPUCZDX8G_ISA1_B4095", B4096), ("dpuczdx8g_isa1_b1152", "DPUCZDX8G_ISA1_B1152"),
    ("?", "dpuflow targets"), ("", "dpuflow targets"),
])
def test_unknown_names_get_a_hint(text, remedy):
    with pytest.raises(ConfigError, match="unknown target") as caught:
        find_target(text)
    assert remedy in caught.value.remedy


ARCH_FILES = [
    ({"target": "DPUCZDX8G_ISA0_B4096_MAX_BG2"}, "DPUCZDX8G_ISA0_B4096_MAX_BG2"),
    ({"fingerprint": "0x101000016010407"}, B4096), ({"fingerprint": "0101000056010407"}, B4096),
    ({"fingerprint": 0x0101000056010407}, B4096),
    ({"target": "dpuv2", "dcf": "board.dcf", "cpu_arch": "arm64"}, "board"),
    ({"target": "DPUCZDX8G", "dcf": "./board.dcf", "cpu_arch": "arm32"}, "board"),
    ({"target": "zedboard"}, "zedboard"),
]


@pytest.mark.parametrize(("content", "name"), ARCH_FILES)
@pytest.mark.parametrize("suffix", [".json", ".JSON"])
def test_arch_files(tmp_path, content, name, suffix):
    (tmp_path / "board.dcf").write_bytes(dcf())
    path = tmp_path / f"arch{suffix}"
    path.write_text(json.dumps(content))
    assert find_target(str(path)).name == name


def test_an_absolute_path_in_an_arch_file(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.DCF").write_bytes(dcf())
    path = tmp_path / "arch.json"
    path.write_text(json.dumps({"dcf": str(tmp_path / "elsewhere" / "b.DCF")}))
    assert find_target(str(path)).arch == find_target(str(tmp_path / "elsewhere" / "b.DCF")).arch == "B1152"


@pytest.mark.parametrize(("content", "error", "message"), [
    (b"{", ConfigError, "not JSON"), (b"\xff\xfe", ConfigError, "not JSON"), (b"[" * 100_000, ConfigError, "not JSON"),
    (b"[]", ConfigError, "not an arch.json"), (b"{}", ConfigError, "names no core"), (b"", FormatError, "empty"),
    (b'{"fingerprint": "what"}', ConfigError, "not a fingerprint"), (b'{"fingerprint": null}', ConfigError, "finger"),
    (b'{"fingerprint": true}', ConfigError, "not a fingerprint"), (b'{"fingerprint": -3}', ConfigError, "finger"),
    (b'{"fingerprint": 1e3}', ConfigError, "fingerprint"), (b'{"target": "B9999"}', ConfigError, "unknown target"),
    (b'{"target": ["zedboard"]}', ConfigError, "unknown target"), (b'{"dcf": "absent.dcf"}', FormatError, "no such"),
    (b'{"dcf": ""}', FormatError, "folder"),
    (b'{"target": "DPUCZDX8G_ISA1_B4096", "fingerprint": "0x101000056010203"}', ConfigError,
     'contradicts itself.*peak_ops_per_cycle: 1152 against 4096.*"target" differs from "fingerprint"'),
    (b'{"target": "zedboard", "pixel_parallel": 8}', ConfigError, "expected 4 on zedboard, got pixel_parallel 8"),
    (b'{"target": "zedboard", "target": "pynq-z2"}', ConfigError, "stands twice: got target"),
    (b'{"target": "zedboard", "cpu_arch": "x86"}', ConfigError, "cpu_arch"),
    (b'{"target": "DPUCZDX8G"}', ConfigError, "unknown target"),
])
def test_arch_files_that_name_no_core(tmp_path, content, error, message):
    path = tmp_path / "arch.json"
    path.write_bytes(content)
    with pytest.raises(error, match=message):
        find_target(str(path))


@pytest.mark.parametrize("name", ["absent.dcf", "absent.json", "folder.dcf", "folder.json"])
def test_missing_files_and_folders(tmp_path, name):
    (tmp_path / "folder.dcf").mkdir()
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(DpuError, match=r"no such file|a folder was given"):
        find_target(str(tmp_path / name))
