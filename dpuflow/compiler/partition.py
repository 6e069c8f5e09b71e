"""Which layer runs where: one rule set for the inspector and the compiler."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dpuflow.compiler.compiled import Kernel
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


def _levels(graph: Graph, device: dict[str, str]) -> dict[str, int]:
    """How often the device changed on the way to each node: equal levels can share a kernel."""
    levels: dict[str, int] = {}
    for node in graph.nodes:
        if node.name not in device:
            levels[node.name] = 0
            continue
        own = max((levels[operand] for operand in node.inputs), default=0)
        # Even levels are DPU, odd ones CPU, so that a kernel never mixes devices.
        levels[node.name] = own + ((own % 2 == 0) != (device[node.name] == "DPU"))
    return levels


def _kernel(graph: Graph, index: int, name: str, device: str, nodes: list[str]) -> Kernel:
    inside = set(nodes)
    reads = dict.fromkeys(name for node in nodes for name in graph.by_name[node].inputs
                          if name not in inside and graph.by_name[name].data is None)
    gives = [node for node in nodes if node in graph.outputs or set(graph.users[node]) - inside]
    return Kernel(index, name, device, tuple(nodes), tuple(reads), tuple(gives))


def kernels(graph: Graph, placements: Iterable[Placement], name: str) -> tuple[Kernel, ...]:
    """Group nodes into kernels. One DPU kernel is called ``name``, several ``name_<id>``, as dnnc does."""
    device = {placement.node.name: placement.device for placement in placements}
    levels = _levels(graph, device)
    grouped: dict[int, list[str]] = {}
    for node in graph.nodes:
        if node.name in device:
            grouped.setdefault(levels[node.name], []).append(node.name)
    on_dpu = [level for level in grouped if level % 2 == 0]
    made = []
    for index, level in enumerate(sorted(grouped)):
        kernel_name = name if len(on_dpu) == 1 and level in on_dpu else f"{name}_{index}"
        made.append(_kernel(graph, index, kernel_name, "DPU" if level % 2 == 0 else "CPU", grouped[level]))
    return tuple(made)
