"""XIR graphs as data: every attribute kind, the loader's rules, damaged files."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpuflow.errors import DpuError, FormatError, GraphError
from dpuflow.formats.xir import (
    XGraph,
    XOp,
    XSubgraph,
    XTensor,
    XValue,
    parse_xmodel,
    read_xmodel,
    serialize_xmodel,
    write_xmodel,
)
from dpuflow.formats.xir_proto import Graph as GraphMessage

VALUES = [
    XValue("bool", True), XValue("bool", False), XValue("int32", -5), XValue("int32", 0), XValue("uint32", 2**32 - 1),
    XValue("int64", -2**63), XValue("uint64", 2**64 - 1), XValue("float", 0.5), XValue("double", 0.1),
    XValue("string", "ä/b"), XValue("string", ""), XValue("bytes", b"\x00\xff"), XValue("bytes", b""),
    XValue("bool_vec", (True, False)), XValue("int32_vec", (1, -2)), XValue("int32_vec", ()),
    XValue("uint32_vec", (2**32 - 1,)), XValue("int64_vec", (2**40,)), XValue("uint64_vec", (2**63,)),
    XValue("float_vec", (0.5, -1.0)), XValue("double_vec", (0.1,)), XValue("string_vec", ("a", "")),
    XValue("bytes_vec", (b"a", b"")), XValue("bytes_vec", ()), XValue("none", None),
    XValue("map_string_2_int32", {"a": 1, "b": -1}), XValue("map_string_2_uint32", {"a": 1}),
    XValue("map_string_2_int64", {"a": 2**40}), XValue("map_string_2_uint64", {"a": 2**63}),
    XValue("map_string_2_string", {"a": "x"}), XValue("map_string_2_string", {}),
    XValue("map_string_2_bytes", {"REG_0": b"\x01\x80", "REG_1": b""}),
    XValue("map_string_2_int32_vec", {"a": (1, 2)}), XValue("map_string_2_uint32_vec", {"a": ()}),
    XValue("map_string_2_int64_vec", {"a": (1,)}), XValue("map_string_2_uint64_vec", {"a": (1,)}),
    XValue("map_string_2_string_vec", {"a": ("x", "y")}),
]


def op(name: str, *operands: str, kind: str = "relu", **attrs: XValue) -> XOp:
    return XOp(name, kind, {"input": operands} if operands else {}, attrs, XTensor(f"{name}/t", (1, 2), "FLOAT", 32))


def graph(*ops: XOp, root: XSubgraph | None = None) -> XGraph:
    return XGraph("g", ops, root)


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_every_kind_of_attribute_round_trips(value):
    tensor = XTensor("t", (1, 4, 2**31), "XINT", 8, {"v": value})
    root = XSubgraph("root", (), {"v": value}, (XSubgraph("leaf", ("x",), {"v": value}),))
    made = XGraph("g", (XOp("x", "data", {}, {"v": value}, tensor),), root, {"v": value})
    data = serialize_xmodel(made)
    again = parse_xmodel(data)
    assert again == made
    assert serialize_xmodel(again) == data


@pytest.mark.parametrize("kind", ["INT", "UINT", "XINT", "XUINT", "FLOAT", "BFLOAT", "UNKNOWN"])
def test_data_types_round_trip(kind):
    made = graph(XOp("x", "data", {}, {}, XTensor("t", (), kind, 16)))
    assert parse_xmodel(serialize_xmodel(made)) == made


def test_a_data_type_of_the_future_is_unknown():
    message = GraphMessage()
    message.op_node.add(op_name="x", op_type="data").output_tensor.data_type = 99
    assert parse_xmodel(message.SerializeToString()).ops[0].tensor.data_type == "UNKNOWN"


def test_equal_graphs_give_equal_bytes():
    attrs = {"b": XValue("int32", 1), "a": XValue("map_string_2_int32", {"y": 1, "x": 2})}
    turned = {"a": XValue("map_string_2_int32", {"x": 2, "y": 1}), "b": XValue("int32", 1)}
    assert serialize_xmodel(graph(op("x", **attrs))) == serialize_xmodel(graph(op("x", **turned)))


A, B = op("a"), op("b", "a")


@pytest.mark.parametrize(("made", "message"), [
    (graph(A, A), "two operators have the same name.*a"), (graph(B, A), "'b' reads one that does not stand before it"),
    (graph(op("a", "a")), "does not stand before it"), (graph(A, op("b", "nobody")), "nobody"),
    (graph(A, root=XSubgraph("root", ("a",), {}, (XSubgraph("leaf", ("a",)),))), "has operators and children"),
    (graph(A, root=XSubgraph("root", (), {}, (XSubgraph("leaf", ("c",)),))), "operator that is not there.*c"),
])
def test_what_a_loader_would_crash_on(made, message):
    """In both directions: it is neither written nor read."""
    with pytest.raises(GraphError, match=message):
        serialize_xmodel(made)


@pytest.mark.parametrize(("build", "message"), [
    (lambda m: (m.op_node.add(op_name="a"), m.op_node.add(op_name="a")), "same name"),
    (lambda m: m.op_node.add(op_name="a").args.add(arg_name="input", arg_ops=["b"]), "does not stand before it"),
    (lambda m: [m.op_node.add(op_name="a").args.add(arg_name="input") for _ in range(1)]
     + [m.op_node[0].args.add(arg_name="input")], "two arguments"),
    (lambda m: (m.op_node.add(op_name="a"), m.subg_root.op_name.append("b")), "not there"),
])
def test_files_that_a_loader_would_crash_on(build, message):
    made = GraphMessage()
    build(made)
    with pytest.raises(GraphError, match=message):
        parse_xmodel(made.SerializeToString(), "bad.xmodel")


def nested(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        size, head = len(data), bytearray()
        while size > 127:
            head.append(size % 128 + 128)
            size //= 128
        data = b"\x52" + bytes([*head, size]) + data  # subg_child
    return data


@pytest.mark.parametrize("data", [b"", b"\x0a\x01g", b"no xmodel", b"\x2a\xff\xff\xff\xff\x0f", nested(5000)])
def test_bytes_that_are_no_xmodel(data):
    with pytest.raises(FormatError):
        parse_xmodel(data, "bad.xmodel")


WHOLE = serialize_xmodel(XGraph("g", (A, B, op("c", "a", "b", **{str(i): v for i, v in enumerate(VALUES)})), XSubgraph(
    "root", (), {}, (XSubgraph("one", ("a", "b"), {"device": XValue("string", "DPU")}), XSubgraph("two", ("c",)))), {}))


@given(st.data())
@settings(max_examples=200)
def test_mutated_files_are_graphs_or_typed_errors(data):
    mutated = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at:at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    try:
        made = parse_xmodel(bytes(mutated))
    except DpuError:
        return
    again = serialize_xmodel(made)
    assert serialize_xmodel(parse_xmodel(again)) == again


def test_files(tmp_path):
    write_xmodel(graph(A, B), tmp_path / "g.xmodel")
    assert read_xmodel(tmp_path / "g.xmodel") == graph(A, B)
    assert [path.name for path in tmp_path.iterdir()] == ["g.xmodel"]
    with pytest.raises(FormatError, match="no such file"):
        read_xmodel(tmp_path / "absent.xmodel")
