"""Immutable graphs: nodes in topological order, one output tensor each.

Two kinds of graph share this form. A *float graph* computes in float32 and may hold ``fix`` nodes
that round a tensor onto its 8-bit grid. In a *quantized graph* a node with a :class:`Fix` yields
int8 values; a node without one is float and runs on the CPU.

Feature maps are NHWC; their shapes carry batch 1 and every engine takes any batch. Convolution
weights are HWIO as in TensorFlow (depthwise: height, width, channel, multiplier; dense: in, out).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dpuflow.errors import GraphError

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True, order=True)
class Fix:
    """The fixed-point type of a tensor: value = integer * 2**-pos (the vendor's fix_point)."""

    pos: int
    bits: int = 8


@dataclass(frozen=True)
class NoAttrs:
    """The attributes of an operator that has none."""


@dataclass(frozen=True, eq=False)
class Node:
    """One operator and the tensor it yields.

    ``op`` is a key of ``dpuflow.ops.OPS``; ``attrs`` an instance of that operator's attribute
    class; ``fix`` the position of an int8 output, None for float32; ``data`` a constant's value.
    ``label`` is the name under which the vendor's tools know the layer, where passes renamed it:
    that of the convolution, pool or dense operator itself.
    """

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    attrs: Any = field(default_factory=NoAttrs)
    shape: Shape = ()
    fix: Fix | None = None
    data: Array | None = None
    label: str = ""

    @property
    def layer(self) -> str:
        """The layer's name in the vendor's tools."""
        return self.label or self.name

    def replace(self, **changes: Any) -> Node:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


def const(name: str, data: Array, fix: Fix | None = None) -> Node:
    """A constant node; the array becomes read-only."""
    data = np.asarray(data)
    if data.flags.writeable:
        data = data.copy()
        data.setflags(write=False)
    return Node(name, "const", shape=data.shape, fix=fix, data=data)


@dataclass(frozen=True, eq=False)
class Graph:
    """A network: its nodes in topological order and the names of its outputs."""

    name: str
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """Every node under its name."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def users(self) -> Mapping[str, tuple[str, ...]]:
        """For every node the nodes that read it, one entry per reading operand."""
        users: dict[str, list[str]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in node.inputs:
                users[name].append(node.name)
        return {name: tuple(readers) for name, readers in users.items()}

    @cached_property
    def inputs(self) -> tuple[Node, ...]:
        """The graph's inputs, in order."""
        return tuple(node for node in self.nodes if node.op == "input")

    def node(self, name: str) -> Node:
        """The node of that name; GraphError naming close matches if there is none."""
        try:
            return self.by_name[name]
        except KeyError:
            raise missing_node(name, self.by_name, self.name) from None

    def operands(self, node: Node) -> tuple[Node, ...]:
        """The nodes that a node reads, in operand order."""
        return tuple(self.by_name[name] for name in node.inputs)

    def replace(self, nodes: Iterable[Node], outputs: tuple[str, ...] | None = None) -> Graph:
        """The same network with other nodes (in topological order)."""
        return Graph(self.name, tuple(nodes), self.outputs if outputs is None else outputs)


def missing_node(name: str, names: Iterable[str], where: object) -> GraphError:
    """The error for a node name that a graph does not hold, with the closest names there are."""
    import difflib

    close = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
    remedy = f"did you mean {' or '.join(close)}?" if close else "list the nodes with `dpuflow show`"
    return GraphError(f"Node '{name}' not found in graph", where=where, remedy=remedy)


def rebuild(graph: Graph, replaced: Mapping[str, Node | None], rename: Mapping[str, str]) -> Graph:
    """Replace (or with None drop) nodes and send readers of ``rename``'s keys to its values."""

    def target(name: str) -> str:
        while name in rename:
            name = rename[name]
        return name

    nodes = []
    for node in graph.nodes:
        kept = replaced.get(node.name, node)
        if kept is not None:
            nodes.append(kept.replace(inputs=tuple(target(name) for name in kept.inputs)))
    return graph.replace(nodes, tuple(target(name) for name in graph.outputs))
