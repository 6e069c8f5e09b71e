"""The fast engine: LiteRT's int8 kernels where they are exact, NumPy for the rest.

Consecutive layers that ``litert_layers`` accepts become one LiteRT model; every other layer runs
on the reference kernels, and ``description`` names it with the reason.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpuflow.engines.base import Engine
from dpuflow.engines.litert_layers import Emit, Segment, plan_layer
from dpuflow.engines.narrow_layers import Compute, narrow_layer
from dpuflow.engines.reference import compute_node
from dpuflow.ir.graph import Array, Graph, Node

_KEPT_BATCH_SIZES = 4
_CACHED_BYTES = 6 << 20  # of the largest feature map: more images at once were slower, fewer no faster


@dataclass(frozen=True)
class LiteRTPart:
    """A run of layers in one LiteRT model."""

    nodes: tuple[Node, ...]
    emits: tuple[Emit, ...]


@dataclass(frozen=True)
class NumPyPart:
    """One layer in NumPy, and why; ``compute`` with narrow integers, without it on the reference kernels."""

    node: Node
    reason: str
    compute: Compute | None = None


def plan(graph: Graph) -> tuple[LiteRTPart | NumPyPart, ...]:
    """Split a network into LiteRT runs and single NumPy layers, in order."""
    parts: list[LiteRTPart | NumPyPart] = []
    run: list[tuple[Node, Emit]] = []

    def flush() -> None:
        if run:
            parts.append(LiteRTPart(tuple(node for node, _ in run), tuple(emit for _, emit in run)))
            run.clear()

    for node in graph.nodes:
        if node.op in ("input", "const"):
            continue
        made = plan_layer(graph, node)
        if isinstance(made, str):
            flush()
            parts.append(NumPyPart(node, made, narrow_layer(graph, node)))
        else:
            run.append((node, made))
    flush()
    return tuple(parts)


def needed_parts(graph: Graph, parts: Iterable[LiteRTPart | NumPyPart],
                 wanted: Iterable[str]) -> list[LiteRTPart | NumPyPart]:
    """The parts that the wanted tensors depend on, in order; runs are cut after their last use."""
    needed = set(wanted)
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    kept: list[LiteRTPart | NumPyPart] = []
    for part in parts:
        if isinstance(part, NumPyPart):
            if part.node.name in needed:
                kept.append(part)
            continue
        pairs = [(node, emit) for node, emit in zip(part.nodes, part.emits, strict=True) if node.name in needed]
        if pairs:
            kept.append(LiteRTPart(tuple(node for node, _ in pairs), tuple(emit for _, emit in pairs)))
    return kept


class _Model:
    """One LiteRT part made ready: interpreters by batch size."""

    def __init__(self, graph: Graph, part: LiteRTPart, wanted: Iterable[str], threads: int) -> None:
        inside = {node.name for node in part.nodes}
        self.inputs = list(dict.fromkeys(
            name for node in part.nodes for name in node.inputs
            if name not in inside and graph.by_name[name].data is None))
        self.outputs = [node.name for node in part.nodes
                        if node.name in set(wanted) or set(graph.users[node.name]) - inside]
        self.outputs = self.outputs or [part.nodes[-1].name]
        segment = Segment()
        for name in self.inputs:
            segment.feature(graph.by_name[name])
        for emit in part.emits:
            emit(segment)
        self.content = segment.writer.finish([segment.tensors[name] for name in self.inputs],
                                             [segment.tensors[name] for name in self.outputs])
        largest = max(math.prod(node.shape[1:]) for node in part.nodes)
        self.threads, self.images_at_once = threads, max(_CACHED_BYTES // largest, 1)
        self.ready: dict[int, Any] = {}

    def _interpreter(self, batch: int) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        made = Interpreter(model_content=self.content, num_threads=self.threads)
        for detail in made.get_input_details():
            shape = [batch, *detail["shape"][1:]]
            if list(detail["shape"]) != shape:
                made.resize_tensor_input(detail["index"], shape)
        made.allocate_tensors()
        if len(self.ready) >= _KEPT_BATCH_SIZES:
            self.ready.pop(next(iter(self.ready)))
        entry = (made, tuple(zip((d["index"] for d in made.get_input_details()), self.inputs, strict=True)),
                 tuple(zip((d["index"] for d in made.get_output_details()), self.outputs, strict=True)))
        self.ready[batch] = entry
        return entry

    def run(self, values: dict[str, Array]) -> None:
        """Fill in the outputs' values, for so many images at once as the cache holds."""
        batch = values[self.inputs[0]].shape[0]
        if batch <= self.images_at_once:
            self._fill(values, batch)
            return
        made = []
        for first in range(0, batch, self.images_at_once):
            made.append({name: values[name][first:first + self.images_at_once] for name in self.inputs})
            self._fill(made[-1], min(self.images_at_once, batch - first))
        values.update({name: np.concatenate([part[name] for part in made]) for name in self.outputs})

    def _fill(self, values: dict[str, Array], batch: int) -> None:
        interpreter, inputs, outputs = self.ready.get(batch) or self._interpreter(batch)
        for index, name in inputs:
            interpreter.set_tensor(index, values[name])
        interpreter.invoke()
        for index, name in outputs:
            values[name] = interpreter.get_tensor(index)


class FastEngine(Engine):
    """LiteRT where exact, NumPy elsewhere; thread-safe, one run at a time.

    ``open_engine`` makes it after :mod:`dpuflow.engines.selftest` has proved the kernels on this CPU.
    """

    name = "fast"

    def __init__(self, graph: Graph, threads: int | None = None) -> None:
        super().__init__(graph)
        self.threads = threads or min(os.cpu_count() or 1, 8)
        self.parts = plan(graph)
        self.models: dict[tuple[str, ...], list[_Model | NumPyPart]] = {}
        self.constants = {name: data for part in self.parts if isinstance(part, NumPyPart)
                          for name in part.node.inputs if (data := graph.by_name[name].data) is not None}
        self.lock = threading.Lock()

    @property
    def description(self) -> str:
        """What computes which layer, with the reason for each layer on NumPy."""
        slow = [f"{part.node.name} ({part.reason})" for part in self.parts if isinstance(part, NumPyPart)]
        return "fast: LiteRT int8 kernels" + (f"; NumPy: {', '.join(slow)}" if slow else "")

    def _prepared(self, wanted: tuple[str, ...]) -> list[_Model | NumPyPart]:
        asked = {name: data for name in wanted if (data := self.graph.by_name[name].data) is not None}
        self.constants = {**self.constants, **asked}
        self.models[wanted] = [
            part if isinstance(part, NumPyPart) else _Model(self.graph, part, wanted, self.threads)
            for part in needed_parts(self.graph, self.parts, wanted)]
        return self.models[wanted]

    def compute(self, values: dict[str, Array], wanted: tuple[str, ...]) -> Mapping[str, Array]:
        """Run the parts in order."""
        with self.lock:
            parts = self.models.get(wanted) or self._prepared(wanted)
            if self.constants:
                values.update(self.constants)
            for part in parts:
                if isinstance(part, NumPyPart):
                    values[part.node.name] = (part.compute(values) if part.compute else
                                              compute_node(self.graph, part.node, values))
                else:
                    part.run(values)
        return values
