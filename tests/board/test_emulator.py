"""Tests of the emulator back end: what it asks of dpuflow, and the command line as a process."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import board_model
import numpy as np
import pytest

import dpuflow.engines
from dpuedge import emulator, manifest
from dpuedge.errors import BackendError

ROOT = Path(__file__).resolve().parents[2]


class FakeEngine:
    """Answers with fixed logits and keeps what it was asked."""

    name = "reference"

    def __init__(self, logits: np.ndarray) -> None:
        self.logits, self.asked = logits, {}

    def run(self, inputs: Mapping[str, np.ndarray], tensors: tuple[str, ...], int8: bool) -> dict[str, np.ndarray]:
        self.asked = {"inputs": inputs, "tensors": tensors, "int8": int8}
        return {tensors[0]: self.logits}


def open_fake(monkeypatch: pytest.MonkeyPatch, folder: Path, logits: np.ndarray) -> tuple[object, FakeEngine]:
    """A runner on a fake engine that was opened for the model in ``folder``."""
    engine, path = FakeEngine(logits), board_model.write_model(folder)

    def open_engine(model: str, engine_name: str = "", **options: str) -> FakeEngine:
        assert (model, engine_name or options["engine"]) == (path, "fast")
        return engine

    monkeypatch.setattr(dpuflow.engines, "open_engine", open_engine)
    return emulator.open_runner(manifest.load(path), "fast"), engine


@pytest.mark.parametrize("shape", [(1, 3), (1, 1, 1, 3), (3,)])
def test_the_runner_names_tensors_and_passes_integers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                      shape: tuple[int, ...]) -> None:
    runner, engine = open_fake(monkeypatch, tmp_path, np.array([1, -2, 3], np.int8).reshape(shape))
    image = np.full((1, 32, 32, 1), 7, np.int8)
    assert runner.run(image).tolist() == [1, -2, 3]
    assert runner.name == "reference"  # the name of a fall-back, not of what was asked for
    assert engine.asked["inputs"]["input_real"] is image
    assert (engine.asked["tensors"], engine.asked["int8"]) == (("net/dense/BiasAdd",), True)


def test_logits_that_do_not_fit_the_manifest_are_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runner, _ = open_fake(monkeypatch, tmp_path, np.zeros((1, 4), np.int8))
    with pytest.raises(BackendError, match=r"not what the manifest says: expected \(1, 3\), got \(1, 4\)"):
        runner.run(np.zeros((1, 32, 32, 1), np.int8))


def test_an_old_python_cannot_emulate(monkeypatch: pytest.MonkeyPatch) -> None:
    assert emulator.find_missing() == []
    monkeypatch.setattr(emulator, "PYTHON", (9, 9))
    assert "Python 9.9 or newer" in emulator.find_missing()[0]


def test_the_script_runs_from_any_folder_and_fails_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(ROOT / "board" / "run_dpu.py"), "none.xmodel", "a.png"], cwd=tmp_path,
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("run_dpu.py: error: none.xmodel: no such model. Remedy: run `make compile`, "
                           "or check the path\n")
