"""The kernel table that dnnc prints, and the manifest that the board reads."""

from __future__ import annotations

import json
import re

import pytest

from compiler.test_partition import Builder, split_network
from dpuedge import manifest as board_manifest
from dpuedge.errors import ManifestError
from dpuflow.compiler.console import kernel_table, node_label
from dpuflow.compiler.driver import compile_graph
from dpuflow.compiler.manifest import model_manifest
from dpuflow.ir.graph import Graph, Node
from dpuflow.ops.conv import DenseAttrs
from dpuflow.ops.pool import MeanAttrs
from dpuflow.target.select import find_target

from engines.networks import random_network


def small(name: str = "net"):
    build = Builder((8, 8, 128))
    a = build.conv("scope/conv/Relu", "x", channels=(128, 128), nonlinear="relu")
    m = build.op("scope/Mean", "mean", a, attrs=MeanAttrs())
    d = build.op("scope/dense/BiasAdd", "dense", m, build.const("dw", (128, 3)), build.const("db", (3,)),
                 attrs=DenseAttrs())
    s = build.op("scope/out", "softmax", d, fix=None)
    return compile_graph(build.graph(s), find_target("zedboard"), name)


@pytest.mark.parametrize(("name", "graph", "target"), [
    ("split", split_network(), "zedboard"), ("random", random_network(11), "DPUCZDX8G_ISA0_B512_MIN"),
])
def test_console_text(golden, name, graph, target):
    golden(f"kernels_{name}.txt", kernel_table(compile_graph(graph, find_target(target), name)))


def test_console_text_of_a_classifier(golden):
    golden("kernels_classifier.txt", kernel_table(small("classifier")))


def rows(text: str) -> dict[str, str]:
    """What a parser of the vendor's table sees: label, colon, value."""
    return {label.strip(): value.strip() for label, colon, value in (line.partition(" : ") for line in text.split("\n"))
            if colon}


def test_a_parser_of_the_vendor_s_table_finds_its_rows():
    found = rows(kernel_table(small()))
    assert found["Kernel Name"] == "net_1"  # the last one, the softmax
    assert found["Workload MACs"] == "2.10MOPS"  # 2 * (8 * 8 * 128 * 128 + 128 * 3)
    assert found["Param Size"] == "0.02MB"  # 16,771 bytes
    assert found["IO Memory Space"] == "0.02MB"  # 8 kB between the layers, 8 kB input
    assert (found["Node Count"], found["Tensor Count"]) == ("3", "4")
    assert found["scope_conv_Relu(0)"] == "8*8*128"
    assert found["scope_dense_BiasAdd(0)"] == "1*1*3"
    assert found["scope_out"] == "1*1*3"


def test_a_warning_for_each_cpu_layer():
    text = kernel_table(small())
    assert re.search(r"^\[DNNC\]\[Warning\] layer \[scope_out\] \(type: Softmax\) is not supported in DPU, "
                     r"deploy it in CPU instead\. \(it computes in float\)$", text, re.M)
    assert text.count("[DNNC][Warning]") == 1


def test_node_labels():
    assert node_label(Node("a/b c:0", "relu")) == "a_b_c_0"
    assert node_label(Node("a/b", "relu", label="d/Conv2D")) == "d_Conv2D"


# -- manifest ------------------------------------------------------------------------------------------------

INFO = {
    "labels": ["a", "b"], "fake_class": 2, "accuracy": 0.9,
    "preprocessing": {"id": "t", "height": 8, "width": 8, "channels": 128},
}


def test_manifest_of_a_classifier():
    made = json.loads(json.dumps(model_manifest(small(), {"net.xmodel": "digest"}, INFO)))
    assert (made["schema"], made["name"], made["kernel"]) == (1, "net", "net")
    assert made["inputs"] == [{"name": "x", "shape": [1, 8, 8, 128], "fix_point": 4}]
    assert made["outputs"] == [{"name": "scope/dense/BiasAdd", "shape": [1, 3], "fix_point": 4}]
    assert made["cpu_tail"] == [{"name": "scope/out", "op": "softmax"}]
    assert (made["core"]["name"], made["core"]["target"], made["core"]["fingerprint"]) == (
        "B1152", "zedboard", "0x01000020e6010103")
    assert (made["labels"], made["fake_class"], made["files"]) == (["a", "b"], 2, {"net.xmodel": "digest"})
    assert "accuracy" not in made


def grey_classifier():
    build = Builder((8, 8, 1))
    a = build.conv("conv", "x", channels=(1, 6))
    m = build.op("mean", "mean", a, attrs=MeanAttrs())
    d = build.op("dense", "dense", m, build.const("w", (6, 3)), attrs=DenseAttrs())
    graph: Graph = build.graph(build.op("out", "softmax", d, fix=None))
    return compile_graph(graph, find_target("zedboard"), "net")


def board_preprocessing(height: int = 8) -> dict[str, object]:
    return {"id": "gray8-stretch-standardize-v1", "height": height, "width": 8, "channels": 1, "fit": "stretch",
            "normalize": "unit", "clip": [-4.0, 4.0]}


@pytest.fixture
def written(tmp_path):
    """A compiled model with its manifest, as `dpuflow compile --info` writes them."""
    from dpuflow.cli.compile import write_compiled

    def write(**changes):
        info = {"labels": ["a", "b"], "fake_class": 2, "preprocessing": board_preprocessing(), **changes}
        write_compiled(grey_classifier(), tmp_path / "net.xmodel", info)
        return tmp_path / "net.xmodel"
    return write


def test_the_board_reads_the_manifest(written):
    model = board_manifest.load(str(written()))
    assert (model.name, model.kernel, model.labels, model.fake_class) == ("net", "net", ("a", "b"), 2)
    assert model.inputs == (board_manifest.Tensor("x", (1, 8, 8, 1), 4),)
    assert model.outputs == (board_manifest.Tensor("dense", (1, 3), 4),)
    assert model.cpu_tail == ({"name": "out", "op": "softmax"},)
    assert sorted(path.name for path in written().parent.iterdir()) == ["estimate.json", "net.json", "net.xmodel"]


@pytest.mark.parametrize(("changes", "message"), [
    ({"labels": ["a"] * 5}, "labels do not fit the outputs"), ({"fake_class": 7}, "fake class"),
    ({"preprocessing": board_preprocessing(9)}, "preprocessing does not fit"),
])
def test_the_board_refuses_what_does_not_fit(written, changes, message):
    with pytest.raises(ManifestError, match=message):
        board_manifest.load(str(written(**changes)))


def test_another_model_under_the_same_manifest(written):
    path = written()
    path.write_bytes(path.read_bytes() + b"\x0a\x01z")
    with pytest.raises(ManifestError, match="not the one its manifest describes"):
        board_manifest.load(str(path))
