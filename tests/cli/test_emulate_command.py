"""``dpuflow emulate``: inputs, outputs, array files."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from command_line import failure, run

from dpuedge import fixed
from dpuflow.arrays import read_arrays, write_arrays
from dpuflow.compiler.driver import compile_graph
from dpuflow.compiler.xmodel import to_xir
from dpuflow.errors import DataError, DpuError
from dpuflow.formats.xir import read_xmodel, serialize_xmodel
from dpuflow.ir.graph import Fix, Graph, Node
from dpuflow.ops.elementwise import EltwiseAttrs
from dpuflow.target.select import find_target


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
