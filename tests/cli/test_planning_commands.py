"""``estimate``, ``inspect``, ``show``, ``targets``, and the usage of all commands."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command_line import failure, run

from dpuflow import cli
from dpuflow.arrays import write_arrays
from dpuflow.cli import dnnc, vai_c
from dpuflow.errors import ArtifactError


@pytest.mark.parametrize("name", ["net.xmodel", "deploy.pb", "eval.pb", "float.pb"])
def test_estimate(files, capsys, name):
    assert run("estimate", files / name, "--target", "zedboard", "--mhz", "90", "--json") == 0
    fields = json.loads(capsys.readouterr().out)
    assert (fields["target"], fields["core"], fields["clock_mhz"]) == ("zedboard", "B1152", 90.0)
    assert fields["total_ms"] == pytest.approx(sum(layer["ms"] for layer in fields["layers"]))
    assert fields["fps"] == pytest.approx(1e3 / fields["total_ms"])
    assert [layer["macs"] for layer in fields["layers"]] == [16 * 5 * 18, 16 * 4 * 45, 0, 12]
    assert run("estimate", files / name, "--target", "zedboard") == 0
    assert f"{fields['total_ms']:.4f}" in capsys.readouterr().out


def test_a_faster_clock_is_faster(files, capsys):
    times = []
    for clock in (50, 90, 200):
        assert run("estimate", files / "net.xmodel", "--mhz", clock, "--json") == 0
        times.append(json.loads(capsys.readouterr().out)["total_ms"])
    assert times == sorted(times, reverse=True)
    assert "not a plausible clock" in failure(capsys, "estimate", files / "net.xmodel", "--mhz", "-5")


@pytest.mark.parametrize("name", ["net.xmodel", "deploy.pb", "eval.pb", "float.pb"])
def test_inspect(files, capsys, name):
    assert run("inspect", files / name) == 0
    text = capsys.readouterr().out
    assert "layers on the DPU of zedboard (B1152)" in text
    assert run("inspect", files / name, "--json") == 0
    fields = json.loads(capsys.readouterr().out)
    assert fields["core"]["arch"] == "B1152"
    on_cpu = [layer for layer in fields["layers"] if layer["device"] == "CPU"]
    assert [(layer["name"], layer["reason"]) for layer in on_cpu] == [("net/out", "it computes in float")]


def test_inspect_names_limit_and_remedy(files, capsys):
    assert run("inspect", files / "float.pb", "--target", "DPUCZDX8G_ISA0_B512_MIN") == 0
    text = capsys.readouterr().out
    assert "An average pool needs a core that has one" in text
    assert "remedy: use a max pool or a strided convolution" in text


@pytest.mark.parametrize(("name", "kind"), [("net.xmodel", "compiled xmodel"), ("deploy.pb", "deploy graph"),
                                            ("eval.pb", "quantized graph"), ("float.pb", "frozen float graph")])
def test_show(files, capsys, name, kind):
    assert run("show", files / name) == 0
    text = capsys.readouterr().out
    assert kind in text
    assert ("compiled for zedboard, fingerprint 0x01000020e6010103" in text) == (name == "net.xmodel")
    assert run("show", files / name, "--json") == 0
    fields = json.loads(capsys.readouterr().out)
    assert fields["quantized"] == (name != "float.pb")
    assert fields["outputs"] == ["net/out"]
    assert {node["name"] for node in fields["nodes"]} >= {"x", "net/out"}


def test_targets(capsys):
    assert run("targets") == 0
    lines = capsys.readouterr().out.strip().split("\n")
    assert len(lines) == 1 + 28 + 5
    zed = next(line for line in lines if line.startswith("zedboard"))
    assert zed.split() == ["zedboard", "B1152", "0x01000020e6010103", "4", "12/12", "2", "no", "no", "24"]


@pytest.mark.parametrize(("argv", "main"), [
    ([], cli.main), (["fly"], cli.main), (["emulate"], cli.main), (["emulate", "f", "--engine", "x"], cli.main),
    (["compile", "f", "--mhz", "fast", "-o", "x"], cli.main), (["show", "f", "--nope"], cli.main),
    (["--mode=odd"], dnnc.main), (["--frozen"], dnnc.main), (["-f", "x"], vai_c.main),
])
def test_wrong_usage_is_exit_code_2(capsys, argv, main):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(("argv", "main", "text"), [
    (["--version"], cli.main, "dpuflow 0."), (["--help"], cli.main, "emulate"), (["--version"], dnnc.main, "dnnc (dpu"),
    (["emulate", "--help"], cli.main, "--all-tensors"),
])
def test_help_and_version(capsys, argv, main, text):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 0
    assert text in capsys.readouterr().out


def test_an_unwritable_report_folder(tmp_path, capsys):
    assert "error" in failure(capsys, "report", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_write_arrays_refuses_a_folder(tmp_path):
    with pytest.raises(ArtifactError, match="a folder stands"):
        write_arrays(tmp_path, {})


def test_zoo_lists_networks_and_commands_take_them(tmp_path, capsys):
    assert run("zoo") == 0
    assert "zoo:resnet50" in capsys.readouterr().out
    assert run("estimate", "zoo:chars74k", "--json") == 0
    assert json.loads(capsys.readouterr().out)["total_ms"] > 0
    assert run("inspect", "zoo:lenet") == 0
    assert run("compile", "zoo:lenet", "-o", tmp_path / "lenet.xmodel") == 0
    np.save(tmp_path / "x.npy", np.zeros((1, 28, 28, 1), np.float32))
    assert run("emulate", "zoo:lenet", "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npz") == 0
    assert "did you mean lenet" in failure(capsys, "inspect", "zoo:lenett")
    assert "no such network" in failure(capsys, "compile", "zoo:", "-o", tmp_path / "n.xmodel")


def test_estimate_answers_questions(capsys):
    argv = ("estimate", "zoo:lenet", "--what-if", "channels=0.5", "--what-if", "core=zcu104,mhz=200")
    assert run(*argv, "--json") == 0
    fields = json.loads(capsys.readouterr().out)
    assert [(row["what"], row["target"]) for row in fields["what_if"]] == [
        ("as asked", "zedboard"), ("channels=0.5", "zedboard"), ("core=zcu104,mhz=200", "zcu104")]
    assert fields["what_if"][0]["total_ms"] == pytest.approx(fields["total_ms"])
    assert run(*argv) == 0
    text = capsys.readouterr().out
    assert "what if" in text
    assert "channels=0.5" in text


def test_estimate_makes_a_table(files, capsys):
    argv = ("estimate", files / "float.pb", "zoo:lenet", "--target", "zedboard,zcu104", "--mhz", "90,150")
    assert run(*argv, "--json") == 0
    rows = json.loads(capsys.readouterr().out)["table"]
    assert [(row["target"], row["clock_mhz"]) for row in rows] == 2 * [
        ("zedboard", 90), ("zedboard", 150), ("zcu104", 90), ("zcu104", 150)]
    assert run(*argv) == 0
    text = capsys.readouterr().out
    assert text.count("zoo:lenet") == 4
    assert "predicted, not run on hardware" in text
    assert "one file, one target and one clock" in failure(capsys, *argv, "--what-if", "mhz=90")


@pytest.mark.parametrize(("options", "message"), [
    (("--mhz", "fast"), "not a number"), (("--mhz", "0"), "not a plausible clock"), (("--target", "a,b"), "unknown"),
    (("--what-if", "x"), "not a question"), (("--mhz", "nan"), "not a plausible clock")])
def test_estimate_with_options_that_cannot_be(capsys, options, message):
    assert message in failure(capsys, "estimate", "zoo:lenet", *options)


def test_estimate_writes_a_page(tmp_path, capsys):
    assert run("estimate", "zoo:lenet", "--html", tmp_path / "page.html") == 0
    assert f"wrote {tmp_path / 'page.html'}" in capsys.readouterr().out
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    (tmp_path / "folder").mkdir()
    assert failure(capsys, "estimate", "zoo:lenet", "--html", tmp_path / "folder")
