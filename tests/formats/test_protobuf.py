"""Protobuf messages from tables: the bytes on the wire, and garbage."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from hypothesis import given
from hypothesis import strategies as st

from dpuflow.errors import FormatError
from dpuflow.formats import graphdef_proto
from dpuflow.formats.protobuf import Table, messages, parse, serialize

TABLE: Table = {
    "Leaf": ((1, "text", "string"), (2, "raw", "bytes")),
    "Tree": (
        (1, "number", "int32"), (2, "packed", "int32", "packed"), (3, "loose", "int32", "repeated"),
        (4, "leaf", "Leaf"), (5, "leaves", "Leaf", "repeated"), (6, "by_name", "map<string,int64>"),
        (7, "leaf_by_name", "map<string,Leaf>"), (8, "yes", "bool", "choice"), (9, "no", "float", "choice"),
        (10, "child", "Tree"), (11, "big", "uint64"), (12, "wide", "double"),
    ),
}
CLASSES = messages("dpuflow.test_protobuf", TABLE)
Leaf, Tree = CLASSES["Leaf"], CLASSES["Tree"]

# Written by hand from the protobuf encoding: tag = number * 8 + wire type.
WIRE = (
    ({"number": 150}, "08 9601"),
    ({"number": -1}, "08 ffffffffffffffffff01"),
    ({"packed": [1, 300]}, "12 03 01 ac02"),
    ({"loose": [1, 300]}, "18 01 18 ac02"),
    ({"leaf": Leaf(text="ä")}, "22 04 0a 02 c3a4"),
    ({"leaf": Leaf()}, "22 00"),
    ({"leaves": [Leaf(raw=b"\x00"), Leaf()]}, "2a 03 12 01 00 2a 00"),
    ({"by_name": {"a": 1}}, "32 05 0a 01 61 10 01"),
    ({"leaf_by_name": {"a": Leaf(text="b")}}, "3a 08 0a 01 61 12 03 0a 01 62"),
    ({"yes": False}, "40 00"),  # a member of a oneof is written even if it is zero
    ({"no": 1.0}, "4d 0000803f"),
    ({"child": Tree(child=Tree())}, "52 02 52 00"),
    ({"big": 2**64 - 1}, "58 ffffffffffffffffff01"),
    ({"wide": 1.0}, "61 000000000000f03f"),
    ({"number": 0}, ""),
)


@pytest.mark.parametrize(("fields", "wire"), WIRE)
def test_bytes_on_the_wire(fields, wire):
    assert serialize(Tree(**fields)) == bytes.fromhex(wire)
    assert parse(Tree, bytes.fromhex(wire), "here") == Tree(**fields)


def test_equal_maps_give_equal_bytes():
    """Whatever the order of insertion; keys of which one begins another are not in alphabetical order."""
    names = ["b", "aa", "", "ä", "a", "B", "ab"]
    data = serialize(Tree(by_name=dict.fromkeys(names, 1)))
    assert data == serialize(Tree(by_name=dict.fromkeys(reversed(names), 1)))
    assert data == serialize(parse(Tree, data, "again"))


def test_maps_are_written_sorted_by_key():
    names = ["shape", "T", "dtype", "ä", "value"]
    one_by_one = [serialize(Tree(by_name={name: 1})) for name in sorted(names, key=str.encode)]
    assert serialize(Tree(by_name=dict.fromkeys(names, 1))) == b"".join(one_by_one)


def test_a_oneof_holds_one_value():
    tree = Tree(yes=True)
    tree.no = 2.0
    assert tree.WhichOneof("choice") == "no"
    assert serialize(tree) == bytes.fromhex("4d 00000040")


def test_both_forms_of_a_repeated_number_are_read():
    assert list(parse(Tree, bytes.fromhex("10 01 10 02"), "here").packed) == [1, 2]
    assert list(parse(Tree, bytes.fromhex("1a 02 01 02"), "here").loose) == [1, 2]


def test_unknown_fields_survive():
    data = bytes.fromhex("08 01 fa3e 03 616263")  # field 1007 is in no table
    assert serialize(parse(Tree, data, "here")) == data


def test_the_pool_is_private():
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("dpuflow.test_protobuf.Tree")
    again = messages("dpuflow.test_protobuf", {"Tree": ((1, "other", "string"),)})
    assert [field.name for field in again["Tree"].DESCRIPTOR.fields] == ["other"]
    assert Tree.DESCRIPTOR.fields_by_name["number"].number == 1


GARBAGE = {
    "truncated varint": "08 ff", "truncated bytes": "22 05 0a", "field number zero": "00 01",
    "unknown wire type": "0f", "not UTF-8": "22 03 0a 01 ff", "lone end of group": "0c",
    "varint of 11 bytes": "08 ffffffffffffffffffff01",
}


@pytest.mark.parametrize("wire", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_a_typed_error(wire):
    with pytest.raises(FormatError, match=r"^net\.pb: .*Tree"):
        parse(Tree, bytes.fromhex(wire), "net.pb")


def test_bottomless_nesting_is_a_typed_error():
    data = b""
    for _ in range(10_000):
        size, length = len(data), b""
        while size > 127:
            length, size = length + bytes([size % 128 + 128]), size // 128
        data = b"\x52" + length + bytes([size]) + data
    with pytest.raises(FormatError):
        parse(Tree, data, "deep")


def test_an_empty_file_is_an_empty_message():
    """Protobuf has no magic number: the readers above this one must refuse what is empty."""
    assert parse(Tree, b"", "here") == Tree()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_typed_error(data):
    try:
        tree = parse(Tree, data, "here")
    except FormatError:
        return
    again = serialize(tree)  # a NaN is no equal of itself: compare bytes
    assert serialize(parse(Tree, again, "here")) == again


@pytest.mark.train
@pytest.mark.parametrize("name", ["GraphDef", "NodeDef", "AttrValue", "ListValue", "NameAttrList", "Dim",
                                  "TensorShapeProto", "TensorProto", "VersionDef", "FunctionDefLibrary"])
def test_graphdef_fields_are_those_of_tensorflow(name):
    """Number, encoding, repetition and oneof of each field, against TensorFlow's own registration."""
    pytest.importorskip("tensorflow")
    full = {"Dim": "TensorShapeProto.Dim", "ListValue": "AttrValue.ListValue"}.get(name, name)
    theirs = encodings(descriptor_pool.Default().FindMessageTypeByName(f"tensorflow.{full}"))
    ours = encodings(graphdef_proto._MESSAGES[name].DESCRIPTOR)
    assert ours != {}
    assert ours == {field: theirs[field] for field in ours}


def encodings(descriptor):
    """Field -> what decides its bytes: number, type, repetition, packing, oneof, message."""
    message = descriptor_pb2.DescriptorProto()
    descriptor.CopyToProto(message)
    oneofs = [oneof.name for oneof in message.oneof_decl]
    return {field.name: (field.number, wire_type(field), field.label, packed(field),
                         oneofs[field.oneof_index] if field.HasField("oneof_index") else "",
                         field.type_name.rpartition(".")[2] if field.type == field.TYPE_MESSAGE else "")
            for field in message.field}


def wire_type(field):
    """An enumeration is written like an int32."""
    return field.TYPE_INT32 if field.type == field.TYPE_ENUM else field.type


def packed(field):
    """Numbers are packed in proto3 unless an option says no."""
    numeric = field.type not in (field.TYPE_STRING, field.TYPE_BYTES, field.TYPE_MESSAGE)
    repeated = field.label == field.LABEL_REPEATED
    return numeric and repeated and (field.options.packed or not field.options.HasField("packed"))
