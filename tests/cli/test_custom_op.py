"""--custom-op: a vendor file's custom operator as the user's function, from the command line."""

from __future__ import annotations

import numpy as np
import pytest

from dpuflow import cli
from dpuflow.compiler.quantized_xmodel import to_quantized_xir
from dpuflow.formats.xir import write_xmodel
from dpuflow.ir.graph import Fix, Graph, Node
from dpuflow.ir.verify import verify
from dpuflow.ops.custom import CustomAttrs


@pytest.fixture
def folder(tmp_path, monkeypatch):
    x = Node("x", "input", shape=(1, 2, 2, 1), fix=Fix(2))
    graph = verify(Graph("net", (
        x, Node("c", "custom", ("x",), CustomAttrs("Half", x.shape), x.shape),
        Node("y", "float2fix", ("c",), shape=x.shape, fix=Fix(2))), ("y",)))
    write_xmodel(to_quantized_xir(graph), tmp_path / "net.xmodel")
    np.save(tmp_path / "x.npy", np.array([1.0, 2.0, -3.0, 0.25], np.float32).reshape(1, 2, 2, 1))
    (tmp_path / "halving.py").write_text("def half(operands, attrs):\n    return operands[0] / 2\nlist_ = []\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def emulate(*extra: str) -> int:
    return cli.main(["emulate", "net.xmodel", "--input", "x.npy", "--output", "y.npz", "--engine", "reference", *extra])


def test_a_function_runs(folder):
    assert emulate("--custom-op", "Half=halving.half") == 0
    with np.load("y.npz") as archive:
        assert archive["y"].reshape(-1).tolist() == [0.5, 1.0, -1.5, 0.25]  # 0.125 rounds up on the grid of 1/4


@pytest.mark.parametrize(("extra", "message"), [
    ((), "code of the custom operator 'Half'"), (("--custom-op", "Half"), "not a custom operator"),
    (("--custom-op", "Half=half"), "expected TYPE=module.function"),
    (("--custom-op", "Half=absent.half"), "cannot import"),
    (("--custom-op", "Half=halving.list_"), "not a function: got list"),
    (("--custom-op", "Whole=halving.half"), "code of the custom operator 'Half'"),
])
def test_functions_that_are_missing(folder, capsys, extra, message):
    assert emulate(*extra) == 1
    assert message in capsys.readouterr().err
    assert not (folder / "y.npz").exists()
