"""``dpuflow quantize --backend vendor``: the plan, its inputs, a run with a stand-in of the vendor's tool."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from dpuflow.cli import main
from dpuflow.formats.graphdef import read_graphdef

from quantize_cmd.conftest import images

STAND_IN = """#!/bin/sh
# what decent_q leaves behind: both graphs in the folder after --output_dir
while [ $# -gt 1 ]; do [ "$1" = --output_dir ] && out="$2"; shift; done
mkdir -p "$out"
cp frozen_model.pb "$out/quantize_eval_model.pb"
cp frozen_model.pb "$out/deploy_model.pb"
"$PYTHON" -c "import calibration_input as c; print(sorted(c.calibration_input(0)))"
"""


def quantize(*arguments: object) -> int:
    return main(["quantize", "float.pb", "-o", "out", "--backend", "vendor", *map(str, arguments)])


def test_the_plan_names_the_network_and_its_pictures(work, capsys):
    assert quantize("--calibration", "data.npz", "--batch", "100", "--calib-iter", "2", "--plan") == 0
    text = capsys.readouterr().out
    for part in ("decent_q quantize", "--input_nodes x", "--calib_iter 2", "--method 1", "quantize_eval_model.pb",
                 "deploy_model.pb", "calibration_input.calibration_input"):
        assert part in text, part
    with np.load(work / "out/vendor_input/calibration.npz") as archive:
        assert set(archive) == {"x"}
        np.testing.assert_array_equal(archive["x"], images())
    given = read_graphdef("out/vendor_input/frozen_model.pb")
    assert [node.name for node in given.nodes] == [node.name for node in read_graphdef("float.pb").nodes]
    assert not (work / "out/quantize_eval_model.pb").exists()


@pytest.mark.parametrize("release", ["dnndk-3.1", "1.4"])
def test_the_whole_plan(work, capsys, golden, release):
    assert quantize("--calibration", "data.npz", "--release", release, "--batch", "32", "--plan") == 0
    golden(f"plan_quantize_command_{release}.txt", capsys.readouterr().out.replace(str(work), "WORK"))


def test_the_vendor_s_tool_on_this_machine(work, capsys, monkeypatch):
    (work / "bin").mkdir()
    (work / "bin/decent_q").write_text(STAND_IN)
    (work / "bin/decent_q").chmod(0o755)
    monkeypatch.setenv("PYTHON", sys.executable)
    monkeypatch.setenv("PATH", f"{work / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert quantize("--calibration", "data.npz", "--executor", "local", "--licence-accepted") == 0
    assert "made by the vendor's tools" in capsys.readouterr().out
    for name in ("quantize_eval_model.pb", "deploy_model.pb"):
        assert (work / "out" / name).read_bytes() == (work / "out/vendor_input/frozen_model.pb").read_bytes()


@pytest.mark.parametrize(("option", "named"), [
    (("--recipe", "auto"), "--recipe"), (("--positions", "p.json"), "--positions"), (("--json", "o.json"), "--json"),
    (("--what-if", "weights=4"), "--what-if"), (("--evaluate", "data.npz"), "--evaluate")])
def test_options_that_only_our_quantizer_has(work, capsys, option, named):
    assert quantize("--calibration", "data.npz", *option, "--plan") == 1
    error = capsys.readouterr().err
    assert named in error
    assert "vendor" in error


def test_pictures_are_needed(work, capsys):
    assert quantize("--plan") == 1
    assert "--calibration" in capsys.readouterr().err
