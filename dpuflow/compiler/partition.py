"""Kernels: runs of layers on one device, as few as the network allows."""

from __future__ import annotations

from collections.abc import Iterable

from dpuflow.compiler.compiled import Kernel
from dpuflow.compiler.placement import Placement
from dpuflow.ir.graph import Graph


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
