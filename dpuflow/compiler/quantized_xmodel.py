"""A quantized network as the vendors' quantizers write it (xmodel specification, section 5).

A float graph: every parameter is const -> fix -> argument, every activation operator -> fix, with
all operators in one leaf ``root``. The vendor's ``vai_c_xir`` compiles such files, and
:func:`dpuflow.formats.xir_import.import_xir` reads them back as the same network.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from dpuedge import fixed
from dpuflow.compiler.xir_ops import (
    FLOAT_FORMS,
    ROUND_ACTIVATION,
    OpForm,
    file_order,
    fix_attrs,
    i32,
    i32v,
    text,
)
from dpuflow.errors import CompileError
from dpuflow.formats.xir import XGraph, XOp, XSubgraph, XTensor, XValue
from dpuflow.formats.xir_check import require_loadable
from dpuflow.ir.graph import Array, Graph, Node
from dpuflow.ops.activation import LeakyAttrs
from dpuflow.ops.custom import CustomAttrs
from dpuflow.passes.drop_pool_scale import SCALED, scale_factor

_ROUNDED_NOWHERE = ("reshape",)  # the quantizers put no ``fix`` behind a mere change of shape
_CONVOLUTIONS = ("conv2d", "depthwise_conv2d", "transposed_conv2d")
_ORDERS = {"conv2d": "weights", "depthwise_conv2d": "weights", "dense": "weights", "transposed_conv2d": "reversed"}


class _Writer:
    """Collects operators; ``out`` says which operator holds a node's (rounded) tensor."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.ops: list[XOp] = []
        self.out: dict[str, str] = {}
        self.taken = set(graph.by_name)

    def free_name(self, name: str) -> str:
        made, number = name, 1
        while made in self.taken:
            made, number = f"{name}_{number}", number + 1
        self.taken.add(made)
        return made

    def add(self, name: str, kind: str, args: dict[str, tuple[str, ...]], attrs: dict[str, XValue],
            dims: tuple[int, ...]) -> str:
        self.ops.append(XOp(name, kind, args, attrs, XTensor(name, dims, "FLOAT", 32)))
        return name

    def literal(self, name: str, values: Array) -> str:
        attrs = {"shape": i32v(values.shape), "data_type": text("FLOAT32"),
                 "data": XValue("bytes", values.astype("<f4").tobytes())}
        return self.add(name, "const", {}, attrs, values.shape)

    def rounded(self, node: Node, operand: str, dims: tuple[int, ...]) -> str:
        """The ``fix`` behind an operator; a conversion from float is that ``fix`` itself."""
        name = node.name if node.op == "float2fix" else self.free_name(f"{node.name}_fix")
        return self.add(name, "fix", {"input": (operand,)}, fix_attrs(node, ROUND_ACTIVATION), dims)

    def constant(self, node: Node, order: str) -> str:
        """A constant in an order of axes; one that is needed in two orders stands twice."""
        key = f"{node.name}:{order}"
        if key not in self.out:
            assert node.data is not None
            name = self.free_name(node.name) if any(op.name == node.name for op in self.ops) else node.name
            data = node.data if node.fix is None else fixed.dequantize(node.data, node.fix.pos)
            data = np.ascontiguousarray(file_order(data, order))
            made = self.literal(name, data)
            self.out[key] = made if node.fix is None else self.rounded(node.replace(name=name), made, data.shape)
        return self.out[key]

    def operands(self, node: Node) -> list[str]:
        return [self.constant(operand, _ORDERS.get(node.op, "own") if at == 1 else "own")
                if operand.data is not None else self.out[operand.name]
                for at, operand in enumerate(self.graph.operands(node))]

    def node(self, node: Node) -> None:
        if node.op == "input":
            attrs = {"shape": i32v(node.shape), "data_type": text("FLOAT32")}
            made = self.add(node.name, "data", {}, attrs, node.shape)
        elif node.op == "float2fix":
            made = self.out[node.inputs[0]]
        elif node.op == "custom":
            made = self.custom(node)
        else:
            made = self.computed(node)
        self.out[node.name] = self.rounded(node, made, node.shape) if self.needs_fix(node) else made

    def needs_fix(self, node: Node) -> bool:
        """Not behind a change of shape, nor for a branch of a concatenation that is rounded as a whole."""
        if node.fix is None:
            return False
        if node.op in _ROUNDED_NOWHERE:
            return self.graph.by_name[node.inputs[0]].fix != node.fix
        readers = self.graph.users[node.name]
        branch = len(readers) == 1 and node.name not in self.graph.outputs and node.op not in ("input", "float2fix")
        return not (branch and self.graph.by_name[readers[0]].op == "concat"
                    and self.graph.by_name[readers[0]].fix == node.fix)

    def computed(self, node: Node) -> str:
        """The operator in its parts: the linear one, its nonlinearity, the DPU's factor."""
        if node.op not in FLOAT_FORMS:
            raise CompileError(f"a quantized xmodel has no operator for {node.op}", where=f"node '{node.name}'")
        nonlinear = getattr(node.attrs, "nonlinear", "none")
        factor = scale_factor(self.graph, node) if node.op in SCALED and node.fix else 1.0
        if nonlinear == "none" and factor == 1.0:
            return self.operator(node, node.name, self.operands(node))
        inner = self.operator(node, self.inner_name(node), self.operands(node))
        if nonlinear == "none":
            scale = self.literal(self.free_name(f"{node.name}/scale"), np.array([factor], np.float32))
            return self.operator(node.replace(op="mul"), node.name, [inner, scale])
        attrs = LeakyAttrs() if nonlinear == "leaky_relu" else None
        return self.operator(node.replace(op=nonlinear, attrs=attrs), node.name, [inner])

    def inner_name(self, node: Node) -> str:
        return self.free_name(node.label if node.label not in ("", node.name) else f"{node.name}/{node.op}")

    def operator(self, node: Node, name: str, operands: list[str]) -> str:
        form = _FORMS.get(node.op, FLOAT_FORMS[node.op])
        attrs = form.attrs(node, self.graph)
        if node.op in _CONVOLUTIONS:
            attrs |= _channels(self.graph, node)
        if node.layer != name:
            attrs["dpuflow_layer"] = text(node.layer)
        return self.add(name, form.type, form.args(operands), attrs, node.shape)

    def custom(self, node: Node) -> str:
        assert isinstance(node.attrs, CustomAttrs)
        attrs = {"shape": i32v(node.shape), "data_type": text("FLOAT32")}
        return self.add(node.name, node.attrs.type, {"input": tuple(self.operands(node))}, attrs, node.shape)


