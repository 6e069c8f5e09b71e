"""A run of layers as OpenVINO networks: compiled for each size of batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dpuflow.engines.openvino.layers import Planner
from dpuflow.engines.openvino.network import Network
from dpuflow.engines.parts import Library, LibraryPart
from dpuflow.ir.graph import Array, Graph

_KEPT_BATCH_SIZES = 4
_CACHED_BYTES = 3 << 20  # of the largest feature map: more images at once were slower, fewer no faster


@dataclass(frozen=True)
class _Ready:
    """A compiled network; its own memory for inputs and outputs, seen as arrays."""

    request: Any
    inputs: list[Array]
    outputs: list[Array]

    def infer(self, given: Sequence[Array]) -> None:
        """Fill the outputs."""
        for own, array in zip(self.inputs, given, strict=True):
            own[:] = array
        self.request.infer(share_outputs=True)


class OpenVINOModel:
    """One part made ready."""

    def __init__(self, graph: Graph, part: LibraryPart, wanted: Sequence[str], threads: int, signed: bool) -> None:
        self.graph, self.part, self.threads, self.signed = graph, part, threads, signed
        self.inputs, self.outputs = part.inputs(graph), part.outputs(graph, wanted)
        largest = max(math.prod(node.shape[1:]) for node in part.nodes)
        self.images_at_once = max(_CACHED_BYTES // largest, 1)
        self.ready: dict[tuple[int, tuple[bool, ...]], _Ready] = {}

    def _compiled(self, batch: int, positive: tuple[bool, ...]) -> _Ready:
        network = Network(batch, self.signed)
        for name, sign in zip(self.inputs, positive, strict=True):
            network.feed(self.graph.by_name[name], sign)
        for emit in self.part.emits:
            emit(network)
        nodes = [self.graph.by_name[name] for name in self.outputs]
        request = network.compile(nodes, self.threads).create_infer_request()
        if len(self.ready) >= _KEPT_BATCH_SIZES:
            self.ready.pop(next(iter(self.ready)))
        made = _Ready(request, [request.get_input_tensor(at).data for at in range(len(self.inputs))],
                      [request.get_output_tensor(at).data for at in range(len(nodes))])
        self.ready[batch, positive] = made
        return made

    def run(self, values: dict[str, Array]) -> None:
        """Fill in the outputs' values, for so many images at once as the cache holds.

        The last images run with some before them once more: every run has the one size that is compiled.
        """
        given = [values[name] for name in self.inputs]
        batch = given[0].shape[0]
        runs = -(-batch // self.images_at_once)
        size = -(-batch // runs)
        # Without a negative number, the first layers can run on bytes too.
        positive = tuple(bool(array.min() >= 0) for array in given)
        ready = self.ready.get((size, positive)) or self._compiled(size, positive)
        if runs == 1:
            ready.infer(given)
            values.update({name: own.copy() for name, own in zip(self.outputs, ready.outputs, strict=True)})
            return
        results = [np.empty((batch, *own.shape[1:]), np.int8) for own in ready.outputs]
        for first in (min(run * size, batch - size) for run in range(runs)):
            ready.infer([array[first:first + size] for array in given])
            for result, own in zip(results, ready.outputs, strict=True):
                result[first:first + size] = own
        values.update(zip(self.outputs, results, strict=True))


OPENVINO = Library("OpenVINO", "openvino", Planner, partial(OpenVINOModel, signed=False), bytes_apart=True)
OPENVINO_SIGNED = Library("OpenVINO with signed bytes", "openvino", Planner,
                          partial(OpenVINOModel, signed=True), bytes_apart=True)
