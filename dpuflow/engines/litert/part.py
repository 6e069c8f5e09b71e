"""A run of layers as one LiteRT model: interpreters by batch size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ai_edge_litert.interpreter import Interpreter

from dpuflow.engines.litert.layers import planner
from dpuflow.engines.litert.segment import Segment
from dpuflow.engines.notice import without_delegate_notice
from dpuflow.engines.parts import Library, LibraryPart
from dpuflow.engines.pieces import compute_in_pieces
from dpuflow.ir.graph import Array, Graph

_KEPT_BATCH_SIZES = 4
_CACHED_BYTES = 6 << 20  # of the largest feature map: more images at once were slower, fewer no faster


@dataclass(frozen=True)
class _Ready:
    """An interpreter with room for some images; the numbers and names of its input and output tensors."""

    interpreter: Any
    inputs: tuple[tuple[int, str], ...]
    outputs: tuple[tuple[int, str], ...]

    def fill(self, values: dict[str, Array]) -> None:
        """Compute the outputs' values; a short way, because every step of Python shows in a small network's time."""
        for index, name in self.inputs:
            self.interpreter.set_tensor(index, values[name])
        self.interpreter.invoke()
        for index, name in self.outputs:
            values[name] = self.interpreter.get_tensor(index)

    def infer(self, given: Sequence[Array]) -> list[Array]:
        """The outputs, seen in the interpreter's memory."""
        for (index, _), array in zip(self.inputs, given, strict=True):
            self.interpreter.set_tensor(index, array)
        self.interpreter.invoke()
        return [self.interpreter.tensor(index)() for index, _ in self.outputs]


class LiteRTModel:
    """One part made ready."""

    def __init__(self, graph: Graph, part: LibraryPart, wanted: Sequence[str], threads: int) -> None:
        self.inputs, self.outputs = part.inputs(graph), part.outputs(graph, wanted)
        segment = Segment()
        for name in self.inputs:
            segment.feature(graph.by_name[name])
        for emit in part.emits:
            emit(segment)
        self.content = segment.writer.finish([segment.tensors[name] for name in self.inputs],
                                             [segment.tensors[name] for name in self.outputs])
        largest = max(math.prod(node.shape[1:]) for node in part.nodes)
        self.threads, self.images_at_once = threads, max(_CACHED_BYTES // largest, 1)
        self.ready: dict[int, _Ready] = {}

    def _allocated(self, batch: int) -> Any:
        made = Interpreter(model_content=self.content, num_threads=self.threads)
        for detail in made.get_input_details():
            shape = [batch, *detail["shape"][1:]]
            if list(detail["shape"]) != shape:
                made.resize_tensor_input(detail["index"], shape)
        made.allocate_tensors()
        return made

    def _made_ready(self, batch: int) -> _Ready:
        with without_delegate_notice():
            made = self._allocated(batch)
        if len(self.ready) >= _KEPT_BATCH_SIZES:
            self.ready.pop(next(iter(self.ready)))
        details = (made.get_input_details(), self.inputs), (made.get_output_details(), self.outputs)
        self.ready[batch] = _Ready(made, *(tuple(zip((one["index"] for one in some), names, strict=True))
                                           for some, names in details))
        return self.ready[batch]

    def _infer(self, given: Sequence[Array]) -> list[Array]:
        batch = given[0].shape[0]
        return (self.ready.get(batch) or self._made_ready(batch)).infer(given)

    def run(self, values: dict[str, Array]) -> None:
        """Fill in the outputs' values."""
        batch = values[self.inputs[0]].shape[0]
        if batch <= self.images_at_once:
            (self.ready.get(batch) or self._made_ready(batch)).fill(values)
            return
        results = compute_in_pieces(self._infer, [values[name] for name in self.inputs], self.images_at_once)
        values.update(zip(self.outputs, results, strict=True))


LITERT = Library("LiteRT", "ai_edge_litert", planner, LiteRTModel)
