from collections.abc import Mapping
from typing import NamedTuple

MACHINES: dict[int, str]
BOUNDARY_IN: int
BOUNDARY_OUT: int
REAL_NODE: int
VIRTUAL_NODE: int
CPU_NODE: int

class Tensor(NamedTuple):
    kind: int
    height: int
    width: int
    channels: int
    offset: int
    size_bytes: int
    fix_width: int
    fix_point: int
    channel_stride: int

class Parameter(NamedTuple):
    name: str
    offset: int
    size_bytes: int
    fix_width: int
    fix_point: int
    dims: tuple[int, ...]

class Node(NamedTuple):
    kind: int
    name: str
    work: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    code_bytes: int
    parameters: tuple[Parameter, ...]
    predecessors: tuple[int, ...]
    successors: tuple[int, ...]

class Kernel(NamedTuple):
    name: str
    arch: str
    compiler: str
    mode: str
    io_bytes: int
    means: tuple[int, ...]
    abi: int
    memory_mode: int
    core: Mapping[str, int]
    tensors: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
    parameters: bytes
    code_bytes: int

class Elf(NamedTuple):
    bits: int
    machine: str
    kernels: tuple[Kernel, ...]

def read(data: bytes, where: object = ...) -> Elf: ...
def read_file(path: str) -> Elf: ...
def boundary(kernel: Kernel) -> tuple[tuple[str, ...], tuple[str, ...]]: ...
