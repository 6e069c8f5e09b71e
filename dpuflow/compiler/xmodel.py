"""A compiled network as an XIR graph (xmodel specification, sections 3, 4, 6 and 9).

The structure is that of the vendor's compiled files; there is no instruction code, no runner for
hardware, and the file names this tool.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from dpuflow.compiler.compiled import Compiled, Kernel
from dpuflow.compiler.console import VIRTUAL
from dpuflow.compiler.memory import MemoryMap, memory_map, ohwi
from dpuflow.compiler.placement import place
from dpuflow.compiler.xir_ops import (
    CPU_FORMS,
    DPU_FORMS,
    EXACT_IN_FLOAT,
    FLOAT_FORMS,
    ROUND_ACTIVATION,
    ROUND_CONSTANT,
    OpForm,
    fix_attrs,
    i32,
    i32v,
    tensor_of,
    text,
    u64,
)
from dpuflow.errors import CompileError
from dpuflow.formats.xir import XGraph, XOp, XSubgraph, XTensor, XValue
from dpuflow.ir.graph import Node
from dpuflow.ops.activation import LeakyAttrs
from dpuflow.target.performance import is_augmented, workload, workload_on_arch
from dpuflow.target.work import ConvWork, LayerWork

# VART demands a runner. This one is no library of the vendor's, so that VART ends with a clear message
# instead of starting a program without instructions (xmodel specification, section 9).
VIRTUAL_RUNNER = "libdpuflow-virtual-program-not-for-hardware.so"
PROGRAM = "dpuflow_program"  # never mc_code: that is where silicon would look for its own code
_RUNNERS = dict.fromkeys(("ref", "run", "sim"), VIRTUAL_RUNNER)


class _Writer:
    """Collects operators and subgraphs; ``source`` says where a host tensor can be read."""

    def __init__(self, compiled: Compiled, programs: Mapping[int, bytes]) -> None:
        self.compiled, self.graph, self.programs = compiled, compiled.graph, programs
        self.ops: list[XOp] = []
        self.children: list[XSubgraph] = []
        self.source: dict[str, str] = {}
        self.taken = set(self.graph.by_name)
        self.written: set[str] = set()
        self.floats: dict[str, str] = {}

    def add(self, op: XOp) -> str:
        self.ops.append(op)
        self.written.add(op.name)
        return op.name

    def free_name(self, name: str) -> str:
        """``name``, or with a number behind it where the network or an operator before it has that name."""
        made, number = name, 1
        while made in self.taken:
            made, number = f"{name}_{number}", number + 1
        self.taken.add(made)
        return made

    def inputs(self) -> None:
        for node in self.graph.inputs:
            kind = "data-fix" if node.fix else "data"
            tensor = tensor_of(node, node.name)
            attrs = {"shape": i32v(node.shape), "data_type": text("XINT8" if node.fix else "FLOAT32"),
                     "device": text("USER")}
            self.source[node.name] = self.add(XOp(node.name, kind, {}, attrs, tensor))
            self.children.append(XSubgraph(f"subgraph_{node.name}", (node.name,), {"device": text("USER"),
                                                                                  **_no_work()}))

    def constant(self, node: Node, memory: MemoryMap | None) -> str:
        """A constant; one that two kernels read stands in both, under two names."""
        assert node.data is not None
        device, payload = ("DPU", b"") if memory else ("CPU", ohwi(node.data).tobytes())
        kind, dtype = ("const-fix", f"XINT{node.fix.bits}") if node.fix else ("const", "FLOAT32")
        name = self.free_name(node.name) if node.name in self.written else node.name
        tensor = tensor_of(node, name, memory, ROUND_CONSTANT)
        attrs = {"shape": i32v(tensor.dims), "data_type": text(dtype), "data": XValue("bytes", payload),
                 "device": text(device)}
        return self.add(XOp(name, kind, {}, attrs, tensor))

    def operator(self, node: Node, form: OpForm, device: str, operands: list[str],
                 memory: MemoryMap | None = None, work: LayerWork | None = None) -> str:
        attrs = {**form.attrs(node, self.graph), "device": text(device)}
        if node.label:
            attrs["dpuflow_layer"] = text(node.label)
        if work is not None:
            attrs |= self.work_attrs(work)
            if isinstance(work, ConvWork) and is_augmented(work, self.compiled.core):
                attrs["channel_augmentation"] = i32(1)
        return self.add(XOp(node.name, form.type, form.args(operands), attrs, tensor_of(node, node.name, memory)))

    def cpu_operator(self, node: Node) -> str:
        """One operator, or the float form with its conversions around it."""
        if node.op == "custom":
            return self.custom(node)
        if node.fix is not None and node.op in CPU_FORMS:
            return self.operator(node, CPU_FORMS[node.op], "CPU", self.host_operands(node))
        if node.op not in FLOAT_FORMS or (node.fix is not None and node.op not in EXACT_IN_FLOAT):
            raise CompileError(f"an xmodel has no operator for {node.op}", where=f"node '{node.name}'",
                               remedy="quantize only up to the layer before it with --output_nodes")
        operands = [self.host(name, as_float=True) for name in node.inputs]
        if node.fix is not None:
            return self.rounded(node, operands)
        nonlinear = getattr(node.attrs, "nonlinear", "none")
        if nonlinear == "none":
            return self.operator(node, FLOAT_FORMS[node.op], "CPU", operands)
        linear = node.replace(name=self.free_name(f"{node.name}/linear"))
        inner = self.operator(linear, FLOAT_FORMS[node.op], "CPU", operands)
        attrs = LeakyAttrs() if nonlinear == "leaky_relu" else None
        return self.operator(node.replace(op=nonlinear, attrs=attrs), FLOAT_FORMS[nonlinear], "CPU", [inner])

    def custom(self, node: Node) -> str:
        """An operator that XIR does not define: its type, shape and operands; its code is not in the file."""
        operands = tuple(self.host(name, as_float=True) for name in node.inputs)
        attrs = {"shape": i32v(node.shape), "data_type": text("FLOAT32"), "device": text("CPU")}
        return self.add(XOp(node.name, node.attrs.type, {"input": operands}, attrs,
                            XTensor(node.name, node.shape, "FLOAT", 32)))

    def rounded(self, node: Node, operands: list[str]) -> str:
        """A fixed-point node by its float operator and one rounding."""
        inner = self.free_name(f"{node.name}/float")
        form = FLOAT_FORMS[node.op]
        self.add(XOp(inner, form.type, form.args(operands), {**form.attrs(node, self.graph), "device": text("CPU")},
                     XTensor(inner, node.shape, "FLOAT", 32)))
        return self.operator(node, CPU_FORMS["float2fix"], "CPU", [inner])

    def host_operands(self, node: Node) -> list[str]:
        """The operands in int8; weights of a transposed convolution stand in an order of their own."""
        weights = self.graph.by_name[node.inputs[1]] if node.op == "transposed_conv2d" else None
        if weights is None or weights.data is None:
            return [self.host(name) for name in node.inputs]
        made = self.constant(_turned(node, weights), None)
        return [made if name == weights.name else self.host(name) for name in node.inputs]

    def host(self, name: str, as_float: bool = False) -> str:
        """The operator where the host finds a tensor, in int8 or as float."""
        node = self.graph.by_name[name]
        if node.data is not None and name not in self.source:
            self.source[name] = self.constant(node, None)
        return self.to_float(name) if as_float and node.fix else self.source[name]

    def work_attrs(self, work: LayerWork) -> dict[str, XValue]:
        return {"workload": u64(workload(work)), "workload_on_arch": u64(workload_on_arch(work, self.compiled.core))}

    def dpu_kernel(self, kernel: Kernel) -> None:
        memory = memory_map(self.graph, kernel.nodes, kernel.inputs, kernel.outputs)
        leaves, inside, order = [], dict[str, str](), []
        for name in kernel.inputs:
            node = self.graph.by_name[name]
            upload = self.free_name(f"{name}_upload_{kernel.id}")
            self.add(XOp(upload, "upload", {"input": (self.source[name],)}, {"device": text("DPU")},
                         tensor_of(node, upload, memory)))
            inside[name] = upload
            leaves.append(XSubgraph(f"subgraph_{upload}", (upload,), {"skip_code_gen": XValue("bool", True),
                                                                      **_no_work()}))
        for node in self.compiled.nodes(kernel):
            leaf = self.dpu_leaf(node, memory, inside)
            order.append(leaf.name)
            leaves.append(leaf)
        for name in kernel.outputs:
            leaves.append(self.download(name, inside[name], kernel))
        self.children.append(XSubgraph(f"subgraph_{kernel.name}", (), self.dpu_attrs(kernel, memory, leaves, order),
                                       tuple(leaves)))

    def dpu_leaf(self, node: Node, memory: MemoryMap, inside: dict[str, str]) -> XSubgraph:
        constants = []
        for operand in self.graph.operands(node):
            if operand.data is not None and operand.name not in inside:
                inside[operand.name] = self.constant(_turned(node, operand), memory)
                constants.append(inside[operand.name])
        work = place(self.graph, node, self.compiled.core).work
        operands = [inside[name] for name in node.inputs]
        inside[node.name] = self.operator(node, DPU_FORMS[node.op], "DPU", operands, memory, work)
        assert work is not None
        attrs = self.work_attrs(work)
        if node.op in ("reshape", "concat"):
            attrs["skip_code_gen"] = XValue("bool", True)
        return XSubgraph(f"subgraph_{node.name}", (*constants, node.name), attrs)

    def download(self, name: str, operand: str, kernel: Kernel) -> XSubgraph:
        node = self.graph.by_name[name]
        download = self.free_name(f"{name}_download_{kernel.id}")
        self.add(XOp(download, "download", {"input": (operand,)}, {"device": text("DPU")}, tensor_of(node, download)))
        self.source[name] = download
        return XSubgraph(f"subgraph_{download}", (download,), _no_work())

    def dpu_attrs(self, kernel: Kernel, memory: MemoryMap, leaves: list[XSubgraph],
                  order: list[str]) -> dict[str, XValue]:
        kinds = {0: "CONST", 1: "WORKSPACE", 2: "INTERFACE", 3: "INTERFACE"}
        used = [register for register in kinds if memory.sizes_bytes.get(register)]
        core = self.compiled.core
        program = {PROGRAM: XValue("bytes", self.programs[kernel.id])} if kernel.id in self.programs else {}
        return program | {
            "device": text("DPU"), "dpu_name": text(core.name), "dpu_fingerprint": u64(core.fingerprint),
            "mc_code": XValue("bytes", b""), "mc_code_preload": XValue("bytes", b""), "debug_mode": text("null"),
            "if_prefetch": XValue("bool", False), "runner": XValue("map_string_2_string", _RUNNERS),
            "dpuflow_note": text(VIRTUAL), "children_topological_sort": XValue("string_vec", tuple(order)),
            "reg_id_to_context_type": _by_register(used, lambda r: "DATA" if r else "CONST"),
            "reg_id_to_context_type_v2": _by_register(used, lambda r: kinds[r]),
            "reg_id_to_hw_segment": _by_register(used, lambda r: "D0" if r else "W0"),
            "reg_id_to_size": XValue("map_string_2_int32", {f"REG_{r}": memory.sizes_bytes[r] for r in used}),
            "reg_id_to_parameter_value": XValue("map_string_2_bytes", {"REG_0": memory.parameters}),
            "workload": u64(sum(leaf.get("workload", 0) for leaf in leaves)),
            "workload_on_arch": u64(sum(leaf.get("workload_on_arch", 0) for leaf in leaves)),
        }

    def to_float(self, name: str) -> str:
        """A fix2float for an int8 tensor that a float operator or the user reads."""
        if name not in self.floats:
            node, made = self.graph.by_name[name], self.free_name(f"{name}_fix2float")
            attrs = {**fix_attrs(node, ROUND_ACTIVATION), "device": text("CPU")}
            dims = tensor_of(node, made).dims
            self.floats[name] = self.add(XOp(made, "fix2float", {"input": (self.source[name],)}, attrs,
                                             XTensor(made, dims, "FLOAT", 32)))
        return self.floats[name]

    def cpu_kernel(self, kernel: Kernel) -> None:
        first = len(self.ops)
        for node in self.compiled.nodes(kernel):
            self.source[node.name] = self.cpu_operator(node)
        names = tuple(op.name for op in self.ops[first:])
        self.children.append(XSubgraph(f"subgraph_{kernel.name}", names, _cpu_attrs()))

    def outputs(self) -> tuple[str, ...]:
        first = len(self.ops)
        made = tuple(self.to_float(name) if self.graph.by_name[name].fix else self.source[name]
                     for name in self.graph.outputs)
        names = tuple(op.name for op in self.ops[first:])
        if names:
            self.children.append(XSubgraph(f"subgraph_{names[0]}", names, _cpu_attrs()))
        return made


def _no_work() -> dict[str, XValue]:
    return {"workload": u64(0), "workload_on_arch": u64(0)}


def _cpu_attrs() -> dict[str, XValue]:
    runner = dict.fromkeys(("ref", "run", "sim"), "libvart-cpu-runner.so")
    return {"device": text("CPU"), "runner": XValue("map_string_2_string", runner), **_no_work()}


def _turned(node: Node, operand: Node) -> Node:
    """Weights of a transposed convolution as those of the convolution that it is computed by, all else as it is."""
    if node.op != "transposed_conv2d" or operand.data is None or operand.data.ndim != 4:
        return operand
    turned = np.ascontiguousarray(operand.data[::-1, ::-1].transpose(0, 1, 3, 2))
    return operand.replace(data=turned, shape=turned.shape)


def _by_register(used: list[int], value: Callable[[int], str]) -> XValue:
    return XValue("map_string_2_string", {f"REG_{register}": value(register) for register in used})


def to_xir(compiled: Compiled, programs: Mapping[int, bytes] = MappingProxyType({})) -> XGraph:
    """The XIR graph of a compiled network; CompileError for an operator that XIR lacks.

    ``programs``: the virtual programs' bytes by kernel id, kept in the attribute ``dpuflow_program``.
    """
    from dpuflow import __version__

    writer = _Writer(compiled, programs)
    writer.inputs()
    for kernel in compiled.kernels:
        (writer.dpu_kernel if kernel.is_dpu else writer.cpu_kernel)(kernel)
    outputs = writer.outputs()
    attrs = {"origin": text("tensorflow"), "return_ops": XValue("string_vec", outputs),
             "dpuflow_tool": text(f"dpuflow {__version__}"), "dpuflow_note": text(VIRTUAL)}
    total = {key: u64(sum(child.get(key, 0) for child in writer.children)) for key in ("workload", "workload_on_arch")}
    return XGraph(compiled.name, tuple(writer.ops), XSubgraph("root", (), total, tuple(writer.children)), attrs)


def check_sizes(graph: XGraph) -> int:
    """Bytes of parameters that the file carries."""
    blobs: list[bytes] = [blob for child in graph.dpu_subgraphs
                          for blob in child.get("reg_id_to_parameter_value", {}).values()]
    return int(np.sum([len(blob) for blob in blobs], dtype=np.int64))
