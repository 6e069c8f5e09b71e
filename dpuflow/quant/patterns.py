"""Patterns: small trees of operators, output first, and how they are found in a graph.

The operands marked :data:`ANY` belong to a match's surroundings, not to the group. Operand order
matters; operands of a node whose pattern lists none are not looked at (quantizer specification,
section 3.4).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from dpuflow.formats.graphdef import TFGraph
from dpuflow.quant.order import topological


@dataclass(frozen=True)
class P:
    """One node of a pattern: its role, the operators it may be (none: any), its operands (None: any)."""

    role: str
    ops: frozenset[str]
    operands: tuple[P, ...] | None = None


def op(role: str, ops: str, *operands: P) -> P:
    """A pattern node; ``ops`` separated by blanks; without operands it does not look further down."""
    return P(role, frozenset(ops.split()), operands or None)


def anything(role: str) -> P:
    """A node of any operator."""
    return P(role, frozenset())


ANY, ANY2 = anything("input"), anything("input2")


@dataclass(frozen=True)
class Found:
    """One matched node with what its operands matched."""

    role: str
    name: str
    operands: tuple[Found, ...] = ()

    def walk(self) -> Iterator[Found]:
        """Every matched node, level by level, a node met twice only once."""
        seen: set[str] = set()
        level: tuple[Found, ...] = (self,)
        while level:
            below: list[Found] = []
            for found in level:
                if found.name not in seen:
                    seen.add(found.name)
                    below.extend(found.operands)
                    yield found
            level = tuple(below)

    @cached_property
    def roles(self) -> Mapping[str, str]:
        """The node in each role."""
        roles = {self.role: self.name}
        for operand in self.operands:
            roles.update(operand.roles)
        return roles


def bind(graph: TFGraph, pattern: P, name: str) -> Found | None:
    """The match of ``pattern`` with its output at node ``name``; a role met twice is one node."""
    return _bind(graph, pattern, name, {})


def _bind(graph: TFGraph, pattern: P, name: str, roles: dict[str, str]) -> Found | None:
    node = graph.node(name)
    if roles.setdefault(pattern.role, name) != name or (pattern.ops and node.op not in pattern.ops):
        return None
    if pattern.operands is None:
        return Found(pattern.role, name)
    if len(node.operands) != len(pattern.operands):
        return None
    below = []
    for part, operand in zip(pattern.operands, node.operands, strict=True):
        found = _bind(graph, part, operand, roles)
        if found is None:
            return None
        below.append(found)
    return Found(pattern.role, name, tuple(below))


def find(graph: TFGraph, pattern: P, overlapping: bool = True) -> Iterator[Found]:
    """Every match, in the order of section 3.7; not overlapping: a node is in one match only, inputs too."""
    taken: set[str] = set()
    for node in topological(graph).nodes:
        if node.op not in pattern.ops or node.name in taken:
            continue
        found = bind(graph, pattern, node.name)
        if found is None:
            continue
        names = {part.name for part in found.walk()}
        if overlapping:
            yield found
        elif not taken.intersection(names):
            taken.update(names)
            yield found
