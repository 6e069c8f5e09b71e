"""Descriptions of DNNDK model files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from dpuedge import elf
from dpuflow.artifact import file_digest
from dpuflow.describe.description import Description, Layer, Part
from dpuflow.errors import DpuError
from dpuflow.formats.dnndk import read_elf
from dpuflow.formats.dnndk_import import import_kernel
from dpuflow.model import DNNDK

_KINDS = {elf.REAL_NODE: "DPU", elf.VIRTUAL_NODE: "virtual", elf.CPU_NODE: "CPU"}


def _tensor_text(tensor: elf.Tensor) -> str:
    return f"{tensor.height}*{tensor.width}*{tensor.channels} @{tensor.fix_point}"


def _parameter_facts(kernel: elf.Kernel, node: elf.Node) -> dict[str, Any]:
    """Each record: size, position and its four words; a bias finer than the accumulator also its effective position."""
    facts: dict[str, Any] = {}
    for record in node.parameters:
        facts[record.name] = f"{record.size_bytes} bytes @{record.fix_point}, dims {record.dims}"
    weights = [record for record in node.parameters if record.name.endswith("weights")]
    bias = [record for record in node.parameters if record.name.endswith("bias")]
    if weights and bias and node.inputs:
        finest = kernel.tensors[node.inputs[0]].fix_point + weights[0].fix_point
        if bias[0].fix_point > finest:
            facts[bias[0].name] += f", stored rounded: effective position {finest}"
    return facts


def _layers(kernel: elf.Kernel) -> list[Layer]:
    writer = {index: node.name for node in kernel.nodes for index in node.outputs}
    layers = []
    for index in dict.fromkeys(index for node in kernel.nodes for index in node.inputs if index not in writer):
        writer[index] = f"{kernel.name}: input tensor {index}"
        layers.append(_layer(writer[index], "input", (), kernel.tensors[index], kernel, {}))
    for node in kernel.nodes:
        facts: dict[str, Any] = {"work": node.work, "code bytes": node.code_bytes, **_parameter_facts(kernel, node)}
        out = kernel.tensors[node.outputs[0]] if node.outputs else None
        made = _layer(node.name, _KINDS.get(node.kind, f"type {node.kind}"),
                      tuple(writer[index] for index in node.inputs), out, kernel, facts)
        layers.append(made)
    return layers


def _layer(name: str, kind: str, inputs: tuple[str, ...], tensor: elf.Tensor | None, kernel: elf.Kernel,
           notes: dict[str, Any]) -> Layer:
    shape = (1, tensor.height, tensor.width, tensor.channels) if tensor else ()
    sizes = [record.size_bytes for node in kernel.nodes if node.name == name for record in node.parameters]
    return Layer(name, kind, inputs, shape, tensor.fix_point if tensor else None, tensor.fix_width if tensor else None,
                 "" if kind == "input" else kind, kernel.name, sum(sizes), notes=notes)


def _part(kernel: elf.Kernel) -> Part:
    inputs, outputs = elf.boundary(kernel)
    return Part(kernel.name, "DPU", len(kernel.nodes), {
        "mode": kernel.mode, "compiler": kernel.compiler, "arch": kernel.arch, "ABI": f"0x{kernel.abi:x}",
        "code bytes": kernel.code_bytes, "parameter bytes": len(kernel.parameters), "I/O bytes": kernel.io_bytes,
        "tensors": len(kernel.tensors), "mean": kernel.means, "first nodes": inputs, "last nodes": outputs})


def core_of(kernel: elf.Kernel) -> dict[str, Any]:
    """The core that a kernel was made for: its B name and the words that the runtime compares."""
    words = kernel.core
    product = words["pixel_parallel"] * words["input_channel_parallel"] * words["output_channel_parallel"]
    return {"name": f"B{2 * product}", **words}


def _problem(file: elf.Elf) -> tuple[str, tuple[str, ...]]:
    if len(file.kernels) > 1:
        return "", ("several kernels: run one with --kernel",)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            import_kernel(file.kernels[0])
        except DpuError as error:
            return str(error), ()
        return "", tuple(str(item.message) for item in caught)


def describe_elf(path: Path) -> Description:
    """A ``.elf`` or ``.so``; instruction words are counted, never decoded."""
    file = read_elf(path)
    problem, notes = _problem(file)
    layers = tuple(layer for kernel in file.kernels for layer in _layers(kernel))
    outputs = tuple(name for kernel in file.kernels for name in elf.boundary(kernel)[1])
    sizes = sum(record.size_bytes for kernel in file.kernels for node in kernel.nodes for record in node.parameters)
    return Description(str(path), DNNDK, file_digest(path), path.stat().st_size, True, sizes, core_of(file.kernels[0]),
                       {"container": f"ELF{file.bits}, {file.machine}"}, tuple(map(_part, file.kernels)), layers,
                       outputs, problem, (), notes)
