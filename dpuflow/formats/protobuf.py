"""Protobuf messages from literal tables, in a pool of our own.

No generated code and no clash with TensorFlow's registration of the same messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from dpuflow.errors import FormatError

# A field: (number, name, type) or (number, name, type, label). A type is a scalar's name, a
# message's name or "map<key,value>"; a label is "repeated", "packed" or the name of a oneof.
FieldRow = tuple[int, str, str] | tuple[int, str, str, str]
Table = Mapping[str, tuple[FieldRow, ...]]

_F = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "double": _F.TYPE_DOUBLE, "float": _F.TYPE_FLOAT, "int64": _F.TYPE_INT64, "uint64": _F.TYPE_UINT64,
    "int32": _F.TYPE_INT32, "uint32": _F.TYPE_UINT32, "bool": _F.TYPE_BOOL, "string": _F.TYPE_STRING,
    "bytes": _F.TYPE_BYTES,
}


def _set_type(field: Any, kind: str, package: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _F.TYPE_MESSAGE
        field.type_name = f".{package}.{kind}"


def _add_map(message: Any, field: Any, kind: str, package: str) -> None:
    key, value = kind[4:-1].split(",")
    entry = message.nested_type.add(name="".join(part.title() for part in field.name.split("_")) + "Entry")
    entry.options.map_entry = True
    for number, name, part in ((1, "key", key), (2, "value", value)):
        member = entry.field.add(name=name, number=number, label=_F.LABEL_OPTIONAL)
        _set_type(member, part, package)
    field.label, field.type = _F.LABEL_REPEATED, _F.TYPE_MESSAGE
    field.type_name = f".{package}.{message.name}.{entry.name}"


def _add_field(message: Any, row: FieldRow, package: str, oneofs: dict[str, int]) -> None:
    number, name, kind = row[:3]
    label = row[3] if len(row) == 4 else ""
    field = message.field.add(name=name, number=number, label=_F.LABEL_OPTIONAL)
    if kind.startswith("map<"):
        _add_map(message, field, kind, package)
        return
    _set_type(field, kind, package)
    if label in ("repeated", "packed"):
        field.label = _F.LABEL_REPEATED
        if kind in _SCALARS and kind not in ("string", "bytes"):
            field.options.packed = label == "packed"
    elif label:
        if label not in oneofs:
            oneofs[label] = len(message.oneof_decl)
            message.oneof_decl.add(name=label)
        field.oneof_index = oneofs[label]


def messages(package: str, table: Table) -> dict[str, Any]:
    """Message classes by name, proto3, from a table of fields."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, rows in table.items():
        message = file.message_type.add(name=name)
        oneofs: dict[str, int] = {}
        for row in rows:
            _add_field(message, row, package, oneofs)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
            for name in table}


def parse(message_class: Any, data: bytes, where: object) -> Any:
    """A message from bytes; FormatError for bytes that are none."""
    try:
        return message_class.FromString(data)
    except (DecodeError, UnicodeDecodeError) as error:
        raise FormatError("the bytes are not a valid file of this kind (damaged or truncated?)", where=where,
                          expected=f"a {message_class.DESCRIPTOR.name} protobuf", got=str(error)) from None


def serialize(message: Any) -> bytes:
    """A message's bytes, maps sorted by key: equal messages give equal bytes."""
    data: bytes = message.SerializeToString(deterministic=True)
    return data
