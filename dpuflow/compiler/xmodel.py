"""A compiled network as an XIR graph (xmodel specification, sections 3, 4, 6 and 9).

The structure is that of the vendor's compiled files; there is no instruction code, no runner for
hardware, and the file names this tool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from dpuflow.compiler.compiled import Compiled, Kernel
from dpuflow.compiler.console import VIRTUAL
from dpuflow.compiler.memory import MemoryMap, dense_strides, memory_map, ohwi
from dpuflow.compiler.partition import place
from dpuflow.errors import CompileError
from dpuflow.formats.xir import XGraph, XOp, XSubgraph, XTensor, XValue
from dpuflow.ir.graph import Graph, Node
from dpuflow.target.performance import is_augmented, workload, workload_on_arch
from dpuflow.target.work import ConvWork, LayerWork

ROUND_ACTIVATION, ROUND_CONSTANT = "DPU_ROUND", "STD_ROUND"


def i32(value: int) -> XValue:
    """An int32 attribute."""
    return XValue("int32", int(value))


def i32v(values: Iterable[int]) -> XValue:
    """An int32 vector attribute."""
    return XValue("int32_vec", tuple(int(value) for value in values))


def text(value: str) -> XValue:
    """A string attribute."""
    return XValue("string", value)


def u64(value: int) -> XValue:
    """A uint64 attribute."""
    return XValue("uint64", int(value))


def _wh(pair: tuple[int, int]) -> XValue:
    return i32v((pair[1], pair[0]))


def _pad(padding: Any) -> XValue:
    top, bottom, left, right = padding
    return i32v((left, right, top, bottom))


def _fix_attrs(node: Node, rounding: str) -> dict[str, XValue]:
    assert node.fix is not None
    return {"fix_point": i32(node.fix.pos), "bit_width": i32(node.fix.bits), "if_signed": XValue("bool", True),
            "round_mode": text(rounding)}


def _tensor(node: Node, name: str, memory: MemoryMap | None = None, rounding: str = ROUND_ACTIVATION) -> XTensor:
    dims = ohwi(node.data).shape if node.data is not None else node.shape
    if node.fix is None:
        return XTensor(name, dims, "FLOAT", 32)
    attrs = _fix_attrs(node, rounding)
    if memory is not None:
        place_ = memory.places[node.name]
        attrs |= {"reg_id": i32(place_.register), "ddr_addr": i32(place_.offset), "location": i32(1)}
        if node.data is None:
            attrs["stride"] = i32v(dense_strides(dims))
    return XTensor(name, dims, "XINT", node.fix.bits, attrs)


def _conv_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    weights = graph.by_name[node.inputs[1]]
    attrs = {
        "kernel": _wh((weights.shape[0], weights.shape[1])), "stride": _wh(node.attrs.stride),
        "dilation": _wh(node.attrs.dilation), "pad": _pad(node.attrs.padding), "pad_mode": text("FLOOR"),
        "nonlinear": text({"leaky_relu": "LEAKYRELU"}.get(node.attrs.nonlinear, node.attrs.nonlinear.upper())),
        "hsigmoid_in": i32(-128), "shift_hsigmoid": i32(-128), "shift_hswish": i32(-128),
    }
    return attrs if node.op == "depthwise_conv2d" else {**attrs, "group": i32(node.attrs.groups)}


def _pool_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    return {"kernel": _wh(node.attrs.kernel), "stride": _wh(node.attrs.stride), "pad": _pad(node.attrs.padding),
            "type": text("MAX" if node.op == "max_pool" else "AVG")}


def _eltwise_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    return {"type": text(node.op.upper()), "nonlinear": text(node.attrs.nonlinear.upper())}


def _shape_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    return {"shape": i32v(node.shape)}


def _axis_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    return {"axis": i32(getattr(node.attrs, "axis", len(node.shape) - 1))}


Attrs = Callable[[Node, Graph], dict[str, XValue]]
_CONV_ARGS, _LIST_ARGS = ("input", "weights", "bias"), ("input",)
# Operator -> XIR type, argument names (one name takes all operands), attributes.
_DPU_OPS: Mapping[str, tuple[str, tuple[str, ...], Attrs]] = {
    "conv2d": ("conv2d-fix", _CONV_ARGS, _conv_attrs),
    "depthwise_conv2d": ("depthwise-conv2d-fix", _CONV_ARGS, _conv_attrs),
    "max_pool": ("pool-fix", _LIST_ARGS, _pool_attrs),
    "avg_pool": ("pool-fix", _LIST_ARGS, _pool_attrs),
    "add": ("eltwise-fix", _LIST_ARGS, _eltwise_attrs),
    "mul": ("eltwise-fix", _LIST_ARGS, _eltwise_attrs),
    "reshape": ("reshape-fix", _LIST_ARGS, _shape_attrs),
    "concat": ("concat-fix", _LIST_ARGS, _axis_attrs),
}
_CPU_OPS: Mapping[str, tuple[str, tuple[str, ...], Attrs]] = {
    **_DPU_OPS,
    "softmax": ("softmax", _LIST_ARGS, _axis_attrs),
    "hard_sigmoid": ("hard-sigmoid-fix", _LIST_ARGS, lambda node, graph: {}),
    "float2fix": ("float2fix", _LIST_ARGS, lambda node, graph: _fix_attrs(node, ROUND_ACTIVATION)),
}


class _Writer:
    """Collects operators and subgraphs; ``source`` says where a host tensor can be read."""

    def __init__(self, compiled: Compiled) -> None:
        self.compiled, self.graph = compiled, compiled.graph
        self.ops: list[XOp] = []
        self.children: list[XSubgraph] = []
        self.source: dict[str, str] = {}

    def add(self, op: XOp) -> str:
        self.ops.append(op)
        return op.name

    def inputs(self) -> None:
        for node in self.graph.inputs:
            kind = "data-fix" if node.fix else "data"
            tensor = _tensor(node, node.name)
            attrs = {"shape": i32v(node.shape), "data_type": text("XINT8" if node.fix else "FLOAT32"),
                     "device": text("USER")}
            self.source[node.name] = self.add(XOp(node.name, kind, {}, attrs, tensor))
            self.children.append(XSubgraph(f"subgraph_{node.name}", (node.name,), {"device": text("USER"),
                                                                                  **_no_work()}))

    def constant(self, node: Node, memory: MemoryMap | None) -> str:
        device = "DPU" if memory else "CPU"
        assert node.data is not None
        payload = b"" if memory else ohwi(node.data).tobytes()
        kind, dtype = ("const-fix", f"XINT{node.fix.bits}") if node.fix else ("const", "FLOAT32")
        tensor = _tensor(node, node.name, memory, ROUND_CONSTANT)
        attrs = {"shape": i32v(tensor.dims), "data_type": text(dtype), "data": XValue("bytes", payload),
                 "device": text(device)}
        return self.add(XOp(node.name, kind, {}, attrs, tensor))

    def operator(self, node: Node, device: str, operands: list[str], memory: MemoryMap | None,
                 work: LayerWork | None) -> str:
        table = _DPU_OPS if device == "DPU" else _CPU_OPS
        if node.op not in table:
            raise CompileError(f"an xmodel has no operator for {node.op}", where=f"node '{node.name}'",
                               remedy="quantize only up to the layer before it with --output_nodes")
        kind, arg_names, attributes = table[node.op]
        args = ({arg: (name,) for arg, name in zip(arg_names, operands, strict=False)} if len(arg_names) > 1
                else {"input": tuple(operands)})
        attrs = {**attributes(node, self.graph), "device": text(device)}
        if node.label:
            attrs["dpuflow_layer"] = text(node.label)
        if work is not None and device == "DPU":
            attrs |= self.work_attrs(work)
            if isinstance(work, ConvWork) and is_augmented(work, self.compiled.core):
                attrs["channel_augmentation"] = i32(1)
        return self.add(XOp(node.name, kind, args, attrs, _tensor(node, node.name, memory)))

    def work_attrs(self, work: LayerWork) -> dict[str, XValue]:
        return {"workload": u64(workload(work)), "workload_on_arch": u64(workload_on_arch(work, self.compiled.core))}

    def dpu_kernel(self, kernel: Kernel) -> None:
        memory = memory_map(self.graph, kernel.nodes, kernel.inputs, kernel.outputs)
        leaves, inside, order = [], dict[str, str](), []
        for name in kernel.inputs:
            node = self.graph.by_name[name]
            upload = f"{name}_upload_{kernel.id}"
            self.add(XOp(upload, "upload", {"input": (self.source[name],)}, {"device": text("DPU")},
                         _tensor(node, upload, memory)))
            inside[name] = upload
            leaves.append(XSubgraph(f"subgraph_{upload}", (upload,), {"skip_code_gen": XValue("bool", True),
                                                                      **_no_work()}))
        for node in self.compiled.nodes(kernel):
            leaf = self.dpu_leaf(node, memory, inside)
            order.append(leaf.name)
            leaves.append(leaf)
        for name in kernel.outputs:
            leaves.append(self.download(name, inside[name], kernel))
        self.children.append(XSubgraph(f"subgraph_{kernel.name}", (), self.dpu_attrs(memory, leaves, order),
                                       tuple(leaves)))

    def dpu_leaf(self, node: Node, memory: MemoryMap, inside: dict[str, str]) -> XSubgraph:
        constants = []
        for operand in self.graph.operands(node):
            if operand.data is not None and operand.name not in inside:
                inside[operand.name] = self.constant(operand, memory)
                constants.append(operand.name)
        work = place(self.graph, node, self.compiled.core).work
        inside[node.name] = self.operator(node, "DPU", [inside[name] for name in node.inputs], memory, work)
        assert work is not None
        attrs = self.work_attrs(work)
        if node.op in ("reshape", "concat"):
            attrs["skip_code_gen"] = XValue("bool", True)
        return XSubgraph(f"subgraph_{node.name}", (*constants, node.name), attrs)

    def download(self, name: str, operand: str, kernel: Kernel) -> XSubgraph:
        node = self.graph.by_name[name]
        download = f"{name}_download_{kernel.id}"
        self.add(XOp(download, "download", {"input": (operand,)}, {"device": text("DPU")}, _tensor(node, download)))
        self.source[name] = download
        return XSubgraph(f"subgraph_{download}", (download,), _no_work())

    def dpu_attrs(self, memory: MemoryMap, leaves: list[XSubgraph], order: list[str]) -> dict[str, XValue]:
        kinds = {0: "CONST", 1: "WORKSPACE", 2: "INTERFACE", 3: "INTERFACE"}
        used = [register for register in kinds if memory.sizes_bytes.get(register)]
        core = self.compiled.core
        return {
            "device": text("DPU"), "dpu_name": text(core.name), "dpu_fingerprint": u64(core.fingerprint),
            "mc_code": XValue("bytes", b""), "mc_code_preload": XValue("bytes", b""), "debug_mode": text("null"),
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
        node = self.graph.by_name[name]
        made = f"{name}_fix2float"
        if all(op.name != made for op in self.ops):
            tensor = XTensor(made, node.shape, "FLOAT", 32)
            self.add(XOp(made, "fix2float", {"input": (self.source[name],)},
                         {**_fix_attrs(node, ROUND_ACTIVATION), "device": text("CPU")}, tensor))
        return made

    def cpu_kernel(self, kernel: Kernel) -> None:
        first = len(self.ops)
        for node in self.compiled.nodes(kernel):
            operands = []
            for operand in self.graph.operands(node):
                if operand.data is not None and operand.name not in self.source:
                    self.source[operand.name] = self.constant(operand, None)
                crossing = operand.fix is not None and node.fix is None
                operands.append(self.to_float(operand.name) if crossing else self.source[operand.name])
            self.source[node.name] = self.operator(node, "CPU", operands, None, None)
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


def _by_register(used: list[int], value: Callable[[int], str]) -> XValue:
    return XValue("map_string_2_string", {f"REG_{register}": value(register) for register in used})


def to_xir(compiled: Compiled) -> XGraph:
    """The XIR graph of a compiled network; CompileError for an operator that XIR lacks."""
    from dpuflow import __version__

    writer = _Writer(compiled)
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
