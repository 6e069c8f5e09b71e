"""TensorFlow attribute values to and from Python: numbers, text, lists, types, shapes, tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dpuflow.errors import GraphError
from dpuflow.formats.graphdef_proto import AttrValue
from dpuflow.formats.protobuf import parse, serialize
from dpuflow.ir.graph import Array

MAX_TENSOR_BYTES = 1 << 31
MAX_REPEATED_VALUES = 1 << 24  # a small file must not ask for much memory: 4096 x 4096 zeros may


@dataclass(frozen=True)
class DType:
    """A TensorFlow data type by its number."""

    number: int


@dataclass(frozen=True)
class TShape:
    """A TensorFlow shape; -1 marks an unknown size, None an unknown rank."""

    dims: tuple[int, ...] | None


FLOAT, DOUBLE, INT32, UINT8, INT16, INT8, STRING, INT64, BOOL, HALF = (
    DType(number) for number in (1, 2, 3, 4, 5, 6, 7, 9, 10, 19))

# TensorFlow type number -> NumPy type and the TensorProto field that holds single values.
_NUMPY: dict[int, tuple[type[np.generic], str]] = {
    1: (np.float32, "float_val"), 2: (np.float64, "double_val"), 3: (np.int32, "int_val"),
    4: (np.uint8, "int_val"), 5: (np.int16, "int_val"), 6: (np.int8, "int_val"),
    9: (np.int64, "int64_val"), 10: (np.bool_, "bool_val"), 17: (np.uint16, "int_val"),
    19: (np.float16, "half_val"), 22: (np.uint32, "uint32_val"), 23: (np.uint64, "uint64_val"),
}
# What the field of single values may hold: half precision is stored as 16 bits in a wider integer.
_RANGES = {number: np.iinfo(np.uint16 if kind is np.float16 else kind) for number, (kind, _) in _NUMPY.items()
           if np.dtype(kind).kind in "iu" or kind is np.float16}
_NUMBER = {np.dtype(kind): number for number, (kind, _) in _NUMPY.items()}


def dtype_of(array: Array) -> DType:
    """The TensorFlow type of an array."""
    return DType(_NUMBER[array.dtype])


def numpy_dtype(dtype: DType) -> np.dtype[Any]:
    """The NumPy type; GraphError for types that hold no numbers."""
    if dtype.number not in _NUMPY:
        raise GraphError("unsupported tensor type", got=f"TensorFlow type {dtype.number}")
    return np.dtype(_NUMPY[dtype.number][0])


def decode_tensor(message: Any) -> Array:
    """A TensorProto as a read-only array; GraphError when size and content disagree."""
    dtype = numpy_dtype(DType(message.dtype))
    shape = tuple(dim.size for dim in message.tensor_shape.dim)
    if any(size < 0 for size in shape):
        raise GraphError("a tensor with an unknown size", got=shape)
    count = 1
    for size in shape:
        count *= size
    if count * dtype.itemsize > MAX_TENSOR_BYTES:
        raise GraphError("a tensor larger than 2 GB", got=shape)
    try:
        array = _content(message, dtype, count, shape).reshape(shape)
    except (ValueError, OverflowError) as error:
        raise GraphError(f"a malformed tensor ({error})", got=shape) from None
    array.setflags(write=False)
    return array


def _content(message: Any, dtype: np.dtype[Any], count: int, shape: tuple[int, ...]) -> Array:
    if message.tensor_content:
        if len(message.tensor_content) != count * dtype.itemsize:
            raise GraphError("a tensor's content does not fit its shape", got=f"{len(message.tensor_content)} bytes",
                             expected=f"{count * dtype.itemsize} bytes for {shape}")
        return np.frombuffer(message.tensor_content, dtype.newbyteorder("<")).astype(dtype)
    stored = getattr(message, _NUMPY[message.dtype][1])
    if len(stored) > count:
        raise GraphError("a tensor holds more values than its shape", got=len(stored), expected=count)
    values = np.array(stored) if len(stored) else np.zeros(1, dtype)
    allowed = _RANGES.get(message.dtype)
    if len(stored) and allowed and not allowed.min <= values.min() <= values.max() <= allowed.max:
        raise GraphError("a malformed tensor: a value outside its type", got=f"{values.min()}..{values.max()}")
    values = values.astype(np.uint16).view(np.float16) if len(stored) and dtype == np.float16 else values.astype(dtype)
    if count > max(MAX_REPEATED_VALUES, len(values)):
        raise GraphError("a tensor claims far more values than it holds", got=f"{len(values)} for {shape}",
                         expected=f"at most {MAX_REPEATED_VALUES} where one value stands for many")
    if len(values) == 1:
        return np.broadcast_to(values, (count,))
    # The last value stands for all that follow (TensorProto's compressed form).
    return np.concatenate([values, np.repeat(values[-1:], count - len(values))])


def fill_tensor(message: Any, array: Array) -> None:
    """Write an array into a TensorProto, in ``tensor_content`` encoding."""
    message.dtype = dtype_of(array).number
    message.tensor_shape.SetInParent()  # a scalar has an empty shape, not none
    for size in array.shape:
        message.tensor_shape.dim.add(size=size)
    message.tensor_content = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()


def _fill_shape(message: Any, shape: TShape) -> None:
    if shape.dims is None:
        message.unknown_rank = True
        return
    for size in shape.dims:
        message.dim.add(size=size)


def _shape(message: Any) -> TShape:
    return TShape(None if message.unknown_rank else tuple(dim.size for dim in message.dim))


def encode(value: Any) -> bytes:
    """A Python value as an encoded AttrValue.

    bool, int, float, str/bytes, DType, TShape, numpy array (a tensor), or a list of ints/floats.
    """
    message = AttrValue()
    if isinstance(value, bool):
        message.b = value
    elif isinstance(value, int):
        message.i = value
    elif isinstance(value, float):
        message.f = value
    elif isinstance(value, (str, bytes)):
        message.s = value.encode() if isinstance(value, str) else value
    elif isinstance(value, DType):
        message.type = value.number
    elif isinstance(value, TShape):
        message.shape.SetInParent()
        _fill_shape(message.shape, value)
    elif isinstance(value, np.ndarray):
        fill_tensor(message.tensor, value)
    else:
        _fill_list(message, value)
    return serialize(message)


def _fill_list(message: Any, values: Any) -> None:
    message.list.SetInParent()
    for value in values:
        if isinstance(value, float):
            message.list.f.append(value)
        elif isinstance(value, (str, bytes)):
            message.list.s.append(value.encode() if isinstance(value, str) else value)
        else:
            message.list.i.append(int(value))


def decode(data: bytes) -> Any:
    """An encoded AttrValue as a Python value; lists as tuples, text as ``bytes``."""
    message = parse(AttrValue, data, "attribute")
    kind = message.WhichOneof("value")
    if kind == "tensor":
        return decode_tensor(message.tensor)
    if kind == "shape":
        return _shape(message.shape)
    if kind == "type":
        return DType(message.type)
    if kind == "list":
        values = message.list
        return (tuple(values.i) or tuple(values.f) or tuple(values.s) or tuple(values.b)
                or tuple(DType(number) for number in values.type) or tuple(map(_shape, values.shape)))
    return getattr(message, kind) if kind else None
