"""The messages of an .xmodel file: field numbers on the wire, a vendor file, garbage."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from hypothesis import given
from hypothesis import strategies as st

from dpuflow.errors import FormatError
from dpuflow.formats.protobuf import parse, serialize
from dpuflow.formats.xir_proto import _MESSAGES, AttrValue, Graph

VENDOR = os.environ.get("DPUFLOW_VENDOR")
needs_vendor = pytest.mark.skipif(not VENDOR, reason="DPUFLOW_VENDOR is not set")

# Message -> its fields in the order of their numbers (xmodel specification, section 1).
NUMBERS = {
    "Graph": {"graph_name": 1, "op_node": 5, "subg_root": 10, "graph_attr": 11, "op_defs": 101},
    "OPNode": {"op_name": 1, "op_type": 2, "op_attr": 3, "args": 4, "output_tensor": 5},
    "OpArg": {"arg_name": 1, "arg_ops": 2},
    "Tensor": {"tensor_name": 1, "tensor_dim": 2, "data_type": 5, "tensor_bit_width": 6, "tensor_attr": 10},
    "SubGraph": {"subgraph_name": 1, "op_name": 3, "subg_attr": 5, "subg_child": 10},
    "OpDef": {"name": 1, "input_args": 2, "attrs": 3, "annotation": 4},
    "OpArgDef": {"name": 1, "occur_type": 2, "data_type": 3, "annotation": 4},
    "AttrDef": {"name": 1, "occur_type": 3, "default_value": 4, "list_length": 6, "annotation": 7},
    "Bytes": {"value": 1, "number": 15},
}

# The number of an AttrValue's member -> what that member's payload is, written by hand.
VARINT, FLOAT, DOUBLE, TEXT = "01", "0000803f", "000000000000f03f", "01 61"
PACKED_VARINT, PACKED_FLOAT, PACKED_DOUBLE = "03 0a 01 01", "06 0a 04 0000803f", "0a 0a 08 000000000000f03f"
BYTES, BYTES_LIST, TEXT_LIST = "03 0a 01 ff", "05 0a 03 0a 01 ff", "03 0a 01 61"
MAP_VARINT, MAP_TEXT = "07 0a 05 0a 01 6b 10 01", "08 0a 06 0a 01 6b 12 01 61"
MAP_BYTES, MAP_VECTOR = "0a 0a 08 0a 01 6b 12 03 0a 01 ff", "0a 0a 08 0a 01 6b 12 03 0a 01 01"
MAP_TEXT_LIST = "0a 0a 08 0a 01 6b 12 03 0a 01 61"
# Number, wire type, payload, the value as Python.
ATTRIBUTES = (
    (4, 0, VARINT, True), (5, 0, VARINT, 1), (6, 0, VARINT, 1), (7, 0, VARINT, 1), (8, 0, VARINT, 1),
    (9, 5, FLOAT, 1.0), (10, 1, DOUBLE, 1.0), (11, 2, TEXT, "a"), (12, 2, BYTES, b"\xff"),
    (13, 2, PACKED_VARINT, [True]), (14, 2, PACKED_VARINT, [1]), (15, 2, PACKED_VARINT, [1]),
    (16, 2, PACKED_VARINT, [1]), (17, 2, PACKED_VARINT, [1]), (18, 2, PACKED_FLOAT, [1.0]),
    (19, 2, PACKED_DOUBLE, [1.0]), (20, 2, TEXT_LIST, ["a"]), (21, 2, BYTES_LIST, [b"\xff"]),
    (22, 2, MAP_VARINT, {"k": 1}), (23, 2, MAP_VARINT, {"k": 1}), (24, 2, MAP_VARINT, {"k": 1}),
    (25, 2, MAP_VARINT, {"k": 1}), (26, 2, MAP_TEXT, {"k": "a"}), (27, 2, MAP_BYTES, {"k": b"\xff"}),
    (28, 2, MAP_VECTOR, {"k": [1]}), (29, 2, MAP_VECTOR, {"k": [1]}), (30, 2, MAP_VECTOR, {"k": [1]}),
    (31, 2, MAP_VECTOR, {"k": [1]}), (32, 2, MAP_TEXT_LIST, {"k": ["a"]}),
)
# The number of an AttrValue's member -> the type it holds, alone, in a list or in a map.
KINDS = {
    "bool": (4, 13), "int32": (5, 14, 22, 28), "uint32": (6, 15, 23, 29), "int64": (7, 16, 24, 30),
    "uint64": (8, 17, 25, 31), "float": (9, 18), "double": (10, 19), "string": (11, 20, 26, 32), "bytes": (12, 21, 27),
}
MINUS_ONE = bytes.fromhex("ffffffffffffffffff01")


def tag(number, wire_type):
    key = number * 8 + wire_type
    return bytes([key]) if key < 128 else bytes([key % 128 + 128, key // 128])


def plain(value):
    """A member as Python data: the messages hold their content in ``value``."""
    if hasattr(value, "DESCRIPTOR"):
        return plain(value.value)
    if hasattr(value, "items"):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    return value


@pytest.mark.parametrize("name", NUMBERS)
def test_field_numbers(name):
    assert {field.name: field.number for field in _MESSAGES[name].DESCRIPTOR.fields} == NUMBERS[name]


@pytest.mark.parametrize(("number", "wire_type", "payload", "value"), ATTRIBUTES, ids=str)
def test_attribute_on_the_wire(number, wire_type, payload, value):
    data = tag(number, wire_type) + bytes.fromhex(payload)
    attribute = parse(AttrValue, data, "attribute")
    kind = attribute.WhichOneof("value")
    assert kind is not None and AttrValue.DESCRIPTOR.fields_by_name[kind].number == number
    assert plain(getattr(attribute, kind)) == value
    assert serialize(attribute) == data


def test_every_attribute_kind_is_checked():
    numbers = [field.number for field in AttrValue.DESCRIPTOR.fields]
    assert sorted(numbers) == [number for number, *_ in ATTRIBUTES]
    assert {field.containing_oneof.name for field in AttrValue.DESCRIPTOR.fields} == {"value"}


def leaf_type(field):
    """The scalar that a member holds in the end."""
    while field.message_type is not None:
        field = field.message_type.fields_by_name["value"]
    return descriptor_pb2.FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


@pytest.mark.parametrize("kind", KINDS)
def test_attribute_numbers_of_a_type(kind):
    """1 is the same byte in every integer type: the types themselves are compared."""
    numbers = [field.number for field in AttrValue.DESCRIPTOR.fields if leaf_type(field) == kind]
    assert sorted(numbers) == list(KINDS[kind])


@pytest.mark.parametrize(("number", "value"), [(5, -1), (7, -1), (8, 2**64 - 1)])
def test_signed_and_unsigned_are_told_apart(number, value):
    attribute = parse(AttrValue, tag(number, 0) + MINUS_ONE, "attribute")
    assert getattr(attribute, attribute.WhichOneof("value")) == value
    assert serialize(attribute) == tag(number, 0) + MINUS_ONE


def test_a_graph_on_the_wire():
    graph = Graph(graph_name="g")
    node = graph.op_node.add(op_name="a", op_type="data")
    node.args.add(arg_name="x", arg_ops=["b"])
    node.output_tensor.tensor_dim.extend([1, 300])
    graph.subg_root.op_name.append("a")
    graph.graph_attr["k"].int32_value = 7
    graph.op_defs.add(name="d")
    assert serialize(graph) == bytes.fromhex(
        "0a 01 67"
        "2a 18 0a 01 61  12 04 64617461  22 06 0a 01 78 12 01 62  2a 05 12 03 01 ac02"
        "52 03 1a 01 61"
        "5a 07 0a 01 6b 12 02 28 07"
        "aa06 03 0a 01 64")


def sample():
    return (Path(VENDOR or "") / "tf2_custom_op.xmodel").read_bytes()


@needs_vendor
def test_the_vendor_file_loses_nothing():
    """Maps have no order in it, so the bytes differ, but not the message and not their number."""
    data = sample()
    graph = parse(Graph, data, "vendor")
    again = serialize(graph)
    assert parse(Graph, again, "again") == graph
    assert len(again) == len(data)
    assert again == serialize(parse(Graph, again, "again"))


@needs_vendor
def test_the_vendor_file_is_understood():
    graph = parse(Graph, sample(), "vendor")
    assert (len(graph.op_node), len(graph.op_defs)) == (26, 89)
    fields_seen = {attribute.WhichOneof("value") for node in graph.op_node for attribute in node.op_attr.values()}
    assert None not in fields_seen
    devices = [child.subg_attr["device"].string_value for child in graph.subg_root.subg_child]
    assert devices.count("DPU") == 2
    prints = {child.subg_attr["dpu_fingerprint"].uint64_value for child in graph.subg_root.subg_child
              if child.subg_attr["device"].string_value == "DPU"}
    assert prints == {0x0101000016010407}
    assert not unknown_fields(graph), "a field that the table lacks"


def unknown_fields(message):
    """Whether any field was read that no table names: discarding them must change nothing."""
    before = serialize(message)
    stripped = type(message).FromString(before)
    stripped.DiscardUnknownFields()
    return serialize(stripped) != before


def valid():
    graph = Graph(graph_name="net")
    for name in ("a", "b"):
        node = graph.op_node.add(op_name=name, op_type="conv2d-fix")
        node.op_attr["kernel"].int32_vec_value.value.extend([3, 3])
        node.op_attr["data"].bytes_value.value = bytes(20)
        node.output_tensor.tensor_attr["fix_point"].int32_value = 4
    return serialize(graph)


@given(st.data())
def test_damaged_files_are_a_message_or_a_typed_error(data):
    damaged = bytearray(valid())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[:data.draw(st.integers(0, len(damaged)))]
    try:
        graph = parse(Graph, bytes(damaged), "damaged")
    except FormatError:
        return
    again = serialize(graph)
    assert serialize(parse(Graph, again, "again")) == again
