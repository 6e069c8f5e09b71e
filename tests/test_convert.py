"""Conversions: the same bits in every form that can express a network; refusals by name."""

from __future__ import annotations

import numpy as np
import pytest

from dpuflow import cli
from dpuflow.convert import FORMS, convert_graph
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.errors import UnsupportedOp
from dpuflow.formats.xir import read_xmodel
from dpuflow.formats.xir_check import broken_rules
from dpuflow.ir.graph import Fix, Graph, Node, const
from dpuflow.ir.verify import infer_shapes, verify
from dpuflow.model import DEPLOY_GRAPH, EVALUATION_GRAPH, QUANTIZED_XMODEL, XMODEL, load
from dpuflow.ops.base import Padding
from dpuflow.ops.conv import ConvAttrs
from dpuflow.ops.movement import ConcatAttrs, PadAttrs
from dpuflow.ops.pool import PoolAttrs

from engines.networks import full_range_input, random_network

KINDS = {"quantized": QUANTIZED_XMODEL, "compiled": XMODEL, "deploy": DEPLOY_GRAPH, "evaluation": EVALUATION_GRAPH}


def in_form(graph: Graph, form: str, folder) -> Graph:
    path = folder / f"{form}{FORMS[form]}"
    convert_graph(graph, path, form, "zedboard" if form == "compiled" else None)
    model = load(path)
    assert model.kind == KINDS[form]
    return model.graph


def results(graph: Graph, x: np.ndarray) -> list[np.ndarray]:
    """The outputs in order: a deploy graph names a layer after its compute node."""
    values = ReferenceEngine(graph).run(x, int8=True)
    return [values[name] for name in graph.outputs]


def equal(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return len(first) == len(second) and all(np.array_equal(a, b) and a.dtype == b.dtype
                                             for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(12))
def test_random_networks_keep_their_bits(seed, form, tmp_path):
    graph = random_network(seed)
    x = full_range_input(graph, seed)
    graph = graph.replace(graph.nodes[:-1], ("logits",))  # without softmax: what remains has bits
    assert equal(results(graph, x), results(in_form(graph, form, tmp_path), x))


@pytest.mark.parametrize("seed", [1, 5])
def test_through_every_form_in_turn(seed, tmp_path):
    graph = random_network(seed)
    x = full_range_input(graph, seed)
    expected = results(graph, x)
    for form in ("evaluation", "quantized", "deploy", "compiled", "quantized"):
        graph = in_form(graph, form, tmp_path)
        assert equal(results(graph, x)[-1:], expected[-1:]), form
    assert broken_rules(read_xmodel(tmp_path / "quantized.xmodel")) == ()


def network(*nodes: Node) -> Graph:
    x = Node("x", "input", shape=(1, 6, 6, 4), fix=Fix(4))
    return verify(infer_shapes(Graph("net", (x, *nodes), ("y",))))


WEIGHTS = const("w", np.arange(-72, 72).astype(np.int8).reshape(3, 3, 4, 4), Fix(6))
SINGLE = {
    "odd padding": (WEIGHTS, Node("y", "conv2d", ("x", "w"), ConvAttrs(padding=Padding(2, 0, 1, 1)), fix=Fix(2))),
    "padded average": (Node("y", "avg_pool", ("x",), PoolAttrs((3, 3), (1, 1), Padding(1, 1, 1, 1)), fix=Fix(4)),),
    "concat": (Node("a", "relu", ("x",), fix=Fix(4)), Node("y", "concat", ("a", "x"), ConcatAttrs(3), fix=Fix(4))),
    "pad": (Node("y", "pad", ("x",), PadAttrs(((0, 0), (1, 0), (0, 2), (0, 0))), fix=Fix(4)),),
    "leaky": (Node("y", "leaky_relu", ("x",), fix=Fix(4)),),
}


@pytest.mark.parametrize("form", ["deploy", "evaluation"])
@pytest.mark.parametrize("nodes", SINGLE.values(), ids=list(SINGLE))
def test_single_operators(nodes, form, tmp_path):
    graph = network(*nodes)
    x = full_range_input(graph, 2)
    assert equal(results(graph, x), results(in_form(graph, form, tmp_path), x))


@pytest.mark.parametrize(("nodes", "message"), [
    ((const("w", np.zeros((1, 1, 2, 4), np.int8), Fix(6)),
      Node("y", "conv2d", ("x", "w"), ConvAttrs(groups=2), fix=Fix(2))), "node 'y': .*grouped convolution"),
    ((Node("y", "hard_sigmoid", ("x",), fix=Fix(7)),), "node 'y': .*cannot express hard_sigmoid"),
])
def test_what_cannot_be_expressed(nodes, message, tmp_path):
    with pytest.raises(UnsupportedOp, match=message):
        convert_graph(network(*nodes), tmp_path / "y.pb", "deploy")
    assert not list(tmp_path.iterdir())


def test_the_command(tmp_path, capsys):
    convert_graph(random_network(2), tmp_path / "a.xmodel", "quantized")
    run = lambda *args: cli.main(["convert", *map(str, args)])  # noqa: E731
    assert run(tmp_path / "a.xmodel", tmp_path / "b.pb") == 0
    assert "(deploy)" in capsys.readouterr().out
    assert run(tmp_path / "b.pb", tmp_path / "c.xmodel", "--target", "DPUCZDX8G_ISA1_B4096") == 0
    assert load(tmp_path / "c.xmodel").kind == XMODEL
    assert run(tmp_path / "a.xmodel", tmp_path / "d.onnx") == 1
    assert "not a file that can be written: expected .pb or .xmodel, got .onnx" in capsys.readouterr().err
    assert run(tmp_path / "a.xmodel", tmp_path / "d.pb", "--form", "compiled") == 1
    assert run(tmp_path / "a.xmodel", tmp_path / "d.xmodel", "--form", "compiled") == 1
    assert "name it with --target" in capsys.readouterr().err
