"""How long each tensor of a DPU kernel occupies its memory: from the layer that makes it to the last reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dpuflow.compiler.compiled import Compiled, Kernel
from dpuflow.compiler.memory import INPUTS, OUTPUTS, PARAMETERS, WORKSPACE, memory_map

REGISTER_NAMES: Mapping[int, str] = {PARAMETERS: "parameters", WORKSPACE: "workspace", INPUTS: "inputs",
                                     OUTPUTS: "outputs"}


@dataclass(frozen=True)
class Lifetime:
    """A tensor in memory: bytes from ``offset`` of ``register``, during the layers ``first`` to ``last``,
    counted over the kernel."""

    tensor: str
    register: int
    offset: int
    size_bytes: int
    first: int
    last: int


def lifetimes(compiled: Compiled, kernel: Kernel) -> tuple[Lifetime, ...]:
    """Every feature map of a kernel; what goes to the host or comes from it stays for the whole kernel's side."""
    memory = memory_map(compiled.graph, kernel.nodes, kernel.inputs, kernel.outputs)
    order = {name: index for index, name in enumerate(kernel.nodes)}
    end = len(kernel.nodes) - 1
    made = []
    for name in (*kernel.inputs, *kernel.nodes):
        place = memory.places[name]
        readers = [order[user] for user in compiled.graph.users[name] if user in order]
        first = order.get(name, 0)
        last = end if place.register == OUTPUTS else max(readers, default=first)
        size = int(np.prod(compiled.graph.by_name[name].shape, dtype=np.int64))
        made.append(Lifetime(name, place.register, place.offset, size, first, max(first, last)))
    return tuple(made)
