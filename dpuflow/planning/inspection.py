"""What runs where on a core, why, at what predicted cost, and what would help.

The placement is the compiler's own (``driver.distribute``): what is shown here is what is compiled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dpuflow.compiler.compiled import Compiled
from dpuflow.compiler.driver import distribute
from dpuflow.compiler.placement import Placement, place
from dpuflow.ir.graph import Graph, Node
from dpuflow.planning.advice import hint, remedy
from dpuflow.planning.estimate import estimate_compiled
from dpuflow.target.arch import Core
from dpuflow.target.board import board_timing
from dpuflow.target.host import HostTiming, cpu_ms, crossing_ms, host_timing
from dpuflow.target.performance import Estimate

_WEIGHTED = ("conv2d", "depthwise_conv2d", "transposed_conv2d", "dense")


@dataclass(frozen=True)
class LayerPlace:
    """One layer: its device, for the CPU the reason with its number, and what would help.

    ``rewritten``: what the compiler made of it to fit the core, the same integers. ``hint``: how a
    layer on the DPU would use more of it. ``ms``: predicted, on its device.
    """

    name: str
    op: str
    device: str
    kernel: int
    shape: tuple[int, ...]
    ms: float
    macs: int
    reason: str = ""
    remedy: str = ""
    limits: tuple[str, ...] = ()
    rewritten: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Crossing:
    """A tensor that one device hands to the other inside the network."""

    tensor: str
    source: str
    target: str
    size_bytes: int
    ms: float


@dataclass(frozen=True)
class Inspection:
    """A network on a core. Times are predicted; those of the CPU rest on ``host``'s assumptions."""

    core: Core
    clock_mhz: float
    layers: tuple[LayerPlace, ...]
    crossings: tuple[Crossing, ...]
    kernels: tuple[tuple[int, str, str, int], ...]  # id, name, device, layers
    host: HostTiming
    estimate: Estimate

    @property
    def dpu_ms(self) -> float:
        """The DPU's share."""
        return self.estimate.total_ms

    @property
    def cpu_ms(self) -> float:
        """The CPU's layers."""
        return sum(layer.ms for layer in self.layers if layer.device == "CPU")

    @property
    def crossing_ms(self) -> float:
        """Tensors handed over, and kernels started."""
        started = sum(device == "DPU" for _, _, device, _ in self.kernels)
        return sum(crossing.ms for crossing in self.crossings) + started * self.host.launch_us / 1e3


def node_macs(graph: Graph, node: Node) -> int:
    """Products that a layer computes."""
    if node.op == "lstm":
        return node.shape[1] * sum(int(np.prod(one.shape)) for one in graph.operands(node)[1:3])
    if node.op not in _WEIGHTED:
        return 0
    kernel, x = graph.by_name[node.inputs[1]].shape, graph.by_name[node.inputs[0]].shape
    cells = int(np.prod(kernel, dtype=np.int64))
    if node.op == "dense":
        return cells
    pixels = x[1] * x[2] if node.op == "transposed_conv2d" else node.shape[1] * node.shape[2]
    return cells * pixels


def _bytes(node: Node) -> int:
    return int(np.prod(node.shape, dtype=np.int64)) * (1 if node.fix else 4)


def _values(graph: Graph, node: Node) -> int:
    read = [operand for operand in graph.operands(node) if operand.data is None]
    return sum(int(np.prod(one.shape, dtype=np.int64)) for one in (node, *read))


def _crossings(compiled: Compiled, host: HostTiming) -> tuple[Crossing, ...]:
    made_on = {name: kernel.device for kernel in compiled.kernels for name in kernel.nodes}
    found: dict[tuple[str, str], Crossing] = {}
    for kernel in compiled.kernels:
        for name in kernel.inputs:
            source = made_on.get(name, kernel.device)  # the network's input comes from the host in any case
            if source != kernel.device:
                node = compiled.graph.by_name[name]
                found[name, kernel.device] = Crossing(node.layer, source, kernel.device, _bytes(node),
                                                      crossing_ms(_bytes(node), host))
    return tuple(found.values())


def _reason(compiled: Compiled, placement: Placement, clock_mhz: float) -> tuple[str, str]:
    """Why a layer is on the CPU, and what would help."""
    broken = placement.violations
    advice = [remedy(one.limit, placement.work, compiled.core, clock_mhz)
              for one in broken if placement.work is not None]
    return compiled.reasons[placement.node.name], "; ".join(dict.fromkeys(advice))


def _layer(compiled: Compiled, node: Node, kernel: int, device: str, ms: dict[str, float],
           inspection: tuple[HostTiming, float]) -> LayerPlace:
    """``ms``: predicted by layer; taken by the first node of a layer."""
    host, clock_mhz = inspection
    graph, placement = compiled.graph, place(compiled.graph, node, compiled.core)
    macs = node_macs(graph, node)
    note = compiled.notes.get(node.name, "")
    if device == "DPU":
        return LayerPlace(node.layer, node.op, "DPU", kernel, node.shape, ms.pop(node.layer, 0.0), macs,
                          rewritten=note, hint=hint(placement.work, compiled.core))
    reason, help_ = _reason(compiled, placement, clock_mhz)
    return LayerPlace(node.layer, node.op, "CPU", kernel, node.shape, cpu_ms(macs, _values(graph, node), host), macs,
                      reason, help_, tuple(one.limit for one in placement.violations), note)


def _is_view(graph: Graph, node: Node) -> bool:
    """Whether a reshape only gives a layer's own result the shape that the network has for it."""
    return node.op == "reshape" and graph.by_name[node.inputs[0]].layer == node.layer


def inspect_compiled(compiled: Compiled, clock_mhz: float | None = None) -> Inspection:
    """The inspection of a network that is split into kernels already."""
    host, clock = host_timing(compiled.core), clock_mhz or board_timing(compiled.core).clock_mhz
    predicted = estimate_compiled(compiled, clock)
    ms = {layer.name: layer.ms for layer in predicted.layers}
    layers = tuple(_layer(compiled, node, kernel.id, kernel.device, ms, (host, clock))
                   for kernel in compiled.kernels for node in compiled.nodes(kernel)
                   if not _is_view(compiled.graph, node))
    kernels = tuple((kernel.id, kernel.name, kernel.device, len(kernel.nodes)) for kernel in compiled.kernels)
    return Inspection(compiled.core, clock, layers, _crossings(compiled, host), kernels, host, predicted)


def inspect_graph(graph: Graph, core: Core, clock_mhz: float | None = None) -> Inspection:
    """Inspect a quantized graph, or one taken as if quantized, on a core."""
    return inspect_compiled(distribute(graph, core, graph.name), clock_mhz)


