"""A network split into parts: runs of layers for a library of kernels, single layers in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dpuflow.engines.narrow_layers import Compute, narrow_layer
from dpuflow.ir.graph import Array, Graph, Node


class Runner(Protocol):
    """A part made ready."""

    def run(self, values: dict[str, Array]) -> None:
        """Fill in what the part computes."""


Emit = Callable[[Any], None]  # adds one layer to a library's network under construction


@dataclass(frozen=True)
class Library:
    """Somebody else's kernels.

    ``package``: the Python package that holds them. ``planner``: for a network, how to add a layer, or why it would
    not be exact there. ``bytes_apart``: maps without negative numbers take other kernels.
    """

    name: str
    package: str
    planner: Callable[[Graph], Callable[[Node], Emit | str]]
    ready: Callable[[Graph, LibraryPart, Sequence[str], int], Runner]  # network, part, wanted tensors, threads
    bytes_apart: bool = False


@dataclass(frozen=True)
class LibraryPart:
    """A run of layers in one network of a library."""

    library: Library
    nodes: tuple[Node, ...]
    emits: tuple[Emit, ...]

    def inputs(self, graph: Graph) -> list[str]:
        """The feature maps that it takes, in order of use."""
        inside = {node.name for node in self.nodes}
        return list(dict.fromkeys(name for node in self.nodes for name in node.inputs
                                  if name not in inside and graph.by_name[name].data is None))

    def outputs(self, graph: Graph, wanted: Iterable[str]) -> list[str]:
        """The feature maps that are wanted or that other parts take."""
        inside, asked = {node.name for node in self.nodes}, set(wanted)
        found = [node.name for node in self.nodes if node.name in asked or set(graph.users[node.name]) - inside]
        return found or [self.nodes[-1].name]


@dataclass(frozen=True)
class NumPyPart:
    """One layer in NumPy, and why; ``compute`` with narrow integers, without it on the reference kernels."""

    node: Node
    reason: str
    compute: Compute | None = None


Part = LibraryPart | NumPyPart


def plan(graph: Graph, libraries: Sequence[Library]) -> tuple[Part, ...]:
    """Split a network into runs, each layer with the first library that is exact there, in order."""
    planners = [(library, library.planner(graph)) for library in libraries]
    parts: list[Part] = []
    for node in graph.nodes:
        if node.op in ("input", "const"):
            continue
        reason = "no library"
        for library, planner in planners:
            made = planner(node)
            if not isinstance(made, str):
                _append(parts, library, node, made)
                break
            reason = made
        else:
            parts.append(NumPyPart(node, reason, narrow_layer(graph, node)))
    return tuple(parts)


def _append(parts: list[Part], library: Library, node: Node, emit: Emit) -> None:
    """The last run grows, if it is this library's."""
    last = parts[-1] if parts else None
    if isinstance(last, LibraryPart) and last.library is library:
        parts[-1] = LibraryPart(library, (*last.nodes, node), (*last.emits, emit))
    else:
        parts.append(LibraryPart(library, (node,), (emit,)))


def needed_parts(graph: Graph, parts: Iterable[Part], wanted: Iterable[str]) -> list[Part]:
    """The parts that the wanted tensors depend on, in order; runs are cut after their last use."""
    needed = set(wanted)
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    kept: list[Part] = []
    for part in parts:
        if isinstance(part, NumPyPart):
            if part.node.name in needed:
                kept.append(part)
            continue
        pairs = [(node, emit) for node, emit in zip(part.nodes, part.emits, strict=True) if node.name in needed]
        if pairs:
            kept.append(LibraryPart(part.library, tuple(node for node, _ in pairs), tuple(emit for _, emit in pairs)))
    return kept