def _channels(graph: Graph, node: Node) -> dict[str, XValue]:
    """What the vendors' quantizers say of a convolution besides (xmodel specification, section 5)."""
    x = graph.by_name[node.inputs[0]]
    return {"in_dim": i32(x.shape[-1]), "out_dim": i32(node.shape[-1]),
            "bias_term": XValue("bool", len(node.inputs) > 2)}


def _dense_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    return {"transpose_a": XValue("bool", False), "transpose_b": XValue("bool", True)}


def _average_attrs(node: Node, graph: Graph) -> dict[str, XValue]:
    """An average that counts padding, as the DPU's does (arithmetic specification, section 6.2)."""
    counted = XValue("bool", node.fix is not None)
    return {**FLOAT_FORMS["avg_pool"].attrs(node, graph), "count_include_pad": counted,
            "count_include_invalid": counted}


_FORMS: dict[str, OpForm] = {
    "dense": dataclasses.replace(FLOAT_FORMS["dense"], attrs=_dense_attrs),
    "avg_pool": dataclasses.replace(FLOAT_FORMS["avg_pool"], attrs=_average_attrs),
}


def to_quantized_xir(graph: Graph) -> XGraph:
    """The XIR graph of a quantized network; CompileError for an operator that XIR lacks."""
    writer = _Writer(graph)
    for node in graph.nodes:
        if node.data is None:
            writer.node(node)
    names = tuple(op.name for op in writer.ops)
    outputs = XValue("string_vec", tuple(writer.out[name] for name in graph.outputs))
    return require_loadable(XGraph(graph.name, tuple(writer.ops), XSubgraph("root", names), {"return_ops": outputs}))
