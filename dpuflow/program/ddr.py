"""Where a kernel's tensors lie in DDR: parameters, inputs, outputs, and an arena that feature maps share.

A concatenation and a reshape are places, not copies, wherever that can be: the parts of a
concatenation are written straight into it, with its strides. Maps that are not needed at the same
time share bytes of the arena.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dpuflow.compiler.compiled import Kernel
from dpuflow.compiler.memory import INPUTS, OUTPUTS, PARAMETERS, WORKSPACE
from dpuflow.ir.graph import Graph, Node
from dpuflow.program.fusion import PLACED
from dpuflow.program.maps import Map, Pair, map_of, up

ALIGNMENT_BYTES = 16  # as the vendor's data registers (xmodel specification, section 6)


@dataclass(frozen=True)
class View:
    """A map in DDR: its storage (the tensor whose bytes these are), the offset within it, and its strides."""

    storage: str
    offset: int
    row_stride: int
    pixel_stride: int
    size: Map


@dataclass(frozen=True)
class Copy:
    """Bytes that must be moved all the same: ``source`` as a map, and where it goes."""

    node: str
    source: str
    target: View


@dataclass(frozen=True)
class Placing:
    """Every map's view of a storage, and the copies that remain, by the node that asks for them."""

    views: Mapping[str, View]
    copies: Mapping[str, tuple[Copy, ...]]


def _dense(name: str, size: Map) -> View:
    return View(name, 0, size[1] * size[2], size[2], size)


def _axis_shift(parent: View, axis: int, at: int) -> int:
    """Bytes from a map's begin to its ``at``-th row, column or channel."""
    return at * (parent.row_stride, parent.pixel_stride, 1)[axis]


class _Placer:
    """Decides from the last node to the first: a concatenation's own place is known before its parts'."""

    def __init__(self, graph: Graph, kernel: Kernel) -> None:
        self.graph, self.made, self.outputs = graph, set(kernel.nodes), set(kernel.outputs)
        self.views: dict[str, View] = {}
        self.aliases: dict[str, str] = {}  # a reshape that only renames its operand's bytes
        self.fixed: set[str] = set()  # maps that must stay dense and where they are
        self.copies: dict[str, list[Copy]] = {}
        for name in reversed(kernel.nodes):
            node = graph.by_name[name]
            if node.op in ("reshape", "identity"):
                self._rename(node)
            elif node.op == "concat":
                self._join(node)
        for name in (*kernel.inputs, *kernel.nodes):
            self.view(name)

    def view(self, name: str) -> View:
        """A map's place, dense in a storage of its own unless decided otherwise."""
        if name in self.aliases:
            source = self.view(self.aliases[name])
            return _dense(source.storage, map_of(self.graph.by_name[name].shape))
        return self.views.setdefault(name, _dense(name, map_of(self.graph.by_name[name].shape)))

    def _movable(self, name: str) -> bool:
        return (name in self.made and name not in self.outputs and name not in self.views
                and name not in self.fixed and name not in self.aliases)

    def _rename(self, node: Node) -> None:
        source = node.inputs[0]
        if node.name not in self.outputs and node.name not in self.views and source not in self.views:
            self.aliases[node.name] = source
            self.fixed.add(source)
        elif self._movable(source) and self.graph.by_name[source].op not in PLACED and self._is_dense(node.name):
            self.views[source] = _dense(self.view(node.name).storage, map_of(self.graph.by_name[source].shape))
        else:
            size, there = map_of(self.graph.by_name[source].shape), self.view(node.name)
            reshaped = View(there.storage, there.offset, size[1] * size[2], size[2], size)
            target = there if size == there.size else reshaped
            self.copies[node.name] = [Copy(node.name, source, target)]

    def _is_dense(self, name: str) -> bool:
        view = self.view(name)
        return view == _dense(view.storage, view.size)

    def _join(self, node: Node) -> None:
        parent = self.view(node.name)
        axis = node.attrs.axis % len(node.shape) + 3 - len(node.shape)  # of (height, width, channels)
        at = 0
        for operand in node.inputs:
            size = map_of(self.graph.by_name[operand].shape)
            target = View(parent.storage, parent.offset + _axis_shift(parent, axis, at), parent.row_stride,
                          parent.pixel_stride, size)
            if self._movable(operand) and self.graph.by_name[operand].op not in ("reshape", "identity"):
                self.views[operand] = target
            else:
                self.copies.setdefault(node.name, []).append(Copy(node.name, operand, target))
                self.fixed.add(operand)
            at += size[axis]


