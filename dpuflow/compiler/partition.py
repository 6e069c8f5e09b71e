"""Which device computes what, and the kernels that follow: as few crossings as the network allows.

A layer that an engine computes runs on the DPU, a layer that none can compute on the CPU. Layers
that only place bytes (reshape, concat) run on either: they go where the fewest tensors cross, found
as a cheapest cut. Kernels are then the fewest runs of one device in an order that can be executed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from dpuflow.compiler.compiled import Kernel
from dpuflow.compiler.mincut import source_side
from dpuflow.compiler.placement import Placement, place_all
from dpuflow.ir.graph import Graph
from dpuflow.target.arch import Core
from dpuflow.target.work import MoveWork

Vertex = tuple[str, str]  # a kind and a name: node names may be anything
_DPU, _CPU = ("device", "DPU"), ("device", "CPU")
_CROSSING = 1000  # against 1 for a layer that leaves the DPU: of equal cuts the one with more on the DPU
_NEVER = 10**9
MOVED = "it only moves bytes, and fewer tensors cross between the devices with it on the CPU"


def _is_free(placement: Placement) -> bool:
    return placement.device == "DPU" and isinstance(placement.work, MoveWork)


def _node(name: str) -> Vertex:
    return ("node", name)


def _tensor_costs(name: str, readers: Iterable[Vertex]) -> dict[tuple[Vertex, Vertex], int]:
    """What it costs when a tensor's readers stand on another device than its producer: once each way."""
    down, up = ("download", name), ("upload", name)
    costs: dict[tuple[Vertex, Vertex], int] = {(_node(name), down): _CROSSING, (up, _node(name)): _CROSSING}
    for reader in readers:
        costs[down, reader] = _NEVER
        costs[reader, up] = _NEVER
    return costs


def _ends(graph: Graph, placements: Sequence[Placement]) -> dict[tuple[Vertex, Vertex], int]:
    """Layers that cannot choose, inputs and outputs (which the host reads) tied to their side."""
    costs: dict[tuple[Vertex, Vertex], int] = {}
    for placement in placements:
        name = _node(placement.node.name)
        if _is_free(placement):
            costs[_DPU, name] = 1
        else:
            costs[(_DPU, name) if placement.device == "DPU" else (name, _CPU)] = _NEVER
    for node in graph.inputs:
        costs[_node(node.name), _CPU] = _NEVER
    return costs


def assign(graph: Graph, core: Core) -> tuple[Placement, ...]:
    """Every computed node's device."""
    placements = place_all(graph, core)
    if not any(map(_is_free, placements)):
        return placements
    costs = _ends(graph, placements)
    computed = {placement.node.name for placement in placements} | {node.name for node in graph.inputs}
    for name in computed:
        readers = [*map(_node, dict.fromkeys(graph.users[name])), *([_CPU] if name in graph.outputs else [])]
        costs |= _tensor_costs(name, readers)
    on_dpu = source_side(costs, _DPU, _CPU)
    return tuple(dataclasses.replace(p, device="CPU", reason=MOVED)
                 if _is_free(p) and _node(p.node.name) not in on_dpu else p for p in placements)


def _levels(graph: Graph, device: dict[str, str], first: str) -> dict[str, int]:
    """How often the device changed on the way to each node, counted from device ``first``: equal levels
    can share a kernel. Even levels are ``first``, odd ones the other device."""
    levels: dict[str, int] = {}
    for node in graph.nodes:
        if node.name not in device:
            levels[node.name] = 0
            continue
        own = max((levels[operand] for operand in node.inputs), default=0)
        levels[node.name] = own + ((own % 2 == 0) != (device[node.name] == first))
    return levels


def _fewest_levels(graph: Graph, device: dict[str, str]) -> dict[str, int]:
    """The levels that make the fewest kernels: the order may start with either device."""
    choices = [_levels(graph, device, first) for first in ("DPU", "CPU")]
    return min(choices, key=lambda levels: len({levels[name] for name in device}))


def _kernel(graph: Graph, index: int, name: str, device: str, nodes: list[str]) -> Kernel:
    inside = set(nodes)
    reads = dict.fromkeys(name for node in nodes for name in graph.by_name[node].inputs
                          if name not in inside and graph.by_name[name].data is None)
    gives = [node for node in nodes if node in graph.outputs or set(graph.users[node]) - inside]
    return Kernel(index, name, device, tuple(nodes), tuple(reads), tuple(gives))


def kernels(graph: Graph, placements: Iterable[Placement], name: str) -> tuple[Kernel, ...]:
    """Group nodes into kernels. One DPU kernel is called ``name``, several ``name_<id>``, as dnnc does."""
    device = {placement.node.name: placement.device for placement in placements}
    levels = _fewest_levels(graph, device)
    grouped: dict[int, list[str]] = {}
    for node in graph.nodes:
        if node.name in device:
            grouped.setdefault(levels[node.name], []).append(node.name)
    runs = [grouped[level] for level in sorted(grouped)]
    on_dpu = sum(device[run[0]] == "DPU" for run in runs)
    made = []
    for index, run in enumerate(runs):
        kernel_name = name if on_dpu == 1 and device[run[0]] == "DPU" else f"{name}_{index}"
        made.append(_kernel(graph, index, kernel_name, device[run[0]], run))
    return tuple(made)
