"""The tables of a LiteRT model file that are written here, packed by the flatbuffers library.

LiteRT's package carries classes for all tables of its schema; importing them costs a start 20 ms and 4 MB. A test
compares these numbers with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flatbuffers
import numpy as np

from dpuflow.ir.graph import Array

IDENTIFIER = b"TFL3"

# Fields by table: the number of each, and what it holds: a scalar, [a vector of scalars], a table, [a vector of
# tables], a string, or "union": the name of a table, and its values.
TABLES: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "Model": {"version": (0, "uint32"), "operator_codes": (1, "[OperatorCode]"), "subgraphs": (2, "[SubGraph]"),
              "description": (3, "string"), "buffers": (4, "[Buffer]")},
    "OperatorCode": {"deprecated_builtin_code": (0, "int8"), "version": (2, "int32"), "builtin_code": (3, "int32")},
    "SubGraph": {"tensors": (0, "[Tensor]"), "inputs": (1, "[int32]"), "outputs": (2, "[int32]"),
                 "operators": (3, "[Operator]")},
    "Tensor": {"shape": (0, "[int32]"), "type": (1, "int8"), "buffer": (2, "uint32"), "name": (3, "string"),
               "quantization": (4, "QuantizationParameters")},
    "QuantizationParameters": {"scale": (2, "[float32]"), "zero_point": (3, "[int64]"),
                               "quantized_dimension": (6, "int32")},
    "Buffer": {"data": (0, "[uint8]")},
    "Operator": {"opcode_index": (0, "uint32"), "inputs": (1, "[int32]"), "outputs": (2, "[int32]"),
                 "builtin_options_type": (3, "uint8"), "builtin_options": (4, "union")},
    "Conv2DOptions": {"padding": (0, "int8"), "stride_w": (1, "int32"), "stride_h": (2, "int32"),
                      "fused_activation_function": (3, "int8"), "dilation_w_factor": (4, "int32"),
                      "dilation_h_factor": (5, "int32")},
    "DepthwiseConv2DOptions": {"padding": (0, "int8"), "stride_w": (1, "int32"), "stride_h": (2, "int32"),
                               "depth_multiplier": (3, "int32"), "fused_activation_function": (4, "int8"),
                               "dilation_w_factor": (5, "int32"), "dilation_h_factor": (6, "int32")},
    "FullyConnectedOptions": {"fused_activation_function": (0, "int8")},
    "Pool2DOptions": {"padding": (0, "int8"), "stride_w": (1, "int32"), "stride_h": (2, "int32"),
                      "filter_width": (3, "int32"), "filter_height": (4, "int32"),
                      "fused_activation_function": (5, "int8")},
    "PadV2Options": {},
    "ReshapeOptions": {"new_shape": (0, "[int32]")},
    "AddOptions": {"fused_activation_function": (0, "int8")},
    "ConcatenationOptions": {"axis": (0, "int32"), "fused_activation_function": (1, "int8")},
    "DepthToSpaceOptions": {"block_size": (0, "int32")},
}
# What the schema numbers: data types, operators and the union of their options, activations, padding.
TYPES = {np.dtype(np.int32): 2, np.dtype(np.int8): 9}
OPERATORS = {"ADD": 0, "CONCATENATION": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 4, "DEPTH_TO_SPACE": 5,
             "FULLY_CONNECTED": 9, "MAX_POOL_2D": 17, "RESHAPE": 22, "PADV2": 60}
OPTIONS = {"Conv2DOptions": 1, "DepthwiseConv2DOptions": 2, "Pool2DOptions": 5, "FullyConnectedOptions": 8,
           "ConcatenationOptions": 10, "AddOptions": 11, "ReshapeOptions": 17, "PadV2Options": 43,
           "DepthToSpaceOptions": 94}
ACTIVATIONS = {"none": 0, "relu": 1, "relu6": 3}
PADDINGS = {"SAME": 0, "VALID": 1}

_SCALARS = {"int8": "Int8", "uint8": "Uint8", "int32": "Int32", "uint32": "Uint32"}
Values = Mapping[str, Any]


def model_bytes(values: Values) -> bytes:
    """A model file of the table "Model"."""
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(_pack(builder, "Model", values), IDENTIFIER)
    return bytes(builder.Output())


def _pack(builder: Any, table: str, values: Values) -> int:
    """Where a table lies; what it refers to lies before it."""
    fields = [(*TABLES[table][name], value) for name, value in values.items()]
    ready = [(number, kind, _placed(builder, kind, value)) for number, kind, value in fields]
    builder.StartObject(max((number for number, _ in TABLES[table].values()), default=-1) + 1)
    for number, kind, value in ready:
        if kind in _SCALARS:
            getattr(builder, f"Prepend{_SCALARS[kind]}Slot")(number, value, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(number, value, 0)
    return int(builder.EndObject())


def _placed(builder: Any, kind: str, value: Any) -> int:
    """A scalar itself, or where anything else lies."""
    if kind in _SCALARS:
        return int(value)
    if kind == "string":
        return int(builder.CreateString(value))
    if kind == "union":
        return _pack(builder, *value)
    if not kind.startswith("["):
        return _pack(builder, kind, value)
    if kind[1:-1] not in TABLES:
        vector: Array = np.atleast_1d(np.asarray(value, kind[1:-1]))
        return int(builder.CreateNumpyVector(vector))
    places = [_pack(builder, kind[1:-1], one) for one in value]
    builder.StartVector(4, len(places), 4)
    for place in reversed(places):
        builder.PrependUOffsetTRelative(place)
    return int(builder.EndVector())
