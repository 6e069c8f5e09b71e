"""Payloads as views: the same graph as a plain parse gives, without copies; damaged bytes are left to the parser."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpuflow.errors import DpuError, FormatError
from dpuflow.formats import xir_proto
from dpuflow.formats.detach import LIMIT_BYTES, detach, encoded
from dpuflow.formats.xir import XGraph, XOp, XSubgraph, XTensor, XValue, parse_xmodel, serialize_xmodel


def big(seed: int, size: int = 3 * LIMIT_BYTES) -> bytes:
    return bytes((seed + at * at) % 256 for at in range(size))


def graph_with_payloads() -> XGraph:
    values = {"data": XValue("bytes", big(1)), "small": XValue("bytes", b"abc"),
              "several": XValue("bytes_vec", (big(2), b"", big(3))),
              "registers": XValue("map_string_2_bytes", {"REG_0": big(4), "REG_1": b"x"})}
    op = XOp("x", "const", {}, values, XTensor("t", (1,), "XINT", 8, {"deep": XValue("bytes", big(5))}))
    leaf = XSubgraph("leaf", ("x",), {"mc_code": XValue("bytes", big(6))})
    return XGraph("g", (op,), XSubgraph("root", (), {}, (leaf,)), {"seven": XValue("bytes", big(7))})


WHOLE = serialize_xmodel(graph_with_payloads())


def test_large_payloads_are_views_of_the_file():
    made = parse_xmodel(WHOLE)
    assert made == graph_with_payloads()
    op = made.ops[0]
    views = [op.get("data"), op.get("several")[0], op.get("registers")["REG_0"], op.tensor.attrs["deep"].value,
             made.root.children[0].get("mc_code"), made.attrs["seven"].value]
    assert all(isinstance(view, memoryview) and view.obj is WHOLE for view in views)
    assert isinstance(op.get("small"), bytes)
    assert serialize_xmodel(made) == WHOLE


def test_what_is_parsed_is_small():
    small, payloads = detach(WHOLE, xir_proto.SCHEMA, "Graph")
    assert len(payloads) == 7
    assert len(small) < 600
    assert sum(map(len, payloads)) == 7 * 3 * LIMIT_BYTES


def test_small_files_are_left_alone():
    data = serialize_xmodel(XGraph("g", (XOp("x", "data", {}, {}, XTensor("t", (1,), "FLOAT", 32)),)))
    assert detach(data, xir_proto.SCHEMA, "Graph") == (data, ())


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32 - 1, 2**63])
def test_varints_by_the_definition(value):
    """Seven bits a byte, lowest first, the top bit set but in the last (protobuf's encoding)."""
    data = encoded(value)
    assert sum((byte % 128) << 7 * at for at, byte in enumerate(data)) == value
    assert all(byte > 127 for byte in data[:-1]) and data[-1] < 128


def test_a_file_that_names_a_payload_itself():
    message = xir_proto.Graph()
    message.op_node.add(op_name="x").op_attr["data"].bytes_value.number = 3
    with pytest.raises(FormatError, match="payload that is not in the file: expected up to 0, got 3"):
        parse_xmodel(message.SerializeToString())


@given(st.data())
@settings(max_examples=150)
def test_damaged_files_end_as_without_detaching(data):
    mutated = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at:at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    try:
        made = parse_xmodel(bytes(mutated))
    except DpuError:
        return
    message = xir_proto.Graph.FromString(bytes(mutated))
    assert [op.op_attr["data"].bytes_value.value for op in message.op_node if "data" in op.op_attr] == [
        bytes(op.get("data")) for op in made.ops if op.get("data") is not None and op.attrs["data"].kind == "bytes"]


def test_the_binding_s_stand_in_gives_bytes(tmp_path):
    from dpuflow.compat.xir_graph import Graph

    (tmp_path / "g.xmodel").write_bytes(WHOLE)
    op = Graph.deserialize(str(tmp_path / "g.xmodel")).get_op("x")
    assert type(op.get_attr("data")) is bytes
    assert op.get_attr("data") == big(1)
    assert [type(item) for item in op.get_attr("several")] == [bytes] * 3
    assert type(op.get_attr("registers")["REG_0"]) is bytes
