"""The vendors' compiler commands: ``dnnc`` and ``vai_c_*``."""

from __future__ import annotations

import hashlib
import json

import pytest
from command_line import failure, run
from target.test_dcf import dcf

from dpuflow.cli import dnnc, vai_c
from dpuflow.formats.xir import read_xmodel


def test_dnnc(files, tmp_path, capsys):
    argv = ("--parser=tensorflow", f"--frozen_pb={files / 'deploy.pb'}", f"--dcf={files / 'board.dcf'}",
            "--cpu_arch=arm32", f"--output_dir={tmp_path}", "--net_name=net", "--mode=normal", "--save_kernel")
    assert run(*argv, main=dnnc.main) == 0
    text = capsys.readouterr().out
    assert "[DNNC][Warning] layer [net_out] (type: Softmax) is not supported in DPU" in text
    assert (tmp_path / "net_kernel.txt").read_text() == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["estimate.json", "net.json", "net.xmodel",
                                                                "net_kernel.txt", "net_kernel_graph.gv"]
    drawing = (tmp_path / "net_kernel_graph.gv").read_text()
    assert drawing.startswith('digraph "net" {')
    assert '"x" -> k0 [label="x 8*8*2"];' in drawing
    assert "k0 -> k1" in drawing
    manifest = json.loads((tmp_path / "net.json").read_text())
    assert (manifest["core"]["target"], manifest["core"]["fingerprint"]) == ("board", "0x01000020e6010103")


def test_dnnc_says_which_options_do_nothing(files, tmp_path, capsys):
    argv = ("--frozen_pb", files / "deploy.pb", "--target", "zedboard", "--output_dir", tmp_path, "--net_name", "n")
    assert run(*argv, "--cpu_arch=arm64", "--mode=debug", "--dump=all", "--split-io-mem", main=dnnc.main) == 0
    said = [line for line in capsys.readouterr().out.split("\n") if "no effect" in line or "arm64" in line]
    assert [line.split()[1:3] for line in said] == [["option", "--dump"], ["option", "--split-io-mem"],
                                                    ["mode", "debug"], ["--cpu_arch", "arm64"]]
    assert "needs arm32" in said[-1]
    assert run(*argv[:3], "zcu102", *argv[4:], "--cpu_arch=arm64", main=dnnc.main) == 0
    assert "arm32" not in capsys.readouterr().out


def test_a_dcf_may_have_any_name(files, tmp_path):
    (tmp_path / "core").write_bytes(dcf())
    argv = ("--frozen_pb", files / "deploy.pb", "--dcf", tmp_path / "core", "--output_dir", tmp_path, "--net_name", "n")
    assert run(*argv, main=dnnc.main) == 0


def test_dnnc_and_the_make_target_name_one_core(files, tmp_path):
    for options in (("--dcf", files / "board.dcf"), ("--target", "zedboard")):
        folder = tmp_path / options[0].strip("-")
        argv = ("--frozen_pb", files / "deploy.pb", "--output_dir", folder, "--net_name", "n", *options)
        assert run(*argv, main=dnnc.main) == 0
    first, second = (json.loads((tmp_path / name / "estimate.json").read_text()) for name in ("dcf", "target"))
    assert first["layers"] == second["layers"]
    assert first["clock_mhz"] == second["clock_mhz"] == 90


@pytest.mark.parametrize(("options", "message"), [
    ({"--dcf": None}, "give the core once"), ({"--target": "zedboard"}, "give the core once"),
    ({"--frozen_pb": None}, "an option is missing"), ({"--net_name": None}, "an option is missing"),
    ({"--parser": "caffe"}, "caffe models cannot be read"), ({"--prototxt": "a"}, "caffe models"),
    ({"--net_name": "a/b"}, "not a name for a network"), ({"--net_name": ".."}, "not a name for a network"),
    ({"--net_name": "estimate"}, "would be one file"), ({"--dcf": "."}, "a folder was given"),
    ({"--dcf": "zedboard"}, "no such file"), ({"--frozen_pb": "absent.pb"}, "no such file"),
])
def test_dnnc_with_options_that_cannot_be(files, tmp_path, capsys, options, message):
    given = {"--frozen_pb": files / "deploy.pb", "--dcf": files / "board.dcf", "--output_dir": tmp_path,
             "--net_name": "net", **options}
    argv = [part for key, value in given.items() if value is not None for part in (key, value)]
    line = failure(capsys, *argv, main=dnnc.main)
    assert line.startswith("dnnc: error: ")
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_vai_c(files, tmp_path, capsys):
    (tmp_path / "arch.json").write_text(json.dumps({"fingerprint": "0x101000056010407"}))
    argv = ("-f", files / "eval.pb", "-a", tmp_path / "arch.json", "-o", tmp_path / "out", "-n", "net", "-e",
            "{'mode':'normal','save_kernel':'','input_shape':'1,8,8,2'}")
    assert run(*argv, main=vai_c.main) == 0
    text = capsys.readouterr().out
    assert "[UNILOG][INFO] Target architecture: DPUCZDX8G_ISA1_B4096" in text
    assert "DPU subgraph number 1" in text
    assert f'saved to "{tmp_path / "out" / "net.xmodel"}"' in text
    meta = json.loads((tmp_path / "out" / "meta.json").read_text())
    assert (meta["target"], meta["filename"], meta["kernel"]) == ("DPUCZDX8G_ISA1_B4096", "net.xmodel",
                                                                  ["subgraph_net"])
    digest = hashlib.md5((tmp_path / "out" / "net.xmodel").read_bytes()).hexdigest()
    assert (tmp_path / "out" / "md5sum.txt").read_text() == f"{digest}  net.xmodel\n"
    assert f"md5sum is {digest}" in text
    assert run("emulate", tmp_path / "out" / "net.xmodel", "--input", files / "x.npy", "--output",
               tmp_path / "o.npz") == 0


