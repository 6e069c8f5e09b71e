"""What README shows works: its Python lines and its commands, on a small stand-in for `make`'s output."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from dpuflow.artifact import load_stage, write_stage
from dpuflow.cli import main
from dpuflow.cli.compile import compile_file, write_compiled
from dpuflow.formats.graphdef import write_graphdef

from chars74k_weights import random_weights

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """build/chars74k of a network with random weights, as the stages leave it."""
    sys.path.insert(0, str(ROOT / "train"))
    try:
        from networks import chars74k_discriminator
    finally:
        sys.path.remove(str(ROOT / "train"))
    folder = tmp_path_factory.mktemp("clone")
    model = folder / "build" / "chars74k"
    write_graphdef(chars74k_discriminator(random_weights(), 1e-3), model / "freeze" / "frozen_model.pb")
    x = np.random.default_rng(0).normal(0, 1, (64, 32, 32, 1)).astype(np.float32)
    with write_stage(model / "train", "train", {}) as stage:
        np.savez(stage.path("calibration.npz"), x=x)
    assert load_stage(model / "train").path("calibration.npz").exists()
    import dpuflow

    dpuflow.quantize(model / "freeze" / "frozen_model.pb", x).save(model / "quantize")
    compiled = compile_file(str(model / "quantize" / "deploy_model.pb"), "zedboard", "chars74k")
    write_compiled(compiled, model / "compile" / "chars74k.xmodel", {})
    return folder


def test_python_lines(build, monkeypatch):
    monkeypatch.chdir(build)
    (code,) = blocks("python")
    assert len(code.strip().splitlines()) == 5
    names: dict[str, object] = {}
    exec(compile(code, "README", "exec"), names)
    assert names["logits"].shape == (64, 63)
    assert np.abs(names["logits"]).max() > 0


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.startswith(".venv/bin/dpuflow")]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands(line, build, monkeypatch, capsys):
    monkeypatch.chdir(build)
    assert main(shlex.split(line)[1:]) == 0
    out, err = capsys.readouterr()
    assert len(out) > 100
    assert err == ""


def test_readme_names_files_that_exist():
    for path in re.findall(r"`((?:board|compile|train|scripts|quantize|docs)/[\w./]+)`", README):
        assert (ROOT / path).exists(), path
    assert len(COMMANDS) >= 5
    assert "(docs/report.png)" in README
