"""Every command from its arguments to its files, exit codes and one-line errors."""

from __future__ import annotations

import errno
import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from target.test_dcf import dcf

from dpuedge import fixed
from dpuflow import cli
from dpuflow.arrays import read_arrays, write_arrays
from dpuflow.cli import dnnc, vai_c
from dpuflow.compiler.driver import compile_graph
from dpuflow.compiler.xmodel import to_xir
from dpuflow.errors import ArtifactError, DataError, DpuError
from dpuflow.formats.graphdef import write_graphdef
from dpuflow.formats.xir import read_xmodel, serialize_xmodel
from dpuflow.ir.graph import Fix, Graph, Node
from dpuflow.ops.elementwise import EltwiseAttrs
from dpuflow.quant.quantizer import quantize_graph
from dpuflow.target.select import find_target

from quant import small_net


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A float graph, its quantized graphs, a compiled file, inputs and a core description."""
    folder = tmp_path_factory.mktemp("files")
    network = small_net.layers(5)
    graph = small_net.frozen(network)
    result = quantize_graph(graph, small_net.config(graph), [{"x": batch} for batch in small_net.batches(network)])
    write_graphdef(graph, folder / "float.pb")
    write_graphdef(result.evaluation, folder / "eval.pb")
    write_graphdef(result.deploy, folder / "deploy.pb")
    assert cli.main(["compile", str(folder / "deploy.pb"), "-o", str(folder / "net.xmodel")]) == 0
    np.save(folder / "x.npy", small_net.batches(network, count=1)[0])
    (folder / "board.dcf").write_bytes(dcf())
    (folder / "info.json").write_text(json.dumps({"info": {"labels": ["a", "b"], "fake_class": 2}}))
    return folder


def run(*argv: object, main=cli.main) -> int:
    return main([str(argument) for argument in argv])


def failure(capsys, *argv: object, main=cli.main) -> str:
    """The one line that a failing command prints."""
    capsys.readouterr()
    assert run(*argv, main=main) == 1
    printed = capsys.readouterr()
    lines = printed.err.strip().split("\n")
    assert len(lines) == 1, printed.err
    assert ": error: " in lines[0]
    assert "Traceback" not in printed.err + printed.out
    return lines[0]


# -- emulate --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("engine", ["reference", "fast"])
@pytest.mark.parametrize("name", ["net.xmodel", "deploy.pb", "eval.pb"])
def test_emulate(files, tmp_path, capsys, name, engine):
    output = tmp_path / "out.npz"
    assert run("emulate", files / name, "--input", files / "x.npy", "--output", output, "--engine", engine) == 0
    arrays = read_arrays(output)
    assert list(arrays) == ["net/out"]
    assert arrays["net/out"].shape == (4, 3)
    assert arrays["net/out"].sum(axis=1) == pytest.approx(np.ones(4))
    text = capsys.readouterr().out
    assert "emulated 4 image(s)" in text
    assert "on this host" in text
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]


def test_all_files_and_engines_yield_the_same_bits(files, tmp_path):
    results = []
    for name in ("net.xmodel", "deploy.pb", "eval.pb"):
        for engine in ("reference", "fast"):
            output = tmp_path / f"{name}.{engine}.npz"
            assert run("emulate", files / name, "--input", files / "x.npy", "--output", output, "--engine", engine,
                       "--all-tensors") == 0
            results.append(read_arrays(output))
    shared = set.intersection(*(set(result) for result in results))
    assert {"x", "net/conv0/Relu", "net/conv1/Relu", "net/out"} <= shared
    for result in results[1:]:
        for name in shared:
            assert np.array_equal(results[0][name], result[name]), name


def test_int8_takes_and_gives_integers(files, tmp_path):
    floats, integers = tmp_path / "f.npz", tmp_path / "i.npz"
    pos = read_xmodel(files / "net.xmodel").by_name["x"].tensor.attrs["fix_point"].value
    np.save(tmp_path / "x8.npy", fixed.quantize(np.load(files / "x.npy"), pos))
    options = ("--all-tensors", "--engine", "reference")
    assert run("emulate", files / "net.xmodel", "--input", files / "x.npy", "--output", floats, *options) == 0
    assert run("emulate", files / "net.xmodel", "--input", tmp_path / "x8.npy", "--output", integers, "--int8",
               *options) == 0
    first, second = read_arrays(floats), read_arrays(integers)
    assert second["x"].dtype == second["net/conv0/Relu"].dtype == np.int8
    assert second["net/out"].dtype == np.float32
    assert np.array_equal(first["net/out"], second["net/out"])
    assert np.array_equal(first["x"], second["x"] * np.float32(2.0 ** -pos))


def test_inputs_by_name(files, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.load(files / "x.npy"))
    output = tmp_path / "out.npz"
    assert run("emulate", files / "net.xmodel", "--input", tmp_path / "x.npz", "--output", output) == 0
    assert read_arrays(output)["net/out"].shape == (4, 3)


@pytest.fixture
def two_inputs(tmp_path) -> Path:
    nodes = (Node("a", "input", shape=(1, 2, 2, 3), fix=Fix(4)), Node("b", "input", shape=(1, 2, 2, 3), fix=Fix(5)),
             Node("s", "add", ("a", "b"), EltwiseAttrs(), (1, 2, 2, 3), Fix(4)))
    compiled = compile_graph(Graph("two", nodes, ("s",)), find_target("zedboard"), "two")
    (tmp_path / "two.xmodel").write_bytes(serialize_xmodel(to_xir(compiled)))
    return tmp_path / "two.xmodel"


def test_several_inputs(two_inputs, tmp_path, capsys):
    a, b = np.full((2, 2, 2, 3), 0.5, np.float32), np.full((2, 2, 2, 3), 0.25, np.float32)
    write_arrays(tmp_path / "in.npz", {"a": a, "b": b})
    assert run("emulate", two_inputs, "--input", tmp_path / "in.npz", "--output", tmp_path / "out.npz") == 0
    assert (read_arrays(tmp_path / "out.npz")["s"] == 0.75).all()
    np.save(tmp_path / "one.npy", a)
    options = ("--output", tmp_path / "o.npz")
    assert "several inputs" in failure(capsys, "emulate", two_inputs, "--input", tmp_path / "one.npy", *options)
    write_arrays(tmp_path / "part.npz", {"a": a, "c": b})
    assert "no value for an input" in failure(capsys, "emulate", two_inputs, "--input", tmp_path / "part.npz", *options)
    write_arrays(tmp_path / "odd.npz", {"a": a, "b": b[:1]})
    assert "batches differ" in failure(capsys, "emulate", two_inputs, "--input", tmp_path / "odd.npz", *options)
    assert not (tmp_path / "o.npz").exists()


NAN = np.zeros((1, 8, 8, 2), np.float32)
NAN[0, 3, 3, 1] = np.nan


@pytest.mark.parametrize(("array", "options", "message"), [
    (NAN, (), "holds NaN"), (np.zeros((1, 8, 7, 2), np.float32), (), "shape does not fit: expected ('N', 8, 8, 2)"),
    (np.zeros((8, 8, 2), np.float32), (), "shape does not fit"),
    (np.zeros((0, 8, 8, 2), np.float32), (), "shape does not fit"),
    (np.zeros((1, 8, 8, 2), np.float32), ("--int8",), "--int8 takes integers"),
    (np.zeros((1, 8, 8, 2), np.uint8), ("--int8",), "expected int8, got uint8"),
    (np.zeros((1, 8, 8, 2), np.complex64), (), "not an array of numbers"),
    (np.full((1, 8, 8, 2), "a"), (), "not an array of numbers"),
    (np.full((1, 8, 8, 2), 1e6, np.float32), ("--input-mode", "runtime"), "outside the range"),
])
def test_inputs_that_cannot_be(files, tmp_path, capsys, array, options, message):
    np.save(tmp_path / "bad.npy", array)
    before = sorted(tmp_path.iterdir())
    line = failure(capsys, "emulate", files / "net.xmodel", "--input", tmp_path / "bad.npy", "--output",
                   tmp_path / "out.npz", *options)
    assert message in line
    assert sorted(tmp_path.iterdir()) == before


def test_infinite_values_saturate(files, tmp_path):
    np.save(tmp_path / "inf.npy", np.full((1, 8, 8, 2), np.inf, np.float32))
    assert run("emulate", files / "net.xmodel", "--input", tmp_path / "inf.npy", "--output", tmp_path / "o.npz") == 0


def npy(shape: tuple[int, ...], data: bytes = b"") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue() + data


def zipped(compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return stream.getvalue()


PICKLE = io.BytesIO()
np.save(PICKLE, np.array([{"a": 1}]), allow_pickle=True)
DAMAGED = bytearray(zipped(zipfile.ZIP_DEFLATED, x=npy((64, 64), bytes(64 * 64 * 4))))
DAMAGED[60:70] = b"\xff" * 10


@pytest.mark.parametrize("content", [
    b"hello", npy((4,)), npy((2**40,)), npy((2**62, 2**62)), npy((-1,)), npy((4,), bytes(16))[:-1], PICKLE.getvalue(),
    zipped(x=b"no array"), zipped(x=npy((4,))), bytes(DAMAGED), b"PK\x03\x04", b"\x93NUMPY\x01\x00\xff\xff{",
    b"\x93NUMPY\x01\x00\x06\x00{(((((", b"\x93NUMPY\x09\x00", b"\x93NUMPY\x01\x00\x04\x00 \n\t\x00",
])
def test_array_files_that_cannot_be_read(tmp_path, content):
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(DataError):
        read_arrays(tmp_path / "x.npy")


@pytest.mark.parametrize(("name", "message"), [("absent.npy", "no such file"), (".", "a folder was given"),
                                               ("empty.npy", "the file is empty")])
def test_array_files_that_are_not_there(tmp_path, name, message):
    (tmp_path / "empty.npy").touch()
    with pytest.raises(DpuError, match=message):
        read_arrays(tmp_path / name)


def test_arrays_round_trip_under_any_name(tmp_path):
    arrays = {"net/out": np.arange(3, dtype=np.int8), "a:0 (b)": np.float32(2), "ä": np.zeros((0, 2))}
    write_arrays(tmp_path / "a.npz", arrays)
    again = read_arrays(tmp_path / "a.npz")
    assert list(again) == list(arrays)
    for name, array in arrays.items():
        assert np.array_equal(again[name], array)
        assert again[name].dtype == array.dtype


# -- files and outputs that no command can use ------------------------------------------------------------------

COMMANDS = [("emulate", "FILE", "--input", "X", "--output", "OUT.npz"), ("compile", "FILE", "-o", "OUT.xmodel"),
            ("estimate", "FILE"), ("inspect", "FILE"), ("show", "FILE")]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize(("name", "message"), [
    ("absent.pb", "no such file"), ("absent.xmodel", "no such file"), ("folder.pb", "a folder was given"),
    ("empty.pb", "the file is empty"), ("empty.xmodel", "the file is empty"), ("cut.pb", "damaged or truncated"),
    ("cut.xmodel", "damaged or truncated"), ("text.txt", "not a model file"), ("xmodel.pb", "cut|damaged|holds"),
])
def test_model_files_that_cannot_be_used(files, tmp_path, capsys, command, name, message):
    (tmp_path / "folder.pb").mkdir()
    (tmp_path / "empty.pb").touch()
    (tmp_path / "empty.xmodel").touch()
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "cut.pb").write_bytes((files / "deploy.pb").read_bytes()[:-7])
    (tmp_path / "cut.xmodel").write_bytes((files / "net.xmodel").read_bytes()[:-7])
    (tmp_path / "xmodel.pb").write_bytes((files / "net.xmodel").read_bytes())
    before = sorted(tmp_path.iterdir())
    places = {"FILE": tmp_path / name, "X": files / "x.npy", "OUT.npz": tmp_path / "out.npz",
              "OUT.xmodel": tmp_path / "out.xmodel"}
    line = failure(capsys, *(places.get(part, part) for part in command))
    assert line.startswith(f"dpuflow {command[0]}: error: ")
    assert name in line
    assert any(part in line for part in message.split("|"))
    assert sorted(tmp_path.iterdir()) == before


def test_float_graphs_are_not_emulated_or_compiled(files, tmp_path, capsys):
    options = ("--input", files / "x.npy", "--output", tmp_path / "o.npz")
    assert "not quantized" in failure(capsys, "emulate", files / "float.pb", *options)
    assert "decent_q quantize" in failure(capsys, "compile", files / "float.pb", "-o", tmp_path / "o.xmodel")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("output", ["folder", "file/out"])
@pytest.mark.parametrize("command", ["emulate", "compile"])
def test_outputs_that_cannot_be_written(files, tmp_path, capsys, command, output):
    suffix = ".npz" if command == "emulate" else ".xmodel"
    (tmp_path / f"folder{suffix}").mkdir()
    (tmp_path / "file").touch()
    path = tmp_path / f"{output}{suffix}"
    argv = (("emulate", files / "net.xmodel", "--input", files / "x.npy", "--output", path) if command == "emulate" else
            ("compile", files / "deploy.pb", "-o", path))
    before = sorted(tmp_path.rglob("*"))
    assert any(part in failure(capsys, *argv) for part in ("a folder stands", "cannot write the file"))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("blocked", ["net.xmodel", "net.json", "estimate.json"])
def test_compile_writes_all_its_files_or_none(files, tmp_path, capsys, blocked):
    (tmp_path / blocked).mkdir()
    assert "a folder stands" in failure(capsys, "compile", files / "deploy.pb", "-o", tmp_path / "net.xmodel")
    assert [path.name for path in tmp_path.rglob("*")] == [blocked]


def test_compile_on_a_full_disk(files, tmp_path, capsys, monkeypatch):
    write = Path.write_text

    def full(self: Path, *args: object, **kwargs: object) -> int:
        if "estimate" in self.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, *args, **kwargs)
    monkeypatch.setattr(Path, "write_text", full)
    assert "No space left" in failure(capsys, "compile", files / "deploy.pb", "-o", tmp_path / "net.xmodel")
    assert list(tmp_path.iterdir()) == []


def test_emulate_on_a_full_disk(files, tmp_path, capsys, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(np.lib.format, "write_array", full)
    line = failure(capsys, "emulate", files / "net.xmodel", "--input", files / "x.npy", "--output", tmp_path / "o.npz")
    assert "No space left" in line
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c(files, tmp_path, capsys, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt
    monkeypatch.setattr("dpuflow.cli.emulate.open_engine", interrupted)
    argv = ("emulate", files / "net.xmodel", "--input", files / "x.npy", "--output", tmp_path / "o.npz")
    assert run(*argv) == 130
    assert "interrupted" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_out_of_memory(files, tmp_path, capsys, monkeypatch):
    def huge(*_: object) -> None:
        raise MemoryError
    monkeypatch.setattr("dpuflow.cli.emulate.open_engine", huge)
    assert "out of memory" in failure(capsys, "emulate", files / "net.xmodel", "--input", files / "x.npy", "--output",
                                      tmp_path / "o.npz")


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(DpuError, match="no such file"):
        run("show", tmp_path / "absent.pb", "--debug")
    with pytest.raises(DpuError, match="no such file"):
        run("--parser=tensorflow", "--frozen_pb", tmp_path / "absent.pb", "--net_name", "n", "--target", "zedboard",
            "--debug", main=dnnc.main)


# -- compile --------------------------------------------------------------------------------------------------

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


# -- the vendors' compilers ---------------------------------------------------------------------------------------

def test_dnnc(files, tmp_path, capsys):
    argv = ("--parser=tensorflow", f"--frozen_pb={files / 'deploy.pb'}", f"--dcf={files / 'board.dcf'}",
            "--cpu_arch=arm32", f"--output_dir={tmp_path}", "--net_name=net", "--mode=normal", "--save_kernel")
    assert run(*argv, main=dnnc.main) == 0
    text = capsys.readouterr().out
    assert "[DNNC][Warning] layer [net_out] (type: Softmax) is not supported in DPU" in text
    assert (tmp_path / "net_kernel.txt").read_text() == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["estimate.json", "net.json", "net.xmodel",
                                                                "net_kernel.txt"]
    manifest = json.loads((tmp_path / "net.json").read_text())
    assert (manifest["core"]["target"], manifest["core"]["fingerprint"]) == ("board", "0x01000020e6010103")


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
    assert run("emulate", tmp_path / "out" / "net.xmodel", "--input", files / "x.npy", "--output",
               tmp_path / "o.npz") == 0


@pytest.mark.parametrize("text", ["{", "[1]", "{[]: 1}", "{'speed': 9}", "__import__('os')", "[" * 5000, "\0"])
def test_vai_c_options_that_cannot_be(files, tmp_path, capsys, text):
    line = failure(capsys, "-f", files / "eval.pb", "-a", "zedboard", "-o", tmp_path, "-n", "net", "-e", text,
                   main=vai_c.main)
    assert "--options" in line
    assert list(tmp_path.iterdir()) == []


# -- estimate, inspect, show, targets ------------------------------------------------------------------------------

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
