"""diff: nothing to report for one network in two forms; each kind of change is found where it is."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dpuflow import cli
from dpuflow.compare.differences import compare_graphs
from dpuflow.compare.report import as_json, as_text
from dpuflow.compiler.driver import compile_graph
from dpuflow.compiler.xmodel import to_xir
from dpuflow.convert import convert_graph
from dpuflow.formats.xir import write_xmodel
from dpuflow.formats.xir_import import import_xir
from dpuflow.ir.graph import Fix, Graph, const
from dpuflow.target.select import find_target

from engines.networks import full_range_input, random_network


def changed(graph: Graph, name: str, **changes: object) -> Graph:
    return graph.replace(node.replace(**changes) if node.name == name else node for node in graph.nodes)


def weighted(graph: Graph):
    return next(node for node in graph.nodes if node.op == "conv2d")


@pytest.mark.parametrize("seed", range(6))
def test_a_network_and_its_compiled_file(seed):
    graph = random_network(seed)
    compiled = import_xir(to_xir(compile_graph(graph, find_target("DPUCZDX8G_ISA1_B4096"), "net")))
    made = compare_graphs(graph, compiled, full_range_input(graph, seed))
    assert (made.structure, made.positions, made.parameters, made.bits) == ((), (), (), ())
    assert not [name for name in made.only_second if name.endswith("/map")]
    assert made.compared_parameters == len([node for node in graph.nodes if node.data is not None])
    assert made.compared_tensors >= len([n for n in graph.nodes if n.data is None and n.op != "reshape"])


def test_a_changed_weight_is_found_where_the_networks_part():
    graph = random_network(2)
    conv = weighted(graph)
    source = graph.by_name[conv.inputs[1]]
    data = source.data.copy()
    data.reshape(-1)[5] = -data.reshape(-1)[5] - 1
    made = compare_graphs(graph, graph.replace(const(node.name, data, node.fix) if node is source else node
                                               for node in graph.nodes), full_range_input(graph, 2))
    assert [(row.name, row.different) for row in made.parameters] == [(source.name, 1)]
    step = abs(int(data.reshape(-1)[5]) - int(source.data.reshape(-1)[5])) * 2.0 ** -source.fix.pos
    assert made.parameters[0].largest == step
    assert made.bits[0].name == conv.name
    assert not made.equal
    assert as_json(made)["first_difference"] == conv.name
    assert f"they part at {conv.name}" in as_text(made)


def test_a_changed_position_and_attribute():
    graph = random_network(2)
    conv = weighted(graph)
    moved = compare_graphs(graph, changed(graph, conv.name, fix=Fix(conv.fix.pos + 1)))
    assert moved.positions == (f"{conv.name}: {conv.fix.pos} against {conv.fix.pos + 1}",)
    assert moved.bits is None
    import dataclasses

    other = "relu" if conv.attrs.nonlinear != "relu" else "none"
    attrs = dataclasses.replace(conv.attrs, nonlinear=other)
    made = compare_graphs(graph, changed(graph, conv.name, attrs=attrs))
    assert made.structure == (f"{conv.name} (conv2d): nonlinear {conv.attrs.nonlinear} against {other}",)


def test_what_is_only_in_one():
    graph = random_network(2)
    shorter = graph.replace(graph.nodes[:-1], graph.outputs[:1])
    made = compare_graphs(graph, shorter)
    assert (made.only_first, made.only_second) == (("probabilities",), ())
    assert not made.equal
    assert compare_graphs(shorter, graph).only_second == ("probabilities",)


@pytest.fixture
def files(tmp_path):
    graph = random_network(6)  # no padding that a deploy graph would need a Pad for
    convert_graph(graph, tmp_path / "a.xmodel", "quantized")
    convert_graph(graph, tmp_path / "b.pb", "deploy")
    convert_graph(random_network(5), tmp_path / "other.pb", "evaluation")
    np.save(tmp_path / "x.npy", full_range_input(graph, 0).astype(np.float32) * 2.0 ** -graph.inputs[0].fix.pos)
    return tmp_path


def diff(*args: object) -> int:
    return cli.main(["diff", *map(str, args)])


def test_the_command(files, capsys):
    assert diff(files / "a.xmodel", files / "b.pb", "--input", files / "x.npy") == 0
    assert "no difference in structure" in capsys.readouterr().out
    assert diff(files / "b.pb", files / "other.pb", "--json") == 3
    fields = json.loads(capsys.readouterr().out)
    assert fields["equal"] is False
    assert fields["parameters"]
    assert diff(files / "a.xmodel", files / "absent.pb") == 1


def test_cores_are_compared(tmp_path, capsys):
    graph = random_network(1)
    for name, target in (("z.xmodel", "zedboard"), ("u.xmodel", "DPUCZDX8G_ISA1_B4096")):
        write_xmodel(to_xir(compile_graph(graph, find_target(target), "net")), tmp_path / name)
    diff(tmp_path / "z.xmodel", tmp_path / "u.xmodel")
    text = capsys.readouterr().out
    assert "peak_ops_per_cycle: 1152 against 4096" in text
    assert "isa: 0 against 1" in text


# -- TFLite ---------------------------------------------------------------------------------------------------

def one_convolution(scale: float = 1 / 16) -> tuple[Graph, bytes]:
    """A 1 x 1 convolution with a relu here and, with scales that are powers of two, in TFLite."""
    from dpuflow.engines.litert.model import ModelWriter, Quantization
    from dpuflow.ir.graph import Node
    from dpuflow.ir.verify import infer_shapes
    from dpuflow.ops.conv import ConvAttrs

    values = np.array([[100, -50], [25, 127]], np.int8)  # (out, in)
    graph = infer_shapes(Graph("one", (
        Node("x", "input", shape=(1, 2, 2, 2), fix=Fix(4)),
        const("w", values.T.reshape(1, 1, 2, 2), Fix(6)), const("b", np.array([10, -10], np.int8), Fix(10)),
        Node("y", "conv2d", ("x", "w", "b"), ConvAttrs(nonlinear="relu"), fix=Fix(4))), ("y",)))
    writer = ModelWriter()
    x = writer.tensor("x", (1, 2, 2, 2), Quantization(np.float32(1 / 16)))
    w = writer.tensor("w", (2, 1, 1, 2), Quantization(np.full(2, 1 / 64, np.float32)), data=values.reshape(2, 1, 1, 2))
    bias = np.array([10, -10], np.int32)
    b = writer.tensor("b", (2,), Quantization(np.full(2, 1 / 1024, np.float32)), np.int32, bias)
    y = writer.tensor("y", (1, 2, 2, 2), Quantization(np.float32(scale)))
    writer.conv2d([x, w, b], y, (1, 1), (1, 1), "VALID", "relu")
    return graph, writer.finish([x], [y])


@pytest.mark.parametrize(("scale", "code"), [(1 / 16, 0), (1 / 10, 3)])
def test_tflite_is_compared_in_real_units(tmp_path, capsys, scale, code):
    graph, data = one_convolution(scale)
    convert_graph(graph, tmp_path / "one.xmodel", "quantized")
    (tmp_path / "one.tflite").write_bytes(data)
    np.save(tmp_path / "x.npy", np.arange(-4, 4, dtype=np.float32).reshape(1, 2, 2, 2) / 4)
    assert diff(tmp_path / "one.xmodel", tmp_path / "one.tflite", "--input", tmp_path / "x.npy") == code
    text = capsys.readouterr().out
    assert "for comparison only" in text
    assert ("they part at y" in text) == bool(code)


def test_damaged_tflite(tmp_path, capsys):
    graph, _ = one_convolution()
    convert_graph(graph, tmp_path / "one.xmodel", "quantized")
    (tmp_path / "bad.tflite").write_bytes(b"no TFLite")
    assert diff(tmp_path / "one.xmodel", tmp_path / "bad.tflite") == 1
    assert "not a TFLite file" in capsys.readouterr().err
