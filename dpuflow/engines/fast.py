"""Kernels of libraries where they are exact, NumPy for the rest: networks in parts."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence

from dpuflow.engines.base import Engine
from dpuflow.engines.litert.part import LITERT
from dpuflow.engines.parts import Library, NumPyPart, Runner, needed_parts, plan
from dpuflow.engines.reference import compute_node
from dpuflow.ir.graph import Array, Graph


def usable_cores() -> int:
    """The cores that this process may run on; a container's share, where the system tells it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class FastEngine(Engine):
    """Each layer with the first library that is exact there, NumPy elsewhere; thread-safe, one run at a time.

    :mod:`dpuflow.engines.selftest` proves the kernels on this CPU; ``open_engine`` asks it first.
    """

    name = "fast"

    def __init__(self, graph: Graph, threads: int | None = None, libraries: Sequence[Library] = (LITERT,)) -> None:
        super().__init__(graph)
        self.threads = threads or min(usable_cores(), 8)
        self.parts = plan(graph, libraries)
        self.ready: dict[tuple[str, ...], list[Runner | NumPyPart]] = {}
        self.constants = {name: data for part in self.parts if isinstance(part, NumPyPart)
                          for name in part.node.inputs if (data := graph.by_name[name].data) is not None}
        self.lock = threading.Lock()

    @property
    def libraries(self) -> tuple[str, ...]:
        """The names of the libraries that compute layers."""
        return tuple(dict.fromkeys(part.library.name for part in self.parts if not isinstance(part, NumPyPart)))

    @property
    def description(self) -> str:
        """What computes which layer, with the reason for each layer on NumPy."""
        slow = [f"{part.node.name} ({part.reason})" for part in self.parts if isinstance(part, NumPyPart)]
        kernels = [f"{' and '.join(self.libraries)} int8 kernels"] if self.libraries else []
        return "fast: " + "; ".join(kernels + ([f"NumPy: {', '.join(slow)}"] if slow else []))

    def prepared(self, wanted: tuple[str, ...]) -> list[Runner | NumPyPart]:
        """The parts that the wanted tensors need, made ready."""
        asked = {name: data for name in wanted if (data := self.graph.by_name[name].data) is not None}
        self.constants = {**self.constants, **asked}
        self.ready[wanted] = [
            part if isinstance(part, NumPyPart) else part.library.ready(self.graph, part, wanted, self.threads)
            for part in needed_parts(self.graph, self.parts, wanted)]
        return self.ready[wanted]

    def compute(self, values: dict[str, Array], wanted: tuple[str, ...]) -> Mapping[str, Array]:
        """Run the parts in order."""
        with self.lock:
            return self.compute_alone(values, wanted)

    def compute_alone(self, values: dict[str, Array], wanted: tuple[str, ...]) -> Mapping[str, Array]:
        """:meth:`compute` for a caller that sees to it that there is one run at a time."""
        parts = self.ready.get(wanted) or self.prepared(wanted)
        if self.constants:
            values.update(self.constants)
        for part in parts:
            if isinstance(part, NumPyPart):
                values[part.node.name] = (part.compute(values) if part.compute else
                                          compute_node(self.graph, part.node, values))
            else:
                part.run(values)
        return values
