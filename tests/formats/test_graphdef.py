"""GraphDef files: round trips, every tensor encoding, damaged and lying files."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpuflow.engines.evaluate import evaluate
from dpuflow.errors import DpuError, FormatError, GraphError
from dpuflow.formats.graphdef import (
    TFGraph,
    base_name,
    const_node,
    new_node,
    parse_graphdef,
    read_graphdef,
    rewire,
    serialize_graphdef,
    write_graphdef,
)
from dpuflow.formats.graphdef_proto import AttrValue, GraphDef
from dpuflow.formats.tf_builder import FrozenBuilder
from dpuflow.formats.tf_constants import FOLDABLE
from dpuflow.formats.tf_import import import_tf
from dpuflow.formats.tf_operators import CONVERTERS
from dpuflow.formats.tf_values import DType, TShape, decode, encode
from dpuflow.model import load, model_from_tf

from quant import small_net


def float_graph() -> TFGraph:
    return small_net.frozen(small_net.layers(3))


def same_nodes(first: TFGraph, second: TFGraph) -> bool:
    return [(n.name, n.op, n.inputs, dict(n.attrs), n.device) for n in first.nodes] == [
        (n.name, n.op, n.inputs, dict(n.attrs), n.device) for n in second.nodes]


def test_round_trip_keeps_every_byte():
    graph = float_graph()
    data = serialize_graphdef(graph)
    again = parse_graphdef(data)
    assert same_nodes(again, graph)
    assert serialize_graphdef(again) == data


def test_unknown_attributes_survive():
    message = GraphDef()
    node = message.node.add(name="x", op="Placeholder")
    node.attr["odd"].MergeFromString(b"\x0a\x02\x10\x05\xfa\x3f\x01z")  # a list with a field 2 and a field 1023
    graph = parse_graphdef(message.SerializeToString())
    assert parse_graphdef(serialize_graphdef(graph)).nodes[0].attrs["odd"] == graph.nodes[0].attrs["odd"]
    assert b"z" in graph.nodes[0].attrs["odd"]


# -- tensor encodings -------------------------------------------------------------------------------------

def tensor(dtype: int, shape: tuple[int, ...], **values: object) -> bytes:
    message = AttrValue()
    message.tensor.dtype = dtype
    for size in shape:
        message.tensor.tensor_shape.dim.add(size=size)
    for key, value in values.items():
        if key == "tensor_content":
            message.tensor.tensor_content = value
        else:
            getattr(message.tensor, key).extend(value)
    return message.SerializeToString()


@pytest.mark.parametrize(("data", "dtype", "expected"), [
    (tensor(1, (3,), float_val=[1.5]), np.float32, [1.5, 1.5, 1.5]),
    (tensor(1, (2, 2), float_val=[1, 2, 3]), np.float32, [[1, 2], [3, 3]]),
    (tensor(1, (2,), float_val=[1, 2]), np.float32, [1, 2]),
    (tensor(1, (2,)), np.float32, [0, 0]),
    (tensor(1, (), float_val=[7]), np.float32, 7),
    (tensor(1, (0, 3)), np.float32, np.zeros((0, 3)).tolist()),
    (tensor(1, (2,), tensor_content=np.array([1, -2], "<f4").tobytes()), np.float32, [1, -2]),
    (tensor(2, (2,), double_val=[0.1]), np.float64, [0.1, 0.1]),
    (tensor(3, (2,), int_val=[-5, 6]), np.int32, [-5, 6]),
    (tensor(4, (2,), int_val=[250, 3]), np.uint8, [250, 3]),
    (tensor(6, (2,), int_val=[-128, 127]), np.int8, [-128, 127]),
    (tensor(9, (2,), int64_val=[2**62, -1]), np.int64, [2**62, -1]),
    (tensor(9, (2,), tensor_content=np.array([2**62, -1], "<i8").tobytes()), np.int64, [2**62, -1]),
    (tensor(10, (3,), bool_val=[True, False]), np.bool_, [True, False, False]),
    (tensor(19, (2,), half_val=[0x3C00, 0xC000]), np.float16, [1, -2]),
    (tensor(19, (2,), tensor_content=np.array([1, -2], "<f2").tobytes()), np.float16, [1, -2]),
    (tensor(23, (2,), uint64_val=[2**64 - 1, 1]), np.uint64, [2**64 - 1, 1]),
    (tensor(23, (1,), uint64_val=[2**64 - 1]), np.uint64, [2**64 - 1]),
])
def test_tensor_encodings(data, dtype, expected):
    array = decode(data)
    assert array.dtype == dtype
    assert array.tolist() == expected
    assert not array.flags.writeable


@pytest.mark.parametrize(("data", "message"), [
    (tensor(7, (1,), string_val=[b"text"]), "unsupported tensor type"), (tensor(0, (1,)), "unsupported tensor type"),
    (tensor(1, (2**20, 2**20)), "larger than 2 GB"), (tensor(1, (2**40,), float_val=[1]), "larger than 2 GB"),
    (tensor(1, (2**62, 2**62, 2**62)), "larger than 2 GB"), (tensor(1, (-1,), float_val=[1]), "unknown size"),
    (tensor(1, (2,), tensor_content=b"123"), "does not fit its shape.*8 bytes.*3 bytes"),
    (tensor(1, (2,), float_val=[1, 2, 3]), "more values than its shape"),
    (tensor(1, (0,), float_val=[1]), "more values than its shape"),
    (tensor(19, (1,), half_val=[1 << 20]), "malformed tensor"), (tensor(19, (1,), half_val=[-1]), "malformed tensor"),
    (tensor(6, (1,), int_val=[128]), "outside its type"), (tensor(4, (1,), int_val=[-1]), "outside its type"),
    (tensor(1, (0, 2**62, 2**62)), "malformed tensor"),
    (tensor(1, (2**13, 2**12), float_val=[2]), "more values than it holds.*at most 16777216.*1 for"),
    (tensor(1, (2**24 + 1,), float_val=[2, 3]), "more values than it holds.*2 for"),
])
def test_tensors_that_lie(data, message):
    with pytest.raises(GraphError, match=message):
        decode(data)


def test_a_claim_of_many_equal_values_takes_no_memory():
    array = decode(tensor(1, (2**12, 2**12), float_val=[2]))  # 64 MB if it were written out
    assert array.shape == (2**12, 2**12)
    assert array.strides == (0, 0)


@pytest.mark.parametrize("value", [
    True, False, 0, -3, 2**40, 0.5, b"text", DType(1), TShape((1, -1, 3)), TShape(()), TShape(None), (1, 2), (0.5,),
    (b"a", b"b"), ()])
def test_values_round_trip(value):
    assert decode(encode(value)) == value
    assert type(decode(encode(value))) is type(value)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint8", "int32", "int64", "bool", "float16"])
def test_arrays_round_trip(dtype):
    array = np.array([[0, 1], [1, 0]]).astype(dtype)
    again = decode(encode(array))
    assert again.dtype == array.dtype
    assert again.tolist() == array.tolist()


def test_errors_of_attributes_name_the_node():
    node = new_node("conv", "Conv2D").replace(attrs={"weights": tensor(7, (1,))})
    with pytest.raises(GraphError, match=r"node 'conv' \(Conv2D\): attribute 'weights': unsupported tensor type"):
        node.get("weights")
    with pytest.raises(GraphError, match="'strides' is missing"):
        node.tensor("strides")


# -- graphs that are not well formed ------------------------------------------------------------------------

def test_constant_arithmetic_makes_no_warnings():
    build = FrozenBuilder()
    x = build.placeholder("x", (-1, 2))
    build.add(const_node("v", np.array([-1, 0], np.float32)))
    build.add(new_node("r", "Rsqrt", ("v",)))
    build.add(new_node("y", "Add", (x, "r")))
    graph = import_tf(build.graph(), ["y"])
    assert np.isinf(graph.node("r").data[1])


# -- files ---------------------------------------------------------------------------------------------------

def test_files(tmp_path):
    path = tmp_path / "graph.pb"
    write_graphdef(float_graph(), path)
    assert same_nodes(read_graphdef(path), float_graph())
    assert [p.name for p in tmp_path.iterdir()] == ["graph.pb"]


@pytest.mark.parametrize(("name", "content", "message"), [
    ("absent.pb", None, "no such file"), ("folder.pb", ..., "a folder was given"), ("empty.pb", b"", "is empty"),
    ("text.pb", b"hello there", "damaged or truncated"), ("graph.caffemodel", b"x", "not a model file"),
    ("graph.onnx", b"x", "damaged or truncated"),
    ("graph", b"x", "no suffix"), ("absent.onnx", None, "no such file"), ("folder", ..., "a folder was given"),
    ("text.xmodel", b"hello there", "damaged or truncated"), ("empty.xmodel", b"", "is empty"),
])
def test_files_that_are_no_models(tmp_path, name, content, message):
    path = tmp_path / name
    if content is ...:
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(FormatError, match=message) as caught:
        load(path)
    assert name in str(caught.value)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    def denied(self: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    (tmp_path / "g.pb").write_bytes(b"x")
    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(FormatError, match=r"g\.pb: cannot read the file \(Permission denied\)"):
        load(tmp_path / "g.pb")


X = new_node("x", "Placeholder", shape=TShape((-1, 4)))


@pytest.mark.parametrize("nodes", [(X,), (const_node("c", np.ones(2, np.float32)), new_node("y", "Relu", ("c",)))])
def test_networks_without_input_or_output(tmp_path, nodes):
    write_graphdef(TFGraph(nodes), tmp_path / "g.pb")
    with pytest.raises(GraphError, match="the network has no"):
        load(tmp_path / "g.pb")


WHOLE = serialize_graphdef(float_graph())


@given(st.integers(0, len(WHOLE) - 1))
@settings(max_examples=40)
def test_truncated_files_are_typed_errors_or_shorter_graphs(length):
    """Cut between two nodes it is a well-formed prefix; anywhere else an error."""
    try:
        graph = parse_graphdef(WHOLE[:length], "cut.pb")
    except DpuError:
        return
    assert 0 < len(graph.nodes) < len(float_graph().nodes)


@given(st.data())
@settings(max_examples=150)
def test_mutated_files_yield_typed_errors_only(data):
    mutated = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at:at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    try:
        model = model_from_tf(parse_graphdef(bytes(mutated), "mutated.pb"), "mutated")
    except DpuError:
        return
    assert model.graph.nodes


ODD_VALUES = [
    0, -1, 2**40, 0.5, float("nan"), b"SAME", b"\xff", (), (1, 2, 2, 1), (0, 0, 0, 0), (-1, 5), (b"x",), True,
    TShape(None), TShape((0,)), TShape((-1, 2**31, 3)), DType(7), np.zeros((0, 2), np.float32),
    np.array(3, np.int32), np.array([[1, 2], [3, -4]], np.int32), np.ones((3, 3, 2, 2), np.float32),
    np.array([np.nan, np.inf], np.float32), np.array([True, False]),
]


OPERATORS = sorted({*CONVERTERS, *FOLDABLE, "Shape", "StridedSlice", "Pack"})


@st.composite
def odd_graphs(draw, graph):
    """A valid graph with one to three of its nodes changed in kind, operands or attributes."""
    nodes = list(graph.nodes)
    names = [node.name for node in nodes]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(nodes) - 1))
        node = nodes[at]
        what = draw(st.sampled_from(["op", "inputs", "attribute", "value"]))
        if what == "op":
            node = node.replace(op=draw(st.sampled_from(OPERATORS)))
        elif what == "inputs":
            node = node.replace(inputs=tuple(draw(st.lists(st.sampled_from(names), max_size=4))))
        elif what == "attribute" and node.attrs:
            node = node.with_attrs(**{draw(st.sampled_from(sorted(node.attrs))): draw(st.sampled_from(ODD_VALUES))})
        else:
            node = node.with_attrs(value=draw(st.sampled_from(ODD_VALUES)))
        nodes[at] = node
    return TFGraph(tuple(nodes), "odd.pb")


@given(odd_graphs(float_graph()))
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_odd_graphs_load_and_run_or_are_typed_errors(graph):
    x = np.zeros((1, 8, 8, 2), np.float32)
    try:
        model = model_from_tf(parse_graphdef(serialize_graphdef(graph), "odd.pb"), "odd")
        with np.errstate(all="ignore"):
            evaluate(model.graph, {node.name: x for node in model.graph.inputs})
    except DpuError:
        return
    assert model.graph.outputs


def test_base_name():
    assert [base_name(name) for name in ("a", "^a", "a:0", "a/b:2")] == ["a", "a", "a", "a/b"]


def test_rewire_follows_chains_and_control_operands():
    nodes = rewire((new_node("y", "Relu", ("a:0", "^b", "d")),), {"a": "b", "b": "c"})
    assert nodes[0].inputs == ("c", "^c", "d")
