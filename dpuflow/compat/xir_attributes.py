"""Attributes of the stand-in ``xir``: what every graph, subgraph, operator and tensor has, typed as XIR types them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dpuflow.errors import GraphError
from dpuflow.formats.xir import XValue


class Dimensions(int):
    """A tensor's number of dimensions. Releases before 1.4 gave the sizes themselves under this
    name, so that programs of then write ``tuple(tensor.ndim)``; both work."""

    sizes: tuple[int, ...]

    def __iter__(self) -> Any:
        return iter(self.sizes)


def _plain(value: XValue) -> Any:
    """An attribute as the binding hands it out: vectors are lists, maps are dicts."""
    if value.kind.startswith("map_"):
        return {key: _bytes(item) for key, item in value.value.items()}
    return [_bytes(item) for item in value.value] if isinstance(value.value, tuple) else _bytes(value.value)


def _bytes(value: Any) -> Any:
    """Large payloads are views of the file; the binding gives bytes."""
    return bytes(value) if isinstance(value, memoryview) else value


def _typed(value: Any) -> XValue:
    """A Python value with the XIR type that the binding chooses for it."""
    scalars = ((bool, "bool"), (int, "int32"), (float, "double"), (str, "string"), (bytes, "bytes"))
    for kind, name in scalars:
        if isinstance(value, kind):
            return XValue(name, value)
    for kind, name in scalars[:4]:
        if isinstance(value, list) and value and all(isinstance(item, kind) for item in value):
            return XValue(f"{name}_vec", tuple(value))
    for kind, name in scalars[1:4:2]:
        if isinstance(value, dict) and value and all(isinstance(item, kind) for item in value.values()):
            return XValue(f"map_string_2_{name}", dict(value))
    raise GraphError("no XIR type for an attribute's value", got=type(value).__name__,
                     expected="bool, int, float, str, bytes, or a list or dict of one of them")


class Attributes:
    """``has_attr``, ``get_attr``, ``set_attr`` and their plurals, as every XIR object has them."""

    def __init__(self, kind: str, name: str, attrs: Mapping[str, XValue]) -> None:
        self._kind, self._name, self._attrs = kind, name, dict(attrs)

    def has_attr(self, name: str) -> bool:
        """Whether there is an attribute of that name."""
        return name in self._attrs

    def get_attr(self, name: str) -> Any:
        """An attribute's value; GraphError listing what there is (the real one aborts)."""
        if name not in self._attrs:
            raise GraphError(f"no attribute '{name}'", where=f"{self._kind} '{self._name}'",
                             expected=", ".join(sorted(self._attrs)) or "none at all")
        return _plain(self._attrs[name])

    def get_attrs(self) -> dict[str, Any]:
        """Every attribute by name."""
        return {name: _plain(value) for name, value in self._attrs.items()}

    def set_attr(self, name: str, value: Any) -> Any:
        """Set one attribute; an existing one keeps its type where the value fits it."""
        old = self._attrs.get(name)
        made = _typed(value)
        if old is not None and old.kind.removeprefix("u").replace("64", "32") == made.kind:
            made = XValue(old.kind, made.value)
        self._attrs[name] = made
        return self

    def set_attrs(self, attrs: Mapping[str, Any]) -> Any:
        """Set several attributes."""
        for name, value in attrs.items():
            self.set_attr(name, value)
        return self

    def __repr__(self) -> str:
        return f"<xir.{self._kind} named '{self._name}'>"
