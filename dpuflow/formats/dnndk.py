"""DNNDK model files on the host: parameters as arrays, and what a node's records say of its geometry.

Layout: board specification, section 5. Instruction words are never decoded; what only they know
(nonlinearity, kind of a merged pool) is not here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dpuedge import elf
from dpuflow.errors import FormatError, GraphError
from dpuflow.files import read_bytes
from dpuflow.ir.graph import Array, Fix

SUFFIXES = (".elf", ".so")


def read_elf(path: Path | str) -> elf.Elf:
    """The kernels of a ``.elf`` or ``.so``; ElfError (a FormatError's sibling) for what is none."""
    return elf.read(read_bytes(path), str(path))


def kernel_of(file: elf.Elf, name: str | None, where: object) -> elf.Kernel:
    """The kernel of that name, or the only one; FormatError listing them."""
    names = ", ".join(kernel.name for kernel in file.kernels)
    found = [kernel for kernel in file.kernels if name in (None, kernel.name)]
    if len(found) != 1:
        raise FormatError("the file holds several DPU kernels; what joins them ran on the CPU and is not in the file"
                          if name is None else "no such kernel", where=where, got=names if name is None else name,
                          expected=None if name is None else names, remedy="name one kernel with --kernel")
    return found[0]


@dataclass(frozen=True)
class ElfParameter:
    """A node's weights (out, height, width, in) or bias (out,), int8, and where they lie on the grid."""

    name: str
    values: Array
    fix: Fix


def _values(kernel: elf.Kernel, record: elf.Parameter) -> Array:
    data = memoryview(kernel.parameters)[record.offset:record.offset + record.size_bytes]
    return np.frombuffer(data, np.int8)


def _split(node: elf.Node, channels: int) -> tuple[elf.Parameter | None, elf.Parameter | None]:
    """A node's weights and bias: by their names, else the bias is the one of the size of the output."""
    bias = [record for record in node.parameters if record.name.endswith("bias")]
    weights = [record for record in node.parameters if record.name.endswith("weights")]
    if not bias and not weights and len(node.parameters) == 2:
        bias, weights = list(node.parameters[:1]), list(node.parameters[1:])
    if len(bias) > 1 or len(weights) > 1 or len(bias) + len(weights) != len(node.parameters):
        raise GraphError("parameters that are no weights and bias", where=f"node '{node.name}'",
                         got=", ".join(record.name for record in node.parameters))
    if bias and bias[0].size_bytes != channels:
        raise GraphError("the bias does not fit the output channels", where=f"node '{node.name}'", expected=channels,
                         got=bias[0].size_bytes)
    return (weights or [None])[0], (bias or [None])[0]  # type: ignore[list-item]


def kernel_size(record: elf.Parameter, inputs: int, outputs: int, where: str) -> tuple[int, int]:
    """(height, width) of a kernel: the records list dimensions in the front end's order, the size decides.

    TensorFlow's convolutions state (h, w, in, out), dense layers (out, h, w, in), caffe (out, in, h, w).
    """
    a, b, c, d = record.dims
    orders = (((a, b), (c, d)), ((b, c), (d, a)), ((c, d), (b, a)))
    fitting = [size for size, channels in orders
               if channels == (inputs, outputs) and math.prod(size) * inputs * outputs == record.size_bytes]
    if not fitting:
        raise GraphError("the weights' dimensions do not fit their size and channels", where=where,
                         expected=f"{inputs} to {outputs} channels", got=f"{record.dims}, {record.size_bytes} bytes",
                         remedy="grouped and depthwise weights have no documented order in this format")
    return fitting[0]


def _single(indices: tuple[int, ...], kernel: elf.Kernel, what: str, node: elf.Node) -> elf.Tensor:
    if len(indices) != 1:
        raise GraphError(f"a layer with parameters and {len(indices)} {what}", where=f"node '{node.name}'", expected=1)
    return kernel.tensors[indices[0]]


def node_parameters(kernel: elf.Kernel, node: elf.Node) -> tuple[ElfParameter | None, ElfParameter | None]:
    """Weights and bias; the bias at its effective position min(b, i + w).

    The compiler stores a finer bias rounded to the accumulator but leaves its record unchanged
    (arithmetic specification, section 4; board specification, section 5).
    """
    if not node.parameters:
        return None, None
    x, y = _single(node.inputs, kernel, "inputs", node), _single(node.outputs, kernel, "outputs", node)
    weights, bias = _split(node, y.channels)
    made_weights = made_bias = None
    if weights is not None:
        height, width = kernel_size(weights, x.channels, y.channels, f"node '{node.name}'")
        values = _values(kernel, weights).reshape(y.channels, height, width, x.channels)
        made_weights = ElfParameter(weights.name, values, Fix(weights.fix_point, weights.fix_width))
    if bias is not None:
        finest = x.fix_point + weights.fix_point if weights is not None else bias.fix_point
        made_bias = ElfParameter(bias.name, _values(kernel, bias),
                                 Fix(min(bias.fix_point, finest), bias.fix_width))
    return made_weights, made_bias


def elf_arrays(file: elf.Elf) -> dict[str, Array]:
    """Every parameter as an int8 array by ``kernel/name``: weights (out, h, w, in) where their order is known."""
    arrays = {}
    for kernel in file.kernels:
        for node in kernel.nodes:
            for record in node.parameters:
                arrays[f"{kernel.name}/{record.name}"] = _values(kernel, record)
            try:
                known = node_parameters(kernel, node)
            except GraphError:
                continue  # an order that is not documented: the bytes as they lie
            arrays |= {f"{kernel.name}/{part.name}": part.values for part in known if part is not None}
    return arrays
