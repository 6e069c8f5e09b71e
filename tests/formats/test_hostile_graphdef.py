"""Graphs that parse and yet cannot be: bad references, impossible layers, constants that claim too much."""

from __future__ import annotations

import numpy as np
import pytest

from dpuflow.errors import FormatError, GraphError, UnsupportedOp
from dpuflow.formats.graphdef import (
    TFGraph,
    const_node,
    new_node,
    parse_graphdef,
    serialize_graphdef,
)
from dpuflow.formats.tf_import import needed_nodes
from dpuflow.formats.tf_values import TShape
from dpuflow.model import model_from_tf


def graph_bytes(*nodes: object) -> bytes:
    return serialize_graphdef(TFGraph(tuple(nodes)))


X = new_node("x", "Placeholder", shape=TShape((-1, 4)))


@pytest.mark.parametrize(("data", "error", "message"), [
    (graph_bytes(X, X), GraphError, "same name.*x"), (graph_bytes(X.replace(name="")), GraphError, "without a name"),
    (graph_bytes(X, new_node("y", "Relu", ("z",))), GraphError, "reads a node that is not there"),
    (graph_bytes(X, new_node("y", "Relu", (":0",))), GraphError, "reads a node that is not there"),
    (graph_bytes(X, new_node("y", "Relu", ("^gone",))), GraphError, "reads a node that is not there"),
    (b"\x22\x00", FormatError, "holds no nodes"), (b"not a graph", FormatError, "damaged or truncated"),
    (graph_bytes(X) + b"\x12\x02\x0a\x00", FormatError, "functions"),
])
def test_bad_graphs(data, error, message):
    with pytest.raises(error, match=message):
        parse_graphdef(data, "here.pb")


@pytest.mark.parametrize(("nodes", "error", "message"), [
    ((X, new_node("a", "Relu", ("b",)), new_node("b", "Relu", ("a",)), new_node("c", "Relu", ("a",))), GraphError,
     "cycle"),
    ((X, new_node("y", "Warp", ("x",))), UnsupportedOp, "unsupported operator Warp.*node 'y'|node 'y'.*Warp"),
    ((X, new_node("y", "Relu", ("x:1",))), UnsupportedOp, "second output"),
    ((X, new_node("y", "Relu", ())), GraphError, "wrong number of operands|malformed node"),
    ((X, new_node("y", "Softmax", ("x", "x"))), GraphError, "wrong number of operands"),
    ((new_node("x", "Placeholder", shape=TShape(None)), new_node("y", "Relu", ("x",))), GraphError, "no shape"),
    ((new_node("x", "Placeholder", shape=3), new_node("y", "Relu", ("x",))), GraphError, "malformed node"),
    ((new_node("x", "Placeholder", shape=TShape((-1, -1))), new_node("y", "Relu", ("x",))), GraphError,
     "unknown sizes"),
])
def test_graphs_that_cannot_be_used(nodes, error, message):
    with pytest.raises(error, match=message):
        model_from_tf(TFGraph(nodes), "bad")


def with_map(op: str, constants: tuple[np.ndarray, ...], **attrs: object) -> TFGraph:
    nodes = [new_node("x", "Placeholder", shape=TShape((-1, 4, 4, 2)))]
    nodes += [const_node(f"c{index}", value) for index, value in enumerate(constants)]
    return TFGraph((*nodes, new_node("y", op, ("x", *(f"c{i}" for i in range(len(constants)))), **attrs)))


