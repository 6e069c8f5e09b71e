"""TensorFlow's GraphDef messages: field numbers of its public protocol, private to this library.

Fields that a frozen graph for inference does not need are left out; protobuf keeps what it does
not know, so they survive a round trip.
"""

from __future__ import annotations

from dpuflow.formats.protobuf import Table, messages

_TABLE: Table = {
    "GraphDef": (
        (1, "node", "NodeDef", "repeated"), (2, "library", "FunctionDefLibrary"), (3, "version", "int32"),
        (4, "versions", "VersionDef"),
    ),
    "NodeDef": (
        (1, "name", "string"), (2, "op", "string"), (3, "input", "string", "repeated"), (4, "device", "string"),
        (5, "attr", "map<string,AttrValue>"),
    ),
    "AttrValue": (
        (1, "list", "ListValue", "value"), (2, "s", "bytes", "value"), (3, "i", "int64", "value"),
        (4, "f", "float", "value"), (5, "b", "bool", "value"), (6, "type", "int32", "value"),
        (7, "shape", "TensorShapeProto", "value"), (8, "tensor", "TensorProto", "value"),
        (9, "placeholder", "string", "value"), (10, "func", "NameAttrList", "value"),
    ),
    "ListValue": (
        (2, "s", "bytes", "repeated"), (3, "i", "int64", "packed"), (4, "f", "float", "packed"),
        (5, "b", "bool", "packed"), (6, "type", "int32", "packed"), (7, "shape", "TensorShapeProto", "repeated"),
        (8, "tensor", "TensorProto", "repeated"), (9, "func", "NameAttrList", "repeated"),
    ),
    "NameAttrList": ((1, "name", "string"), (2, "attr", "map<string,AttrValue>")),
    "Dim": ((1, "size", "int64"), (2, "name", "string")),
    "TensorShapeProto": ((2, "dim", "Dim", "repeated"), (3, "unknown_rank", "bool")),
    "TensorProto": (
        (1, "dtype", "int32"), (2, "tensor_shape", "TensorShapeProto"), (3, "version_number", "int32"),
        (4, "tensor_content", "bytes"), (5, "float_val", "float", "packed"), (6, "double_val", "double", "packed"),
        (7, "int_val", "int32", "packed"), (8, "string_val", "bytes", "repeated"),
        (9, "scomplex_val", "float", "packed"), (10, "int64_val", "int64", "packed"),
        (11, "bool_val", "bool", "packed"), (12, "dcomplex_val", "double", "packed"),
        (13, "half_val", "int32", "packed"), (16, "uint32_val", "uint32", "packed"),
        (17, "uint64_val", "uint64", "packed"),
    ),
    "VersionDef": (
        (1, "producer", "int32"), (2, "min_consumer", "int32"), (3, "bad_consumers", "int32", "packed"),
    ),
    "FunctionDefLibrary": ((1, "function", "FunctionDef", "repeated"),),
    "FunctionDef": (),
    # The graph of a .meta file stays encoded: its reader checks it as a file of its own.
    "MetaGraphDef": ((2, "graph_def", "bytes"),),
}

_MESSAGES = messages("dpuflow.graphdef", _TABLE)
GraphDef = _MESSAGES["GraphDef"]
NodeDef = _MESSAGES["NodeDef"]
AttrValue = _MESSAGES["AttrValue"]
TensorProto = _MESSAGES["TensorProto"]
MetaGraphDef = _MESSAGES["MetaGraphDef"]
