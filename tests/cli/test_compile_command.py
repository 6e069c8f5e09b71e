"""``dpuflow compile``: the file and what stands beside it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import failure, run

from dpuflow.arrays import read_arrays
from dpuflow.formats.xir import read_xmodel


def test_compile_and_what_stands_beside(files, tmp_path, capsys):
    output = tmp_path / "deep" / "net.xmodel"
    assert run("compile", files / "eval.pb", "-o", output, "--info", files / "info.json", "--mhz", "120") == 0
    assert sorted(path.name for path in output.parent.iterdir()) == ["estimate.json", "net.json", "net.xmodel"]
    manifest = json.loads((output.parent / "net.json").read_text())
    assert (manifest["labels"], manifest["kernel"], manifest["core"]["name"]) == (["a", "b"], "net", "B1152")
    estimate = json.loads((output.parent / "estimate.json").read_text())
    assert (estimate["clock_mhz"], estimate["target"]) == (120.0, "zedboard")
    assert estimate["total_ms"] == pytest.approx(sum(layer["ms"] for layer in estimate["layers"]))
    text = capsys.readouterr().out
    assert 'DNNC kernel list info for network "net"' in text
    assert f"wrote {output} (virtual" in text


def test_an_xmodel_is_compiled_for_another_core(files, tmp_path):
    output = tmp_path / "big.xmodel"
    assert run("compile", files / "net.xmodel", "--target", "DPUCZDX8G_ISA1_B4096", "-o", output) == 0
    (part,) = read_xmodel(output).dpu_subgraphs
    assert (part.get("dpu_name"), part.get("dpu_fingerprint")) == ("DPUCZDX8G_ISA1_B4096", 0x0101000056010407)
    for path in (files / "net.xmodel", output):
        assert run("emulate", path, "--input", files / "x.npy", "--output", tmp_path / f"{path.stem}.npz") == 0
    assert np.array_equal(*(read_arrays(tmp_path / f"{stem}.npz")["net/out"] for stem in ("net", "big")))


def test_compiling_twice_gives_equal_bytes(files, tmp_path):
    for name in ("one", "two"):
        assert run("compile", files / "deploy.pb", "-o", tmp_path / name / "net.xmodel") == 0
    for name in ("net.xmodel", "net.json", "estimate.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(("options", "message"), [
    (("-o", "out.bin"), "must be an .xmodel"), (("-o", "estimate.xmodel"), "would be one file"),
    (("-o", "n.xmodel", "--target", "zedbord"), "did you mean zedboard"),
    (("-o", "n.xmodel", "--target", "0x99"), "not a DPUCZDX8G core"),
    (("-o", "n.xmodel", "--target", "absent.dcf"), "no such file"),
    (("-o", "n.xmodel", "--mhz", "0"), "not a plausible clock"),
    (("-o", "n.xmodel", "--mhz", "nan"), "not a plausible clock"),
    (("-o", "n.xmodel", "--info", "absent.json"), "no such file"),
    (("-o", "n.xmodel", "--info", "bad.json"), "not JSON"), (("-o", "n.xmodel", "--info", "deep.json"), "not JSON"),
    (("-o", "n.xmodel", "--info", "list.json"), "not a JSON object"),
])
def test_compile_with_options_that_cannot_be(files, tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    Path("bad.json").write_text("{")
    Path("deep.json").write_text("[" * 100_000)
    Path("list.json").write_text("[]")
    before = sorted(tmp_path.iterdir())
    assert message in failure(capsys, "compile", files / "deploy.pb", *options)
    assert sorted(tmp_path.iterdir()) == before