INTS = np.int32
@pytest.mark.parametrize(("graph", "message"), [
    (with_map("Reshape", (np.array([-1, -8, -4], INTS),)), "negative size"),
    (with_map("Reshape", (np.array([-1, 3], INTS),)), "do not fit"),
    (with_map("Reshape", (np.array([7, 32], INTS),)), "does not keep the batch"),
    (with_map("Mean", (np.array([0], INTS),)), "over the batch"),
    (with_map("Pad", (np.array([[1, 0], [0, 0], [0, 0], [0, 0]], INTS),)), "impossible padding"),
    (with_map("Pad", (np.array([[0, 0], [0, -1], [0, 0], [0, 0]], INTS),)), "impossible padding"),
    (with_map("Pad", (np.array([[0, 0], [0, 2**30], [0, 0], [0, 0]], INTS),)), "impossible padding"),
    (with_map("MaxPool", (), ksize=[1, 2, 2, 1], strides=[1, 0, 1, 1]), "unsupported strides"),
    (with_map("MaxPool", (), ksize=[1, 2**40, 1, 1], strides=[1, 1, 1, 1], padding="SAME"), "impossible padding"),
    (with_map("MaxPool", (), ksize=[1, 9, 9, 1], strides=[1, 1, 1, 1]), "larger than the padded map"),
    (with_map("MaxPool", (), ksize=[1, 2, 2, 1], strides=[1, 1, 1, 1], padding="EXPLICIT",
              explicit_paddings=[0, 0, -1, 0, 0, 0, 0, 0]), "impossible padding"),
    (with_map("MaxPool", (), ksize=[1, 2, 2, 1], strides=5), "malformed node"),
    (with_map("Conv2D", (np.ones((3, 3, 5, 2), np.float32),), strides=[1, 1, 1, 1]), "input channels and weights"),
    (with_map("Conv2D", (np.ones((3, 3, 2, 2), np.float32),), data_format="NCHW"), "data_format"),
    (with_map("Conv2D", (np.ones((3, 3, 2, 2), np.float32),), data_format=3), "data_format|malformed"),
    (with_map("Conv2D", (np.ones((2, 2), np.float32),)), "4-D weights"),
    (with_map("FixNeuron", (), quantize_pos=4000, bit_width=8), "impossible position"),
    (with_map("FixNeuron", (), quantize_pos=4, bit_width=99), "impossible position"),
    (with_map("FixNeuron", (), quantize_pos=b"4", bit_width=8), "impossible position"),
    (TFGraph((X, const_node("s", np.float32(1)), const_node("a", np.array([0], INTS)),
              new_node("m", "Mean", ("s", "a")), new_node("y", "Add", ("x", "m")))), "malformed node|other axes"),
])
def test_layers_that_cannot_be(graph, message):
    with pytest.raises(GraphError, match=message) as caught:
        model_from_tf(graph, "bad")
    assert "node" in str(caught.value)


def test_concat_along_the_batch_is_refused():
    graph = TFGraph((X, const_node("axis", np.int32(0)), new_node("y", "ConcatV2", ("x", "x", "axis"))))
    with pytest.raises(GraphError, match="impossible axis"):
        model_from_tf(graph, "bad")


@pytest.mark.parametrize("size", [2**12 + 1, 2**15])
def test_constants_that_blow_each_other_up(size):
    column, row = np.ones((size, 1), np.float32), np.ones((1, size), np.float32)
    graph = TFGraph((X, const_node("a", column), const_node("b", row), new_node("c", "Mul", ("a", "b")),
                     new_node("y", "Add", ("x", "c"))))
    with pytest.raises(GraphError, match=rf"malformed constant expression \({size**2} values\)"):
        model_from_tf(graph, "bad")


def test_constants_of_mixed_types_do_not_warn():
    ints, large = np.ones(4, np.int32), np.full(4, 1e30, np.float32)
    graph = TFGraph((X, const_node("a", ints), const_node("b", large), new_node("c", "Mul", ("a", "b")),
                     new_node("y", "Add", ("x", "c"))))
    assert model_from_tf(graph, "odd").graph.by_name["c"].data.dtype == np.int32


@pytest.mark.parametrize(("op", "what"), [("Reshape", "new shape"), ("Mean", "list of axes"),
                                          ("Transpose", "order of axes"), ("Pad", "list of pads")])
def test_lists_of_sizes_are_short(op, what):
    graph = TFGraph((X, const_node("n", np.broadcast_to(np.int32(1), (2**20,))), new_node("y", op, ("x", "n"))))
    with pytest.raises(GraphError, match=f"node 'y'.*the {what} is no short list.*1048576 values"):
        model_from_tf(graph, "bad")


@pytest.mark.parametrize("op", ["Mul", "ConcatV2", "Pack"])
def test_shapes_that_refer_to_themselves_often_end_soon(op):
    """A chain of 60 doublings would take 2**60 steps if values were computed twice."""
    nodes = [X, const_node("s0", np.array([1], INTS)), const_node("axis", np.int32(0))]
    for index in range(60):
        operands = (f"s{index}", f"s{index}", *(("axis",) if op == "ConcatV2" else ()))
        nodes.append(new_node(f"s{index + 1}", op, operands))
    graph = TFGraph((*nodes, new_node("y", "Reshape", ("x", "s60"))))
    with pytest.raises(GraphError):
        model_from_tf(graph, "bad")


def test_a_chain_deeper_than_python_s_stack():
    nodes = [X, const_node("s0", np.array([-1, 4], INTS))]
    nodes += [new_node(f"s{index + 1}", "Identity", (f"s{index}",)) for index in range(3000)]
    graph = TFGraph((*nodes, new_node("y", "Reshape", ("x", "s3000"))))
    with pytest.raises(GraphError, match="malformed node"):
        model_from_tf(graph, "deep")
    assert len(needed_nodes(graph, ["y"])) == 3003
