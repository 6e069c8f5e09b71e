"""ONNX's messages: field numbers of its public protocol, private to this library.

Fields that inference does not need are left out; protobuf keeps what it does not know.
"""

from __future__ import annotations

from dpuflow.formats.protobuf import Table, messages

_TABLE: Table = {
    "ModelProto": (
        (1, "ir_version", "int64"), (2, "producer_name", "string"), (3, "producer_version", "string"),
        (7, "graph", "GraphProto"), (8, "opset_import", "OperatorSetIdProto", "repeated"),
        (25, "functions", "FunctionProto", "repeated"),
    ),
    "OperatorSetIdProto": ((1, "domain", "string"), (2, "version", "int64")),
    "FunctionProto": ((1, "name", "string"),),
    "GraphProto": (
        (1, "node", "NodeProto", "repeated"), (2, "name", "string"), (5, "initializer", "TensorProto", "repeated"),
        (11, "input", "ValueInfoProto", "repeated"), (12, "output", "ValueInfoProto", "repeated"),
        (15, "sparse_initializer", "SparseTensorProto", "repeated"),
    ),
    "SparseTensorProto": (),
    "NodeProto": (
        (1, "input", "string", "repeated"), (2, "output", "string", "repeated"), (3, "name", "string"),
        (4, "op_type", "string"), (5, "attribute", "AttributeProto", "repeated"), (7, "domain", "string"),
    ),
    "AttributeProto": (
        (1, "name", "string"), (2, "f", "float"), (3, "i", "int64"), (4, "s", "bytes"), (5, "t", "TensorProto"),
        (6, "g", "GraphProto"), (7, "floats", "float", "repeated"), (8, "ints", "int64", "repeated"),
        (9, "strings", "bytes", "repeated"), (20, "type", "int32"),
    ),
    "ValueInfoProto": ((1, "name", "string"), (2, "type", "TypeProto")),
    "TypeProto": ((1, "tensor_type", "TensorTypeProto", "value"),),
    "TensorTypeProto": ((1, "elem_type", "int32"), (2, "shape", "TensorShapeProto", "has_shape")),
    "TensorShapeProto": ((1, "dim", "Dimension", "repeated"),),
    "Dimension": ((1, "dim_value", "int64", "value"), (2, "dim_param", "string", "value")),
    "TensorProto": (
        (1, "dims", "int64", "repeated"), (2, "data_type", "int32"), (4, "float_data", "float", "packed"),
        (5, "int32_data", "int32", "packed"), (6, "string_data", "bytes", "repeated"),
        (7, "int64_data", "int64", "packed"), (8, "name", "string"), (9, "raw_data", "bytes"),
        (10, "double_data", "double", "packed"), (11, "uint64_data", "uint64", "packed"),
        (13, "external_data", "StringStringEntryProto", "repeated"), (14, "data_location", "int32"),
    ),
    "StringStringEntryProto": ((1, "key", "string"), (2, "value", "string")),
}

_MESSAGES = messages("dpuflow.onnx", _TABLE)
ModelProto = _MESSAGES["ModelProto"]
TensorProto = _MESSAGES["TensorProto"]