@pytest.mark.parametrize("text", ["{", "[1]", "{[]: 1}", "{'speed': 9}", "__import__('os')", "[" * 5000, "\0"])
def test_vai_c_options_that_cannot_be(files, tmp_path, capsys, text):
    line = failure(capsys, "-f", files / "eval.pb", "-a", "zedboard", "-o", tmp_path, "-n", "net", "-e", text,
                   main=vai_c.main)
    assert "--options" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "flag", "file"), [
    ("vai_c_xir", "-x", "net.xmodel"), ("vai_c_xir", "--xmodel", "net.xmodel"),
    ("vai_c_tensorflow2", "-m", "eval.pb"), ("vai_c_tensorflow2", "--model", "net.xmodel")])
def test_the_other_compilers(files, tmp_path, capsys, monkeypatch, name, flag, file):
    """They name the network after the file and write into the current folder unless told otherwise."""
    monkeypatch.chdir(tmp_path)
    assert vai_c.main([flag, str(files / file), "-a", "zcu104"], name) == 0
    assert "Target architecture: zcu104" in capsys.readouterr().out
    stem = file.partition(".")[0]
    assert {path.name for path in tmp_path.iterdir()} == {f"{stem}.xmodel", f"{stem}.json", "estimate.json",
                                                          "meta.json", "md5sum.txt"}


def test_two_subgraphs_more_than_the_dpu_s(files, tmp_path, capsys):
    """The count includes the input's and the CPU's, as the children of the file's root do."""
    assert vai_c.main(["-x", str(files / "net.xmodel"), "-a", "zedboard", "-o", str(tmp_path)], "vai_c_xir") == 0
    root = read_xmodel(tmp_path / "net.xmodel").root
    assert f"Total device subgraph number {len(root.children)}, DPU subgraph number 1" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "argv", "message"), [
    ("vai_c_tensorflow2", ("-m", "net.h5"), "dpuflow quantize"), ("vai_c_xir", ("-x", "eval.pb"), "not an xmodel"),
    ("vai_c_xir", ("-x", "net.xmodel", "-o", "."), "the output would replace the input"),
    ("vai_c_xir", ("-x", "net.xmodel", "-e", "{'dcf':'a.dcf'}"), "name the .dcf in the arch.json"),
])
def test_the_other_compilers_refuse(files, capsys, monkeypatch, name, argv, message):
    monkeypatch.chdir(files)
    before = (files / "net.xmodel").read_bytes()
    line = failure(capsys, *argv, "-a", "zedboard", main=lambda arguments: vai_c.main(arguments, name))
    assert line.startswith(f"{name}: error: ")
    assert message in line
    assert (files / "net.xmodel").read_bytes() == before


def test_options_without_effect_are_named(files, tmp_path, capsys):
    argv = ["-f", str(files / "eval.pb"), "-a", "zedboard", "-o", str(tmp_path), "-n", "n"]
    assert vai_c.main([*argv, "-e", "{'mode':'debug','save_kernel':''}"]) == 0
    warned = [line for line in capsys.readouterr().out.split("\n") if "WARNING" in line]
    assert ["'mode'" in warned[0], "'save_kernel'" in warned[1]] == [True, True]
    assert vai_c.main([*argv, "-e", "{'mode':'normal'}"]) == 0
    assert "WARNING" not in capsys.readouterr().out
