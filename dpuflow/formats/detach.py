"""Large payloads of a protobuf file as views of its bytes, so that parsing does not copy them.

Before parsing, every payload above a limit is cut out of the encoded message and replaced by its
number; the lengths of the messages around it shrink accordingly. What is small, or not well
formed, is left for the parser.
"""

from __future__ import annotations

from collections.abc import Mapping

LIMIT_BYTES = 1 << 12
PAYLOAD, VALUE_FIELD, NUMBER_FIELD = "Bytes", 1, 15  # the message around a payload, and the fields inside it
_DEEPEST = 64

# Message -> field number -> the message that the field holds.
Schema = Mapping[str, Mapping[int, str]]


class _Malformed(Exception):
    pass


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number and the place behind it."""
    value = 0
    for length in range(10):
        if at + length >= len(data):
            raise _Malformed
        byte = data[at + length]
        value += (byte % 128) * 128**length
        if byte < 128:
            return value, at + length + 1
    raise _Malformed


def encoded(value: int) -> bytes:
    """A number as a varint."""
    out = bytearray()
    while value > 127:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


class _Cutter:
    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.payloads: list[memoryview] = []

    def cut(self, data: memoryview, message: str, depth: int = 0) -> bytes | None:
        """The message without its large payloads; None if it holds none."""
        if len(data) < LIMIT_BYTES or depth > _DEEPEST:
            return None
        inner, parts, kept, at = self.schema.get(message, {}), list[bytes](), 0, 0
        while at < len(data):
            tag, body = _varint(data, at)
            field, kind = divmod(tag, 8)
            if kind != 2:
                at = self.skip(data, body, kind)
                continue
            size, start = _varint(data, body)
            end = start + size
            if end > len(data):
                raise _Malformed
            made = self.replaced(data[start:end], message, field, inner, depth) if size >= LIMIT_BYTES else None
            if made is not None:
                parts += [bytes(data[kept:at]), made]
                kept = end
            at = end
        return b"".join([*parts, bytes(data[kept:])]) if parts else None

    def replaced(self, data: memoryview, message: str, field: int, inner: Mapping[int, str],
                 depth: int) -> bytes | None:
        """A field with its tag and length, cut; None if it stays as it is."""
        if message == PAYLOAD and field == VALUE_FIELD:
            self.payloads.append(data)
            return encoded(NUMBER_FIELD * 8) + encoded(len(self.payloads))
        made = self.cut(data, inner[field], depth + 1) if field in inner else None
        return None if made is None else encoded(field * 8 + 2) + encoded(len(made)) + made

    @staticmethod
    def skip(data: memoryview, at: int, kind: int) -> int:
        """The place behind a field that is no message."""
        if kind == 0:
            return _varint(data, at)[1]
        if kind in (1, 5):
            return at + (8 if kind == 1 else 4)
        raise _Malformed


def detach(data: bytes, schema: Schema, message: str) -> tuple[bytes, tuple[memoryview, ...]]:
    """The encoded message without large payloads, and these; the data as they are if they are not well formed."""
    cutter = _Cutter(schema)
    try:
        small = cutter.cut(memoryview(data), message)
    except _Malformed:
        return data, ()
    return (data, ()) if small is None else (small, tuple(cutter.payloads))
