"""Protobuf's text format read without a schema: fields with their values, in order.

    name: "VB0"  base_id: 0  limit { kernel: "1-16" }
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from dpuflow.errors import FormatError

_TOKEN = re.compile(r"""\s+ | \#[^\n]* | (?P<word>[A-Za-z_][\w.]*) | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
                        | (?P<number>-?0[xX][0-9a-fA-F]+|-?\d+) | (?P<mark>[:{}<>;,])""", re.VERBOSE)
_DEEPEST = 16
_CLOSING = {"{": "}", "<": ">"}


@dataclass(frozen=True)
class Message:
    """Fields in the order of the file; a field may come more than once."""

    fields: tuple[tuple[str, int | str | bool | Message], ...]

    def all(self, name: str) -> tuple[int | str | bool | Message, ...]:
        """Every value of a field."""
        return tuple(value for key, value in self.fields if key == name)

    def get(self, name: str, default: int | str | bool | None = None) -> int | str | bool | Message | None:
        """A field's last value, as protobuf takes it."""
        values = self.all(name)
        return values[-1] if values else default

    def part(self, name: str) -> Message:
        """A field that is a message; an empty one if it is absent or something else."""
        value = self.get(name)
        return value if isinstance(value, Message) else Message(())


def _tokens(text: str, where: object) -> Iterator[tuple[str, str, int]]:
    """Kind, text and line of each token; then the end."""
    at, line = 0, 1
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            rest = text[at:at + 20].partition("\n")[0]
            raise FormatError("not protobuf text", where=f"{where}, line {line}", got=rest)
        if found.lastgroup:
            yield found.lastgroup, found.group(), line
        line += found.group().count("\n")
        at = found.end()
    yield "end", "", line


class _Parser:
    def __init__(self, text: str, where: object) -> None:
        self.tokens, self.where = _tokens(text, where), where
        self.kind, self.text, self.line = next(self.tokens)

    def advance(self) -> str:
        text = self.text
        self.kind, self.text, self.line = next(self.tokens)
        return text

    def fail(self, expected: str) -> FormatError:
        return FormatError("not protobuf text", where=f"{self.where}, line {self.line}", got=self.text or "the end",
                           expected=expected)

    def value(self) -> int | str | bool:
        if self.kind == "text":
            return self.advance()[1:-1]
        if self.kind == "number":
            return int(self.advance(), 0) if not re.fullmatch(r"-?0\d+", self.text) else int(self.advance(), 8)
        if self.kind != "word":
            raise self.fail("a value")
        word = self.advance()
        return {"true": True, "false": False}.get(word, word)

    def field(self, depth: int) -> tuple[str, int | str | bool | Message]:
        if self.kind != "word":
            raise self.fail("a field's name")
        name = self.advance()
        colon = self.text == ":" and bool(self.advance())
        if self.text in _CLOSING:
            closing = _CLOSING[self.advance()]
            made: tuple[str, int | str | bool | Message] = (name, self.message(closing, depth + 1))
            self.advance()
        elif colon:
            made = (name, self.value())
        else:
            raise self.fail("':' or '{'")
        if self.text in (";", ","):
            self.advance()
        return made

    def message(self, closing: str, depth: int = 0) -> Message:
        if depth > _DEEPEST:
            raise self.fail(f"at most {_DEEPEST} messages inside each other")
        fields = []
        while self.text != closing or self.kind not in ("mark", "end"):
            fields.append(self.field(depth))
        return Message(tuple(fields))


def parse_text(data: bytes, where: object = "text") -> Message:
    """A file's fields; FormatError naming the line for what is not protobuf text."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError("not protobuf text", where=where, got="bytes that are not UTF-8") from None
    try:
        return _Parser(text, where).message("")
    except ValueError as error:  # a number with a digit that its base lacks, or with thousands of digits
        raise FormatError(f"not protobuf text ({error})", where=where) from None
