"""A run of layers as OpenVINO networks: compiled for each size of batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from dpuflow.engines.openvino.layers import Planner
from dpuflow.engines.openvino.network import Network
from dpuflow.engines.parts import Library, LibraryPart
from dpuflow.engines.pieces import compute_in_pieces
from dpuflow.ir.graph import Array, Graph

_KEPT_NETWORKS = 6
_CACHED_BYTES = 3 << 20  # of the largest feature map: more images at once were slower, fewer no faster
_ROOM = 32  # below zero for maps behind a leaky ReLU, a tenth of whose lower side is kept: real ones need about 15


class Form(NamedTuple):
    """What a network is compiled for: images, room below zero for its maps, the inputs that keep within it."""

    batch: int
    room: int
    fits: tuple[bool, ...]


@dataclass(frozen=True)
class _Ready:
    """A compiled network; its own memory for inputs and outputs, seen as arrays; ``least``: of its watched maps."""

    request: Any
    room: int
    inputs: list[Array]
    outputs: list[Array]
    least: list[Array]

    def infer(self, given: Sequence[Array]) -> bool:
        """Fill the outputs; False if a map reached too far below zero for this network."""
        for own, array in zip(self.inputs, given, strict=True):
            own[:] = array
        self.request.infer(share_outputs=True)
        return all(least[()] > -self.room for least in self.least)


class OpenVINOModel:
    """One part made ready."""

    def __init__(self, graph: Graph, part: LibraryPart, wanted: Sequence[str], threads: int, signed: bool) -> None:
        self.graph, self.part, self.threads, self.signed = graph, part, threads, signed
        self.inputs, self.outputs = part.inputs(graph), part.outputs(graph, wanted)
        largest = max(math.prod(node.shape[1:]) for node in part.nodes)
        self.images_at_once = max(_CACHED_BYTES // largest, 1)
        leaky = any(getattr(node.attrs, "nonlinear", "") == "leaky_relu" for node in part.nodes)
        self.room = _ROOM if leaky and not signed else 0
        self.runs, self.misses = 0, 0
        self.ready: dict[Form, _Ready] = {}

    def _compiled(self, form: Form) -> _Ready:
        network = Network(form.batch, self.signed, form.room)
        for name, fit in zip(self.inputs, form.fits, strict=True):
            network.feed(self.graph.by_name[name], fit)
        for emit in self.part.emits:
            emit(network)
        nodes = [self.graph.by_name[name] for name in self.outputs]
        request = network.compile(nodes, self.threads).create_infer_request()
        if len(self.ready) >= _KEPT_NETWORKS:
            self.ready.pop(next(iter(self.ready)))
        outputs = [request.get_output_tensor(at).data for at in range(len(nodes) + bool(network.least))]
        made = _Ready(request, form.room, [request.get_input_tensor(at).data for at in range(len(self.inputs))],
                      outputs[:len(nodes)], outputs[len(nodes):])
        self.ready[form] = made
        return made

    def _infer(self, given: Sequence[Array]) -> list[Array]:
        """The outputs for these images: of the network with room, unless a map left it."""
        self.runs += 1
        room = self.room if self.misses <= 2 + self.runs // 8 else 0
        ready = self._network(given, room)
        if not ready.infer(given):
            self.misses += 1
            ready = self._network(given, 0)
            ready.infer(given)
        return ready.outputs

    def _network(self, given: Sequence[Array], room: int) -> _Ready:
        """Inputs without a negative number, or without one that reaches ``room``, are bytes from the start."""
        form = Form(given[0].shape[0], room, tuple(bool(array.min() > -max(room, 1)) for array in given))
        return self.ready.get(form) or self._compiled(form)

    def run(self, values: dict[str, Array]) -> None:
        """Fill in the outputs' values."""
        results = compute_in_pieces(self._infer, [values[name] for name in self.inputs], self.images_at_once)
        values.update(zip(self.outputs, results, strict=True))


OPENVINO = Library("OpenVINO", "openvino", Planner, partial(OpenVINOModel, signed=False), bytes_apart=True)
OPENVINO_SIGNED = Library("OpenVINO with signed bytes", "openvino", Planner,
                          partial(OpenVINOModel, signed=True), bytes_apart=True)
