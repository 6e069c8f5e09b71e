"""Replace what a pattern matches, leaving the nodes in the order that the vendor's tool leaves them in.

The order of a graph decides the order of both written files (quantizer specification, section 3.7),
so every rewriting follows one scheme: a match is replaced where its output node stands, by nodes in
the order in which they are made; its other nodes leave their places. What a match reads belongs to
it too, and matches do not overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dpuflow.formats.graphdef import TFGraph, TFNode, rewire
from dpuflow.quant.patterns import Found, P, find


@dataclass(frozen=True)
class Edit:
    """What replaces a match: nodes in order, which readers to send where, and which nodes are not sent."""

    nodes: tuple[TFNode, ...]
    rename: Mapping[str, str] = field(default_factory=dict)
    unmoved: tuple[str, ...] = ()


Replace = Callable[[TFGraph, Mapping[str, str]], Edit | None]


def as_it_was(graph: TFGraph, found: Found) -> tuple[TFNode, ...]:
    """A match's own nodes, output first, level by level."""
    return tuple(graph.by_name[part.name] for part in found.walk())


def replace_matches(graph: TFGraph, pattern: P, replace: Replace) -> tuple[TFGraph, bool]:
    """Replace each match of ``pattern``; the new graph, and whether anything was replaced.

    ``replace`` gets the graph and the nodes by role, and returns None to leave a match as it is. A
    match is also left when a node that others read would go without a successor.
    """
    matches = {found.name: found for found in find(graph, pattern, overlapping=False)}
    inside = {part.name for found in matches.values() for part in found.walk()}
    nodes: list[TFNode] = []
    rename: dict[str, str] = {}
    unmoved: set[str] = set()
    changed, read_by = False, graph.readers
    for node in graph.nodes:
        if node.name in matches:
            found = matches[node.name]
            edit = replace(graph, found.roles)
            if edit is None or _lost(read_by, found, edit):
                nodes.extend(as_it_was(graph, found))
            else:
                nodes.extend(edit.nodes)
                rename.update(edit.rename)
                unmoved.update(edit.unmoved)
                changed = True
        elif node.name not in inside:
            nodes.append(node)
    sent = (node if node.name in unmoved else rewire((node,), rename)[0] for node in nodes)
    return graph.replace(sent), changed


def _lost(read_by: Mapping[str, frozenset[str]], found: Found, edit: Edit) -> bool:
    """Whether a node that is read outside of the match has no successor in the edit."""
    inside = {part.name for part in found.walk()}
    kept = {node.name for node in edit.nodes} | set(edit.rename)
    return any(not read_by.get(name, frozenset()) <= inside for name in inside - kept)


def replace_until_stable(graph: TFGraph, pattern: P, replace: Replace) -> TFGraph:
    """Replace matches until there is none left to replace; every replacement must remove its match."""
    changed = True
    while changed:
        graph, changed = replace_matches(graph, pattern, replace)
    return graph
