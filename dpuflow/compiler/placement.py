"""Which layer runs where: one rule set for the inspector and the compiler."""

from __future__ import annotations

from dataclasses import dataclass

from dpuflow.compiler.work import node_work
from dpuflow.ir.graph import Graph, Node
from dpuflow.target.arch import Core
from dpuflow.target.limits import Violation, violations
from dpuflow.target.work import LayerWork


@dataclass(frozen=True)
class Placement:
    """A node's device; for the CPU the reason, and what would bring it onto the DPU."""

    node: Node
    device: str
    work: LayerWork | None = None
    reason: str = ""
    remedy: str = ""
    violations: tuple[Violation, ...] = ()


def place(graph: Graph, node: Node, core: Core) -> Placement:
    """Decide one node."""
    work = node_work(graph, node)
    if isinstance(work, str):
        return Placement(node, "CPU", reason=work)
    broken = violations(work, core)
    if not broken:
        return Placement(node, "DPU", work)
    return Placement(node, "CPU", work, "; ".join(map(str, broken)), broken[0].remedy, broken)


def place_all(graph: Graph, core: Core) -> tuple[Placement, ...]:
    """Every computed node's placement, in order."""
    return tuple(place(graph, node, core) for node in graph.nodes if node.op not in ("input", "const"))
