"""Fields of XIR operators, checked: positions, windows, padding, constants (xmodel specification, 3, 4, 6)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.checks import checked_axis, checked_padding, checked_position
from dpuflow.formats.xir import XGraph, XOp
from dpuflow.ir.graph import Array, Fix, Node
from dpuflow.ops.base import Padding, same_padding

_NUMPY = {("XINT", 8): np.int8, ("INT", 8): np.int8, ("FLOAT", 32): np.float32, ("INT", 32): np.int32,
          ("FLOAT", 64): np.float64, ("INT", 64): np.int64}


def where_of(op: XOp) -> str:
    return f"operator '{op.name}' ({op.type})"


def fix_of(op: XOp) -> Fix | None:
    attrs = op.tensor.attrs
    if op.tensor.data_type == "XUINT" or (op.tensor.data_type == "XINT" and "if_signed" in attrs
                                          and attrs["if_signed"].value is False):
        raise UnsupportedOp("an unsigned tensor", where=where_of(op), expected="XINT8, signed")
    if op.tensor.data_type != "XINT":
        return None
    if "fix_point" not in attrs:
        raise GraphError("a fixed-point tensor without fix_point", where=where_of(op))
    return checked_position(attrs["fix_point"].value, op.tensor.bits, where_of(op), zero=False)


def stated_fix(op: XOp) -> Fix | None:
    """The position that a conversion states beside its tensor's own."""
    if "fix_point" not in op.attrs:
        return None
    return checked_position(op.get("fix_point"), op.get("bit_width", 8), where_of(op), zero=False)


Payload = bytes | memoryview


def parameter_blobs(graph: XGraph) -> dict[str, Mapping[str, Payload]]:
    """For every operator of a DPU subgraph that subgraph's parameter registers."""
    blobs: dict[str, Mapping[str, Payload]] = {}
    for subgraph in graph.dpu_subgraphs:
        value = subgraph.attrs.get("reg_id_to_parameter_value")
        if value is not None and value.kind != "map_string_2_bytes":
            raise GraphError("parameters of an impossible type", where=f"subgraph '{subgraph.name}'", got=value.kind,
                             expected="map_string_2_bytes")
        registers = value.value if value else {}
        for leaf in subgraph.leaves():
            blobs.update(dict.fromkeys(leaf.ops, registers))
    return blobs


def pair_of(op: XOp, key: str, default: tuple[int, ...] | None = None) -> tuple[int, int]:
    """A {W, H} list as (height, width)."""
    value = op.get(key, default)
    if not isinstance(value, tuple) or len(value) != 2 or not all(isinstance(v, int) and v >= 1 for v in value):
        raise GraphError(f"malformed attribute '{key}'", where=where_of(op), got=value, expected="[width, height]")
    return int(value[1]), int(value[0])


_NONLINEAR = {"": "none", "NONE": "none", "RELU": "relu", "RELU6": "relu6", "LEAKYRELU": "leaky_relu"}


def nonlinear_of(op: XOp) -> str:
    """The nonlinearity inside an operator, in this library's words."""
    name = op.get("nonlinear", "NONE")
    if name not in _NONLINEAR:
        raise UnsupportedOp("unsupported nonlinearity", where=where_of(op), got=name,
                            expected=", ".join(sorted(filter(None, _NONLINEAR))))
    return _NONLINEAR[name]


def reduced_axes(op: XOp, x: Node) -> tuple[int, ...]:
    """The axes of a reduction, counted from the front; GraphError for the batch or one that is not there."""
    return tuple(sorted(checked_axis(int(axis), len(x.shape), where_of(op)) for axis in op.get("axis", ())))


def padding_of(op: XOp, x: Node, kernel: tuple[int, int], stride: tuple[int, int],
             dilation: tuple[int, int] = (1, 1)) -> Padding:
    mode = op.get("pad_mode", "FLOOR")
    if mode == "SAME":
        return checked_padding(same_padding((x.shape[1], x.shape[2]), kernel, stride, dilation), where_of(op))
    if mode == "VALID":
        return Padding()
    if mode not in ("FLOOR", "CEIL"):
        raise UnsupportedOp("unsupported pad_mode", where=where_of(op), got=mode, expected="FLOOR, CEIL, SAME or VALID")
    left, right, top, bottom = op.get("pad") or (0, 0, 0, 0)
    if mode == "CEIL":
        bottom += _ceil_extra(x.shape[1] + top + bottom, kernel[0], stride[0], dilation[0])
        right += _ceil_extra(x.shape[2] + left + right, kernel[1], stride[1], dilation[1])
    return checked_padding((top, bottom, left, right), where_of(op))


def _ceil_extra(size: int, kernel: int, stride: int, dilation: int) -> int:
    return -(size - (kernel - 1) * dilation - 1) % stride


def constant_bytes(op: XOp, blobs: Mapping[str, Mapping[str, Payload]], size: int) -> Payload:
    """A constant's payload, a view: its own data, or its place in the subgraph's parameter register."""
    own = op.get("data", b"")
    if not isinstance(own, (bytes, memoryview)):
        raise GraphError("a constant's data are no bytes", where=where_of(op), got=op.attrs["data"].kind)
    if len(own):
        return own
    attrs = op.tensor.attrs
    if "ddr_addr" not in attrs or "reg_id" not in attrs:
        raise GraphError("a constant without data and without an address", where=where_of(op))
    register = f"REG_{attrs['reg_id'].value}"
    blob = blobs.get(op.name, {}).get(register)
    start = attrs["ddr_addr"].value
    if blob is None or not isinstance(start, int) or not 0 <= start <= len(blob) - size:
        raise GraphError("a constant lies outside its parameter register", where=where_of(op),
                         got=f"{register}+{start}",
                         expected=f"{size} bytes within {len(blob) if blob is not None else 0}")
    return memoryview(blob)[start:start + size]


def constant_array(op: XOp, blobs: Mapping[str, Mapping[str, Payload]]) -> Array:
    """A constant's value in the file's axis order: a view of the file's bytes, never a copy."""
    dtype = _NUMPY.get((op.tensor.data_type, op.tensor.bits))
    if dtype is None:
        raise UnsupportedOp("a constant of an unsupported type", where=where_of(op),
                            got=f"{op.tensor.data_type}{op.tensor.bits}")
    size = math.prod(op.tensor.dims) * np.dtype(dtype).itemsize
    data = constant_bytes(op, blobs, size)
    if len(data) != size:
        raise GraphError("a constant's data do not fit its shape", where=where_of(op), expected=f"{size} bytes",
                         got=f"{len(data)} bytes")
    array: Array = np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).astype(dtype, copy=False)
    return array.reshape(op.tensor.dims)
