"""A run of layers as one OpenVINO network: compiled for each size of batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino

from dpuflow.engines.openvino.layers import Planner, nonnegative_maps
from dpuflow.engines.openvino.network import Network
from dpuflow.engines.parts import Library, LibraryPart
from dpuflow.ir.graph import Array, Graph

_KEPT_BATCH_SIZES = 4
_CACHED_BYTES = 3 << 20  # of the largest feature map: more images at once were slower, fewer no faster


@dataclass(frozen=True)
class _Ready:
    """A compiled network and what it reads from and writes to."""

    request: Any
    outputs: list[Any]


class OpenVINOModel:
    """One part made ready."""

    def __init__(self, graph: Graph, part: LibraryPart, wanted: Sequence[str], threads: int) -> None:
        self.graph, self.part, self.threads = graph, part, threads
        self.inputs, self.outputs = part.inputs(graph), part.outputs(graph, wanted)
        self.nonnegative = nonnegative_maps(graph)
        largest = max(math.prod(node.shape[1:]) for node in part.nodes)
        self.images_at_once = max(_CACHED_BYTES // largest, 1)
        self.ready: dict[int, _Ready] = {}

    def _compiled(self, batch: int) -> _Ready:
        network = Network(batch)
        for name in self.inputs:
            network.feed(self.graph.by_name[name], name in self.nonnegative)
        for emit in self.part.emits:
            emit(network)
        nodes = [self.graph.by_name[name] for name in self.outputs]
        request = network.compile(nodes, self.threads).create_infer_request()
        if len(self.ready) >= _KEPT_BATCH_SIZES:
            self.ready.pop(next(iter(self.ready)))
        self.ready[batch] = _Ready(request, [request.get_output_tensor(at) for at in range(len(nodes))])
        return self.ready[batch]

    def run(self, values: dict[str, Array]) -> None:
        """Fill in the outputs' values, for so many images at once as the cache holds.

        The last images run with some before them once more: every run has the one size that is compiled.
        """
        batch = values[self.inputs[0]].shape[0]
        runs = -(-batch // self.images_at_once)
        size = -(-batch // runs)
        ready = self.ready.get(size) or self._compiled(size)
        given = [np.require(values[name], None, ("C", "W")) for name in self.inputs]  # what OpenVINO can share
        results = [np.empty((batch, *tensor.shape[1:]), np.int8) for tensor in ready.outputs]
        for first in (min(run * size, batch - size) for run in range(runs)):
            for at, array in enumerate(given):
                ready.request.set_input_tensor(at, openvino.Tensor(array[first:first + size], shared_memory=True))
            ready.request.infer()
            for result, tensor in zip(results, ready.outputs, strict=True):
                result[first:first + size] = tensor.data
        values.update(zip(self.outputs, results, strict=True))


OPENVINO = Library("OpenVINO", Planner, OpenVINOModel)
