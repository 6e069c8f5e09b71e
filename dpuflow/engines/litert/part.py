"""A run of layers as one LiteRT model: interpreters by batch size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dpuflow.engines.litert.layers import planner
from dpuflow.engines.litert.segment import Segment
from dpuflow.engines.notice import without_delegate_notice
from dpuflow.engines.parts import Library, LibraryPart
from dpuflow.ir.graph import Array, Graph

_KEPT_BATCH_SIZES = 4
_CACHED_BYTES = 6 << 20  # of the largest feature map: more images at once were slower, fewer no faster


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
        self.ready: dict[int, Any] = {}

    def _allocated(self, batch: int) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        made = Interpreter(model_content=self.content, num_threads=self.threads)
        for detail in made.get_input_details():
            shape = [batch, *detail["shape"][1:]]
            if list(detail["shape"]) != shape:
                made.resize_tensor_input(detail["index"], shape)
        made.allocate_tensors()
        return made

    def _interpreter(self, batch: int) -> Any:
        with without_delegate_notice():
            made = self._allocated(batch)
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


LITERT = Library("LiteRT", "ai_edge_litert", planner, LiteRTModel)
