"""TensorFlow GraphDef files as immutable data, without TensorFlow.

An attribute is kept as its encoded bytes, so what nobody edits is written back as it was read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from dpuflow.errors import FormatError, GraphError
from dpuflow.files import atomic_path, read_bytes
from dpuflow.formats import tf_values
from dpuflow.formats.graphdef_proto import AttrValue, GraphDef
from dpuflow.formats.protobuf import parse, serialize
from dpuflow.ir.graph import Array, missing_node


def base_name(operand: str) -> str:
    """The node that an operand names: without ``^`` and output number."""
    return operand.lstrip("^").split(":")[0]


@dataclass(frozen=True)
class TFNode:
    """One NodeDef: name, operator, operands as written, encoded attributes."""

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    attrs: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}))
    device: str = ""

    @property
    def operands(self) -> tuple[str, ...]:
        """The nodes read as data, in order."""
        return tuple(base_name(name) for name in self.inputs if not name.startswith("^"))

    def replace(self, **changes: Any) -> TFNode:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def with_attrs(self, drop: Iterable[str] = (), **changes: Any) -> TFNode:
        """A copy with attributes set to Python values (see :func:`tf_values.encode`) or dropped."""
        attrs = {key: value for key, value in self.attrs.items() if key not in set(drop)}
        attrs.update({key: tf_values.encode(value) for key, value in changes.items()})
        return self.replace(attrs=MappingProxyType(attrs))

    def get(self, key: str, default: Any = None) -> Any:
        """An attribute's value, or the default if the node lacks it; GraphError naming the node."""
        if key not in self.attrs:
            return default
        try:
            return tf_values.decode(self.attrs[key])
        except (GraphError, FormatError) as error:
            raise GraphError(f"attribute '{key}': {error.what}", where=f"node '{self.name}' ({self.op})",
                             got=error.got, expected=error.expected) from None

    def tensor(self, key: str = "value") -> Array:
        """A tensor attribute; GraphError if it is missing or damaged."""
        value = self.get(key)
        if not hasattr(value, "dtype"):
            raise GraphError(f"the tensor attribute '{key}' is missing", where=f"node '{self.name}' ({self.op})")
        array: Array = value
        return array


def new_node(name: str, op: str, inputs: Iterable[str] = (), **attrs: Any) -> TFNode:
    """A node with attributes given as Python values."""
    return TFNode(name, op, tuple(inputs)).with_attrs(**attrs)


def const_node(name: str, data: Array) -> TFNode:
    """A Const node."""
    data = np.asarray(data)
    return new_node(name, "Const", dtype=tf_values.dtype_of(data), value=data)


@dataclass(frozen=True, eq=False)
class TFGraph:
    """A GraphDef: its nodes in file order."""

    nodes: tuple[TFNode, ...]
    source: str = "graph"

    @cached_property
    def by_name(self) -> Mapping[str, TFNode]:
        """Every node under its name."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def users(self) -> Mapping[str, tuple[str, ...]]:
        """For every node the nodes that read it as data, one entry per operand."""
        users: dict[str, list[str]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in node.operands:
                users.setdefault(name, []).append(node.name)
        return {name: tuple(readers) for name, readers in users.items()}

    @cached_property
    def readers(self) -> Mapping[str, frozenset[str]]:
        """For every node that is read the nodes that do, control operands included."""
        found: dict[str, set[str]] = {}
        for node in self.nodes:
            for name in node.inputs:
                found.setdefault(base_name(name), set()).add(node.name)
        return {name: frozenset(names) for name, names in found.items()}

    def node(self, name: str) -> TFNode:
        """The node of that name; GraphError with close matches if there is none."""
        try:
            return self.by_name[name]
        except KeyError:
            raise missing_node(name, self.by_name, self.source) from None

    def operands(self, node: TFNode) -> tuple[TFNode, ...]:
        """The nodes that a node reads as data."""
        return tuple(self.node(name) for name in node.operands)

    def replace(self, nodes: Iterable[TFNode]) -> TFGraph:
        """The same file with other nodes."""
        return TFGraph(tuple(nodes), self.source)

    @property
    def placeholders(self) -> tuple[TFNode, ...]:
        """The Placeholder nodes, in order."""
        return tuple(node for node in self.nodes if node.op == "Placeholder")

    @property
    def sinks(self) -> tuple[TFNode, ...]:
        """Nodes that nobody reads, but for constants, placeholders and bookkeeping."""
        passive = {"Const", "Assign", "NoOp", "Placeholder"}
        return tuple(node for node in self.nodes if not self.users[node.name] and node.op not in passive)


def rewire(nodes: Iterable[TFNode], rename: Mapping[str, str]) -> tuple[TFNode, ...]:
    """Send every reader of ``rename``'s keys to its values (control operands too)."""

    def target(operand: str) -> str:
        name = base_name(operand)
        if name not in rename:
            return operand
        while name in rename:
            name = rename[name]
        return "^" + name if operand.startswith("^") else name

    return tuple(
        node.replace(inputs=tuple(target(name) for name in node.inputs))
        if any(base_name(name) in rename for name in node.inputs) else node
        for node in nodes
    )


def _check(graph: TFGraph) -> TFGraph:
    seen: set[str] = set()
    for node in graph.nodes:
        if not node.name or node.name in seen:
            raise GraphError("two nodes have the same name" if node.name else "a node without a name",
                             where=graph.source, got=node.name or node.op)
        seen.add(node.name)
    for node in graph.nodes:
        for name in node.inputs:
            if base_name(name) not in seen:
                raise GraphError(f"node '{node.name}' reads a node that is not there", where=graph.source,
                                 got=name)
    return graph


def parse_graphdef(data: bytes, source: object = "graph") -> TFGraph:
    """A GraphDef's bytes as a graph; FormatError or GraphError if it is none."""
    message = parse(GraphDef, data, source)
    if not message.node:
        raise FormatError("the file holds no nodes", where=source, expected="a frozen GraphDef (.pb)")
    if message.library.function:
        raise FormatError("the graph holds functions", where=source,
                          remedy="freeze it with all functions inlined")
    nodes = tuple(
        TFNode(node.name, node.op, tuple(node.input),
               MappingProxyType({key: serialize(node.attr[key]) for key in sorted(node.attr)}), node.device)
        for node in message.node
    )
    return _check(TFGraph(nodes, str(source)))


def read_graphdef(path: Path | str) -> TFGraph:
    """Read a frozen GraphDef file."""
    return parse_graphdef(read_bytes(path), path)


def serialize_graphdef(graph: TFGraph) -> bytes:
    """A graph as GraphDef bytes, without versions, library and functions."""
    message = GraphDef()
    for node in graph.nodes:
        entry = message.node.add(name=node.name, op=node.op, device=node.device)
        entry.input.extend(node.inputs)
        for key, value in node.attrs.items():
            entry.attr[key].CopyFrom(AttrValue.FromString(value))
    return serialize(message)


def write_graphdef(graph: TFGraph, path: Path | str) -> None:
    """Write a graph to a file, as a whole or not at all."""
    data = serialize_graphdef(graph)
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(data)
