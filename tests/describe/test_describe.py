"""Descriptions: facts by hand for small files, and files that cannot be run are described all the same."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from dpuflow.compiler.driver import compile_graph
from dpuflow.compiler.quantized_xmodel import to_quantized_xir
from dpuflow.compiler.xmodel import to_xir
from dpuflow.describe.describe import describe
from dpuflow.describe.description import as_json, as_text
from dpuflow.describe.page import page
from dpuflow.engines.litert.model import ModelWriter, Quantization
from dpuflow.errors import FormatError
from dpuflow.formats.xir import XValue, write_xmodel
from dpuflow.target.select import find_target

from engines.networks import random_network

GRAPH = random_network(3)
COMPILED = to_xir(compile_graph(GRAPH, find_target("zedboard"), "net"))


@pytest.fixture
def compiled(tmp_path):
    write_xmodel(COMPILED, tmp_path / "net.xmodel")
    return tmp_path / "net.xmodel"


def test_a_compiled_file(compiled):
    made = describe(compiled)
    assert made.kind == "compiled xmodel"
    assert made.core == {"name": "zedboard", "fingerprint": "0x01000020e6010103"}
    assert made.parameters == sum(node.data.size for node in GRAPH.nodes if node.data is not None)
    assert sum(layer.parameters for layer in made.layers) == made.parameters
    assert {part.device for part in made.parts} == {"USER", "DPU", "CPU"}
    assert (made.problem, made.broken_rules, made.warnings) == ("", (), ())
    conv = next(layer for layer in made.layers if layer.op == "conv2d-fix" and layer.device == "DPU")
    assert conv.fix_point == GRAPH.node(conv.name).fix.pos
    assert conv.shape == GRAPH.node(conv.name).shape
    assert conv.part in {part.name for part in made.parts if part.device == "DPU"}
    assert "compiled for zedboard, fingerprint 0x01000020e6010103" in as_text(made)


def test_a_quantized_file(tmp_path):
    write_xmodel(to_quantized_xir(GRAPH), tmp_path / "q.xmodel")
    made = describe(tmp_path / "q.xmodel")
    assert made.kind == "quantized xmodel, not yet compiled"
    assert not [layer for layer in made.layers if layer.op == "const"]
    assert {layer.name: layer.fix_point for layer in made.layers if layer.op == "fix"}["logits_fix"] == (
        GRAPH.node("logits").fix.pos)


def test_a_file_that_breaks_rules_and_cannot_run(tmp_path):
    conv = next(op for op in COMPILED.ops if op.type == "conv2d-fix")
    broken = dataclasses.replace(conv, attrs={**conv.attrs, "kernel": XValue("int64_vec", (9, 9))})
    graph = dataclasses.replace(COMPILED, ops=tuple(broken if op is conv else op for op in COMPILED.ops))
    write_xmodel(graph, tmp_path / "b.xmodel")
    made = describe(tmp_path / "b.xmodel")
    assert "kernel and weights differ" in made.problem
    assert any("kind int64_vec" in text for text in made.broken_rules)
    text = as_text(made)
    assert "cannot be run: operator" in text
    assert "a vendor's loader would refuse it" in text
    assert "kernel and weights differ" in page(made)


def test_json_is_json(compiled):
    fields = json.loads(json.dumps(as_json(describe(compiled))))
    names = {node["name"] for node in fields["nodes"]}
    assert {"x", "logits"} <= names
    assert all(set(node["inputs"]) <= names for node in fields["nodes"])
    assert fields["core"]["fingerprint"] == "0x01000020e6010103"
    assert any(node.get("fix_point") is not None for node in fields["nodes"])


def test_the_page_stands_alone(compiled):
    html = page(describe(compiled))
    assert html.count("<svg") == 1
    assert "http://www.w3.org/2000/svg" in html
    assert not [word for word in ("<script", "src=", "href=", "url(") if word in html]


def test_a_network_of_the_zoo_is_no_file():
    made = describe("zoo:lenet")
    assert (made.sha256, made.size_bytes) == ("", 0)
    assert made.parameters > 400_000
    assert "sha256" not in as_text(made)


def test_no_model(tmp_path):
    (tmp_path / "x.xmodel").write_bytes(b"no")
    with pytest.raises(FormatError):
        describe(tmp_path / "x.xmodel")
    with pytest.raises(FormatError, match="no such file"):
        describe(tmp_path / "absent.xmodel")


def test_a_tflite_file_can_be_looked_at(tmp_path):
    writer = ModelWriter()
    x = writer.tensor("x", (1, 2, 2, 2), Quantization(np.float32(1 / 16)))
    w = writer.tensor("w", (3, 1, 1, 2), Quantization(np.full(3, 1 / 64, np.float32)),
                      data=np.ones((3, 1, 1, 2), np.int8))
    b = writer.tensor("b", (3,), Quantization(np.full(3, 1 / 1024, np.float32)), np.int32, np.zeros(3, np.int32))
    y = writer.tensor("y", (1, 2, 2, 3), Quantization(np.float32(0.25), -7))
    writer.conv2d([x, w, b], y, (1, 1), (1, 1), "VALID", "relu")
    (tmp_path / "one.tflite").write_bytes(writer.finish([x], [y]))
    found = describe(tmp_path / "one.tflite")
    assert (found.kind, found.quantized, found.parameters) == ("TFLite file, for comparison only", True, 9)
    (layer,) = found.layers
    assert (layer.name, layer.op, layer.inputs, layer.shape) == ("y", "CONV_2D", ("x",), (1, 2, 2, 3))
    assert layer.notes == {"dtype": "int8", "scale": 0.25, "zero_point": -7}
    text = as_text(found)
    assert "int8 x 0.25" in text
    assert "neither emulated nor compiled" in text
    json.dumps(as_json(found))
    assert "CONV_2D" in page(found)


def test_a_damaged_tflite_file(tmp_path):
    (tmp_path / "bad.tflite").write_bytes(b"no TFLite")
    with pytest.raises(FormatError, match="not a TFLite file"):
        describe(tmp_path / "bad.tflite")
