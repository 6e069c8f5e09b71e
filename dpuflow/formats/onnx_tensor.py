"""ONNX tensors to arrays: every encoding, sizes that lie refused before memory is taken."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from dpuflow.errors import FormatError, GraphError
from dpuflow.ir.graph import Array

MAX_TENSOR_BYTES = 1 << 31
BFLOAT16 = 16

# ONNX element type -> NumPy type and the field that holds single values.
_TYPES: dict[int, tuple[str, str]] = {
    1: ("<f4", "float_data"), 2: ("|u1", "int32_data"), 3: ("|i1", "int32_data"), 4: ("<u2", "int32_data"),
    5: ("<i2", "int32_data"), 6: ("<i4", "int32_data"), 7: ("<i8", "int64_data"), 9: ("|b1", "int32_data"),
    10: ("<f2", "int32_data"), 11: ("<f8", "double_data"), 12: ("<u4", "uint64_data"), 13: ("<u8", "uint64_data"),
    BFLOAT16: ("<u2", "int32_data"),
}


def numpy_type(number: int, where: str) -> np.dtype[Any]:
    """The NumPy type of an ONNX element type; GraphError for those that hold no plain numbers."""
    if number not in _TYPES or number == BFLOAT16:
        raise GraphError("unsupported tensor type", where=where, got=f"ONNX type {number}")
    return np.dtype(_TYPES[number][0])


def decode_tensor(message: Any, where: str, folder: Path | None = None) -> Array:
    """A TensorProto as a read-only array; GraphError when size and content disagree."""
    shape = tuple(int(size) for size in message.dims)
    kind = int(message.data_type)
    if kind not in _TYPES:
        raise GraphError("unsupported tensor type", where=where, got=f"ONNX type {kind}", expected="numbers")
    dtype = np.dtype(_TYPES[kind][0])
    count = math.prod(shape)
    if min(shape, default=0) < 0 or count * dtype.itemsize > MAX_TENSOR_BYTES:
        raise GraphError("an impossible tensor size", where=where, got=shape)
    try:
        array = _content(message, dtype, count, where, folder, kind)
    except (ValueError, OverflowError, TypeError) as error:
        raise GraphError(f"a malformed tensor ({error})", where=where, got=shape) from None
    if kind == BFLOAT16:  # the upper half of a float32
        array = (np.asarray(array, np.uint32) * np.uint32(65536)).view(np.float32)
    array = array.reshape(shape)
    array.setflags(write=False)
    return np.asarray(array)


def _content(message: Any, dtype: np.dtype[Any], count: int, where: str, folder: Path | None, kind: int) -> Array:
    data = message.raw_data
    if message.data_location == 1 or message.external_data:
        data = _external(message, where, folder)
    if data or (count and not len(getattr(message, _TYPES[kind][1]))):
        if len(data) != count * dtype.itemsize:
            raise GraphError("a tensor's content does not fit its shape", where=where, got=f"{len(data)} bytes",
                             expected=f"{count * dtype.itemsize} bytes")
        return np.asarray(np.frombuffer(data, dtype).copy())
    stored = getattr(message, _TYPES[kind][1])
    if len(stored) != count:
        raise GraphError("a tensor's content does not fit its shape", where=where, got=f"{len(stored)} values",
                         expected=f"{count} values")
    values = np.array(stored)
    if dtype.kind == "f" and dtype.itemsize == 2:  # half precision is stored as bits
        return np.array(values, np.uint16).view(np.float16)
    return np.array(values, dtype)


def _external(message: Any, where: str, folder: Path | None) -> bytes:
    """The part of a file beside the model; GraphError for a path that leaves its folder."""
    entries = {entry.key: entry.value for entry in message.external_data}
    name = entries.get("location", "")
    if folder is None or not name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise GraphError("a tensor in a file that is not beside the model", where=where, got=name,
                         expected="a path inside the model's folder")
    try:
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", "-1"))
        if offset < 0 or length > MAX_TENSOR_BYTES:
            raise ValueError("impossible offset or length")
        with (folder / name).open("rb") as stream:
            stream.seek(offset)
            data: bytes = stream.read(length if length >= 0 else MAX_TENSOR_BYTES)
            return data
    except (OSError, ValueError) as error:
        raise FormatError(f"the tensor's file cannot be read ({error})", where=folder / name,
                          remedy="keep the .onnx file and its data file together") from None
