"""Where tensors lie: parameter register, workspace, inputs and outputs of a DPU kernel.

The layout is the simple one of the vendor's 2.x files: parameters packed without alignment,
weights before bias; activations dense NHWC. Reuse of the workspace belongs to the scheduler.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from dpuflow.ir.graph import Array, Graph, Node, Shape

PARAMETERS, WORKSPACE, INPUTS, OUTPUTS = 0, 1, 2, 3
_ALIGNMENT_BYTES = 16  # data registers are rounded up to this (xmodel specification, section 6)


@dataclass(frozen=True)
class Place:
    """A tensor's register and byte offset in it."""

    register: int
    offset: int


@dataclass(frozen=True)
class MemoryMap:
    """Every tensor's place, every register's size in bytes, and the parameter bytes."""

    places: Mapping[str, Place]
    sizes_bytes: Mapping[int, int]
    parameters: bytes


def dense_strides(shape: Shape) -> tuple[int, ...]:
    """Element strides of a dense tensor."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def ohwi(data: Array) -> Array:
    """Weights in XIR's order: OHWI from HWIO; depthwise likewise with the multiplier first."""
    return np.ascontiguousarray(data.transpose(3, 0, 1, 2)) if data.ndim == 4 else data


def stored(node: Node, data: Array) -> Array:
    """A constant operand of a node in the file's order; a transposed convolution's weights are turned round
    (xmodel specification, section 3)."""
    if node.op == "transposed_conv2d" and data.ndim == 4:
        return np.ascontiguousarray(data[::-1, ::-1].transpose(2, 0, 1, 3))
    return ohwi(data)


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES


class _Allocator:
    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        self.sizes = {PARAMETERS: 0, WORKSPACE: 0, INPUTS: 0, OUTPUTS: 0}

    def put(self, name: str, register: int, size: int) -> None:
        self.places[name] = Place(register, self.sizes[register])
        self.sizes[register] += _aligned(size) if register else size


def memory_map(graph: Graph, kernel: Iterable[str], inputs: Iterable[str], outputs: Iterable[str]) -> MemoryMap:
    """The memory of one DPU kernel: its nodes, the tensors it reads from and gives to the host."""
    nodes = [graph.by_name[name] for name in kernel]
    results = set(outputs)
    allocator, blobs = _Allocator(), []
    for node in nodes:
        for operand in graph.operands(node):
            if operand.data is not None and operand.name not in allocator.places:
                data = stored(node, operand.data).tobytes()
                allocator.put(operand.name, PARAMETERS, len(data))
                blobs.append(data)
    for name in inputs:
        allocator.put(name, INPUTS, int(np.prod(graph.by_name[name].shape)))
    for node in nodes:
        if node.op == "reshape" and node.inputs[0] in allocator.places and node.name not in results:
            allocator.places[node.name] = allocator.places[node.inputs[0]]
        else:
            allocator.put(node.name, OUTPUTS if node.name in results else WORKSPACE, int(np.prod(node.shape)))
    return MemoryMap(allocator.places, allocator.sizes, b"".join(blobs))
