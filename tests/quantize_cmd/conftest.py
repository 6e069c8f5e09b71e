"""A folder with a frozen network, its calibration data and modules, which is the current one."""

from __future__ import annotations

import numpy as np
import pytest

from dpuflow.formats.graphdef import write_graphdef

from quant import small_net

NETWORK = small_net.layers(2)
MODULE = """
import numpy as np

def input_fn(iter):
    return {"x": np.random.default_rng(iter).normal(0, 1, (8, 8, 8, 2))}

def nan(iter):
    return {"x": np.full((1, 8, 8, 2), np.nan)}

def constant_share(run):
    out = run(input_fn(0))["net/out"]
    assert run.inputs == ("x",) and run.outputs == ("net/out",)
    return float((out.argmax(axis=1) == 0).mean())

def in_per_cent(run):
    return 93.0

def fails(run):
    raise RuntimeError("no data here")
"""


def images(count: int = 160, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (count, 8, 8, 2)).astype(np.float32)


@pytest.fixture
def work(tmp_path, monkeypatch):
    write_graphdef(small_net.frozen(NETWORK), tmp_path / "float.pb")
    x = images()
    np.savez(tmp_path / "data.npz", x=x, labels=np.arange(len(x)) % 3)
    (tmp_path / "quantize_cmd_user.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path
