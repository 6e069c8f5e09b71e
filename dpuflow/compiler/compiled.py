"""What the compiler yields: the network in the DPU's forms, split into kernels, for one core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dpuflow.ir.graph import Graph, Node
from dpuflow.target.arch import Core


@dataclass(frozen=True)
class Kernel:
    """A run of nodes on one device; ``id`` counts kernels of both devices, as dnnc does."""

    id: int
    name: str
    device: str  # "DPU" or "CPU"
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def is_dpu(self) -> bool:
        """Whether the kernel runs on the DPU."""
        return self.device == "DPU"


@dataclass(frozen=True, eq=False)
class Compiled:
    """A compiled network. ``reasons`` says for every node on the CPU why it is there, ``notes`` for every
    node that a rewrite made what was done."""

    name: str
    graph: Graph
    kernels: tuple[Kernel, ...]
    core: Core
    reasons: Mapping[str, str]
    notes: Mapping[str, str] = field(default_factory=dict)

    def nodes(self, kernel: Kernel) -> tuple[Node, ...]:
        """A kernel's nodes in order."""
        return tuple(self.graph.by_name[name] for name in kernel.nodes)

    @property
    def dpu_kernels(self) -> tuple[Kernel, ...]:
        """The kernels that run on the DPU."""
        return tuple(kernel for kernel in self.kernels if kernel.is_dpu)
