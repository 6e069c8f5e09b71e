"""What a rewrite is: other nodes for one node that breaks a limit, with the same integers as result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dpuflow.ir.graph import Graph, Node
from dpuflow.target.arch import Core

# The nodes that take a node's place, in order, shapes not yet filled in; the last has its name.
# An empty sequence: the rewrite does not apply.
Build = Callable[[Graph, Node, Core], Sequence[Node]]


@dataclass(frozen=True)
class Rewrite:
    """``build`` cures the ``limits``; ``sentence`` tells users what became of the layer."""

    build: Build
    limits: frozenset[str]
    sentence: str


def part_name(node: Node, part: object) -> dict[str, str]:
    """Name and label of a part of a layer."""
    return {"name": f"{node.name}/{part}", "label": f"{node.layer}/{part}"}
