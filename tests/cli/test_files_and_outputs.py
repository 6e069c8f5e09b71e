"""What no command can use: files, outputs, full disks, interruptions."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from command_line import failure, run

from dpuflow.cli import dnnc
from dpuflow.errors import DpuError

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
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt
    monkeypatch.setattr("dpuflow.cli.emulate.open_engine", interrupted)
    argv = ("emulate", files / "net.xmodel", "--input", files / "x.npy", "--output", tmp_path / "o.npz")
    assert run(*argv) == 130
    assert "interrupted" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_out_of_memory(files, tmp_path, capsys, monkeypatch):
    def huge(*_: object, **__: object) -> None:
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
