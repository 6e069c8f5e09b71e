"""What ``dnnc`` prints: warnings and the kernel table (board specification, section 1.1)."""

from __future__ import annotations

import re

import numpy as np

from dpuflow.compiler.compiled import Compiled, Kernel
from dpuflow.compiler.memory import memory_map
from dpuflow.compiler.placement import place_all
from dpuflow.ir.graph import Node
from dpuflow.target.performance import workload
from dpuflow.target.work import ConvWork, MoveWork

VIRTUAL = "virtual program: for emulation and the performance model; silicon runs only the vendor compiler's code"
_TYPES = {"softmax": "Softmax", "relu": "ReLU", "dense": "MatMul", "conv2d": "Conv2D", "add": "Eltwise",
          "depthwise_conv2d": "DepthwiseConv2D", "leaky_relu": "LeakyReLU", "reshape": "Reshape"}


def node_label(node: Node) -> str:
    """A node's name as DNNDK writes it: ``/`` becomes ``_``."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", node.layer)


def _size(node: Node) -> str:
    shape = node.shape[1:] if len(node.shape) == 4 else (1, 1, int(np.prod(node.shape[1:])))
    return "*".join(map(str, shape))


def warnings(compiled: Compiled) -> list[str]:
    """One line for every layer that goes to the CPU."""
    return [f"[DNNC][Warning] layer [{node_label(compiled.graph.by_name[name])}] (type: "
            f"{_TYPES.get(compiled.graph.by_name[name].op, compiled.graph.by_name[name].op)}) is not supported in DPU, "
            f"deploy it in CPU instead. ({reason})" for name, reason in compiled.reasons.items()]


def _row(label: str, value: object) -> str:
    return f"{label:>32} : {value}"


def _boundary(label: str, nodes: list[Node], numbered: bool) -> list[str]:
    rows = [_row(label, "")]
    return rows + [_row(node_label(node) + (f"({index})" if numbered else ""), _size(node))
                   for index, node in enumerate(nodes)]


def _consumers(compiled: Compiled, kernel: Kernel) -> list[Node]:
    """The first layers of a DPU kernel, under whose names the inputs are addressed."""
    graph = compiled.graph
    found = []
    for name in kernel.inputs:
        reader = next(user for user in graph.users[name] if user in kernel.nodes)
        found.append(graph.by_name[name].replace(name=reader, label=graph.by_name[reader].layer))
    return found


def _dpu_rows(compiled: Compiled, kernel: Kernel) -> list[str]:
    graph = compiled.graph
    memory = memory_map(graph, kernel.nodes, kernel.inputs, kernel.outputs)
    works = [p.work for p in place_all(graph, compiled.core) if p.node.name in kernel.nodes and p.work]
    macs = sum(workload(work) - work.output[0] * work.output[1] * work.output[2]
               for work in works if isinstance(work, ConvWork))
    io_bytes = sum(size for register, size in memory.sizes_bytes.items() if register)
    computed = [work for work in works if not isinstance(work, MoveWork)]
    return [
        _row("Code Size", f"0 B ({VIRTUAL})"), _row("Param Size", f"{len(memory.parameters) / 2**20:.2f}MB"),
        _row("Workload MACs", f"{macs / 1e6:.2f}MOPS"), _row("IO Memory Space", f"{io_bytes / 2**20:.2f}MB"),
        _row("Mean Value", "0, 0, 0, "), _row("Node Count", len(computed)), _row("Tensor Count", len(computed) + 1),
        *_boundary("Input Node(s)(H*W*C)", _consumers(compiled, kernel), True),
        *_boundary("Output Node(s)(H*W*C)", [graph.by_name[name] for name in kernel.outputs], True),
    ]


def _cpu_rows(compiled: Compiled, kernel: Kernel) -> list[str]:
    by_name = compiled.graph.by_name
    return [*_boundary("Input Node(s)(H*W*C)", _consumers(compiled, kernel), False),
            *_boundary("Output Node(s)(H*W*C)", [by_name[name] for name in kernel.outputs], False)]


def kernel_table(compiled: Compiled) -> str:
    """The whole console text."""
    lines = [*warnings(compiled), "", f'DNNC kernel list info for network "{compiled.name}"']
    lines.append(_row("Kernel ID", "Name"))
    lines += [_row(str(kernel.id), kernel.name) for kernel in compiled.kernels]
    for kernel in compiled.kernels:
        lines += ["", _row("Kernel Name", kernel.name), "-" * 80, _row("Kernel Type", f"{kernel.device}Kernel")]
        lines += _dpu_rows(compiled, kernel) if kernel.is_dpu else _cpu_rows(compiled, kernel)
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def kernel_graph(compiled: Compiled) -> str:
    """The kernels and the tensors between them as a graphviz drawing, which dnnc writes as well."""
    made_by = {name: kernel for kernel in compiled.kernels for name in kernel.outputs}
    lines = [f"digraph {_quoted(compiled.name)} {{", "  node [shape=box];"]
    lines += [f"  k{kernel.id} [label={_quoted(f'{kernel.name} ({kernel.device}Kernel, {len(kernel.nodes)} layers)')}];"
              for kernel in compiled.kernels]
    for kernel in compiled.kernels:
        for name in kernel.inputs:
            label = _quoted(f"{node_label(compiled.graph.by_name[name])} {_size(compiled.graph.by_name[name])}")
            source = f"k{made_by[name].id}" if name in made_by else _quoted(name)
            lines.append(f"  {source} -> k{kernel.id} [label={label}];")
    return "\n".join([*lines, "}"]) + "\n"
