"""Stage folders and single files: whole or not there, whatever happens while they are written."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from dpuflow import artifact
from dpuflow.artifact import current_stage, file_digest, json_digest, load_stage, write_stage
from dpuflow.errors import ArtifactError
from dpuflow.files import atomic_path

KEY = {"seed": 1}


def make(folder: Path, text: str = "one", **key: object) -> None:
    with write_stage(folder, "test", {**KEY, **key}) as writer:
        writer.path("result.txt").write_text(text)
        writer.path("sub/deep.txt").write_text("deep")
        writer.info["note"] = text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_stage_is_written_and_found_again(tmp_path):
    make(tmp_path / "stage")
    stage = load_stage(tmp_path / "stage")
    assert stage.path("result.txt").read_text() == "one"
    assert stage.path("sub/deep.txt").read_text() == "deep"
    assert stage.info == {"note": "one"}
    assert stage.manifest["files"]["result.txt"] == file_digest(tmp_path / "stage" / "result.txt")
    assert current_stage(tmp_path / "stage", KEY) is not None
    assert current_stage(tmp_path / "stage", {"seed": 2}) is None
    assert names(tmp_path) == ["stage"]


def test_a_second_run_replaces_the_first(tmp_path):
    make(tmp_path / "stage")
    (tmp_path / "stage" / "stray").write_text("not of the stage")
    make(tmp_path / "stage", "two")
    assert load_stage(tmp_path / "stage").info == {"note": "two"}
    assert names(tmp_path / "stage") == ["manifest.json", "result.txt", "sub"]
    assert names(tmp_path) == ["stage"]


def test_a_file_that_the_stage_does_not_hold(tmp_path):
    make(tmp_path / "stage")
    with pytest.raises(ArtifactError, match=r"holds no file 'other'.*result.txt"):
        load_stage(tmp_path / "stage").path("other")


class Broken(Exception):
    pass


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt, SystemExit, MemoryError])
@pytest.mark.parametrize("before", [True, False])
def test_an_interrupted_stage_leaves_the_old_one_and_no_trace(tmp_path, error, before):
    if before:
        make(tmp_path / "stage")

    def run() -> None:
        with write_stage(tmp_path / "stage", "test", KEY) as writer:
            writer.path("result.txt").write_text("half")
            raise error
    with pytest.raises(error):
        run()
    assert names(tmp_path) == (["stage"] if before else [])
    if before:
        assert load_stage(tmp_path / "stage").info == {"note": "one"}


def test_a_full_disk_is_one_message(tmp_path, monkeypatch):
    make(tmp_path / "stage")

    def full(self: Path, *args: object, **kwargs: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ArtifactError, match="cannot write the stage.*No space left.*free disk space"):
        make(tmp_path / "stage", "two")
    monkeypatch.undo()
    assert names(tmp_path) == ["stage"]
    assert load_stage(tmp_path / "stage").info == {"note": "one"}


def test_a_disk_that_fills_up_with_the_manifest(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(artifact, "_write_manifest", full)
    with pytest.raises(ArtifactError, match="No space left"):
        make(tmp_path / "stage")
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [OSError(errno.EIO, "bad disk"), KeyboardInterrupt()])
@pytest.mark.parametrize("failing", [1, 2])
def test_a_failing_exchange_brings_the_old_stage_back(tmp_path, monkeypatch, error, failing):
    make(tmp_path / "stage")
    replace, calls = os.replace, []

    def fails(source: object, target: object) -> None:
        calls.append(target)
        if len(calls) == failing:
            raise error
        replace(source, target)
    monkeypatch.setattr(artifact.os, "replace", fails)
    with pytest.raises((ArtifactError, KeyboardInterrupt)):
        make(tmp_path / "stage", "two")
    monkeypatch.undo()
    assert names(tmp_path) == ["stage"]
    assert load_stage(tmp_path / "stage").info == {"note": "one"}


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "stage").write_text("a file")
    with pytest.raises(ArtifactError, match="cannot write the stage"):
        make(tmp_path / "stage")
    assert names(tmp_path) == ["stage"]
    assert (tmp_path / "stage").read_text() == "a file"


def test_a_file_above_the_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArtifactError, match="cannot write the stage"):
        make(tmp_path / "file" / "stage")


@pytest.mark.parametrize(("damage", "message"), [
    (lambda stage: (stage / "result.txt").write_text("ONE"), "file was changed after the stage ended"),
    (lambda stage: (stage / "result.txt").unlink(), "file is missing"),
    (lambda stage: (stage / "manifest.json").unlink(), "has not been run"),
    (lambda stage: (stage / "manifest.json").write_text("{"), "unreadable manifest"),
    (lambda stage: (stage / "manifest.json").write_text("[" * 100_000), "unreadable manifest"),
    (lambda stage: (stage / "manifest.json").write_bytes(b"\xff\xfe\x00"), "unreadable manifest"),
    (lambda stage: (stage / "manifest.json").write_text("[]"), "unknown manifest schema"),
    (lambda stage: (stage / "manifest.json").write_text('{"schema": 99}'), "unknown manifest schema.*got 99"),
    (lambda stage: (stage / "manifest.json").write_text('{"schema": 1}'), "damaged manifest"),
    (lambda stage: (stage / "manifest.json").write_text('{"schema": 1, "files": []}'), "damaged manifest"),
    (lambda stage: (stage / "manifest.json").write_text('{"schema": 1, "files": {}, "info": 3}'), "damaged manifest"),
    (lambda stage: (stage / "manifest.json").write_text('{"schema": 1, "files": {"result.txt": 5}}'), "was changed"),
])
def test_damage_is_found(tmp_path, damage, message):
    make(tmp_path / "stage")
    damage(tmp_path / "stage")
    with pytest.raises(ArtifactError, match=message) as caught:
        load_stage(tmp_path / "stage")
    assert "make stage" in caught.value.remedy
    assert current_stage(tmp_path / "stage", KEY) is None


def test_damage_may_be_passed_over_when_asked(tmp_path):
    make(tmp_path / "stage")
    (tmp_path / "stage" / "result.txt").write_text("ONE")
    assert load_stage(tmp_path / "stage", check=False).info == {"note": "one"}


def test_a_stage_that_never_ran(tmp_path):
    with pytest.raises(ArtifactError, match="has not been run.*run `make freeze` first"):
        load_stage(tmp_path / "freeze")
    assert current_stage(tmp_path / "freeze", KEY) is None


def test_json_digest_does_not_depend_on_order():
    assert json_digest({"a": 1, "b": [2]}) == json_digest(json.loads('{"b": [2], "a": 1}'))
    assert json_digest({"a": 1}) != json_digest({"a": 2})


# -- single files ---------------------------------------------------------------------------------------------

def test_a_file_is_replaced_as_a_whole(tmp_path):
    with atomic_path(tmp_path / "new" / "file.bin") as path:
        assert path.suffix == ".bin"
        path.write_bytes(b"one")
    assert (tmp_path / "new" / "file.bin").read_bytes() == b"one"
    assert names(tmp_path / "new") == ["file.bin"]


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt])
def test_an_interrupted_file_leaves_the_old_one(tmp_path, error):
    (tmp_path / "file").write_bytes(b"old")

    def run() -> None:
        with atomic_path(tmp_path / "file") as path:
            path.write_bytes(b"half")
            raise error
    with pytest.raises(error):
        run()
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_file_on_a_full_disk(tmp_path):
    def run() -> None:
        with atomic_path(tmp_path / "file") as path:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(ArtifactError, match="cannot write the file.*No space left"):
        run()
    assert names(tmp_path) == []


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "plain").write_text("x")
    for path, message in ((tmp_path / "folder", "a folder stands where a file should be written"),
                          (tmp_path / "plain" / "file", "cannot write the file")):
        with pytest.raises(ArtifactError, match=message), atomic_path(path):
            pytest.fail("the block must not run")
    assert names(tmp_path) == ["folder", "plain"]