def place_maps(graph: Graph, kernel: Kernel) -> Placing:
    """Views and remaining copies of a kernel's maps."""
    placer = _Placer(graph, kernel)
    views = {name: placer.view(name) for name in (*kernel.inputs, *kernel.nodes)}
    return Placing(views, {name: tuple(copies) for name, copies in placer.copies.items()})


@dataclass(frozen=True)
class Storage:
    """Where the bytes of a storage begin, and how many there are."""

    register: int
    offset: int
    size_bytes: int


@dataclass(frozen=True)
class Ddr:
    """A kernel's DDR: storages, views, parameter bytes and where each constant begins in them."""

    placing: Placing
    storages: Mapping[str, Storage]
    parameters: bytes
    constants: Mapping[tuple[str, Pair], int]
    sizes_bytes: Mapping[int, int] = field(default_factory=dict)


def _parts(node: Node, weights: Node) -> Iterable[tuple[Pair, bytes]]:
    """The weights as the program loads them, OHWI; of a transposed convolution for each remainder of the
    stride its taps, turned round."""
    assert weights.data is not None
    data = weights.data
    if node.op == "transposed_conv2d":
        ohwi, (sh, sw) = data.transpose(2, 0, 1, 3), node.attrs.stride
        for i in range(sh):
            for j in range(sw):
                yield (i, j), np.ascontiguousarray(ohwi[:, i::sh, j::sw][:, ::-1, ::-1]).tobytes()
    elif node.op == "depthwise_conv2d":
        yield (0, 0), np.ascontiguousarray(data[..., 0]).tobytes()
    else:
        yield (0, 0), np.ascontiguousarray(data.transpose(3, 0, 1, 2)).tobytes()


def _constants(graph: Graph, kernel: Kernel) -> tuple[bytes, dict[tuple[str, Pair], int]]:
    blobs, offsets, size = list[bytes](), dict[tuple[str, Pair], int](), 0
    for name in kernel.nodes:
        node = graph.by_name[name]
        for operand in (graph.by_name[x] for x in node.inputs):
            if operand.data is None:
                continue
            parts = _parts(node, operand) if operand.data.ndim == 4 else [((0, 0), operand.data.tobytes())]
            for part, data in parts:
                if (operand.name, part) not in offsets:
                    offsets[operand.name, part] = size
                    blobs.append(data)
                    size += len(data)
    return b"".join(blobs), offsets


def _aligned(size: int) -> int:
    return up(size, ALIGNMENT_BYTES) * ALIGNMENT_BYTES


class _Arena:
    """First fit among the storages that live at the same time."""

    def __init__(self) -> None:
        self.live: list[tuple[int, int, int]] = []  # offset, end, last step that reads it
        self.size = 0

    def put(self, size: int, first: int, last: int) -> int:
        self.live = [block for block in self.live if block[2] >= first]
        at = 0
        for start, end, _ in sorted(self.live):
            if start - at >= size:
                break
            at = max(at, end)
        self.live.append((at, at + size, last))
        self.size = max(self.size, at + size)
        return at


def lay_out(graph: Graph, kernel: Kernel, placing: Placing, lives: Mapping[str, Pair],
            kept: Collection[str] = ()) -> Ddr:
    """Give every storage its place. ``lives``: the first and last step that touch each storage in the arena;
    a storage without a life lies nowhere. What is ``kept`` shares its bytes with nothing."""
    parameters, constants = _constants(graph, kernel)
    sizes = {name: int(np.prod(view.size)) for name, view in placing.views.items() if view.storage == name}
    storages, totals = dict[str, Storage](), {INPUTS: 0, OUTPUTS: 0}
    outside: Sequence[tuple[int, Iterable[str]]] = ((INPUTS, kernel.inputs), (OUTPUTS, kernel.outputs))
    for register, names in outside:
        for name in dict.fromkeys(names):
            if name in storages or name not in sizes:
                continue
            storages[name] = Storage(register, totals[register], sizes[name])
            totals[register] += _aligned(sizes[name])
    arena, end = _Arena(), max((last for _, last in lives.values()), default=0)
    for name, (first, last) in sorted(lives.items(), key=lambda item: item[1]):
        if name not in storages:
            first, last = (0, end) if name in kept else (first, last)
            storages[name] = Storage(WORKSPACE, arena.put(_aligned(sizes[name]), first, last), sizes[name])
    registers = {PARAMETERS: len(parameters), WORKSPACE: arena.size, **totals}
    return Ddr(placing, storages, parameters, constants, registers)
