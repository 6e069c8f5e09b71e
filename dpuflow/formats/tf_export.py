"""A quantized network as an evaluation graph: a GraphDef with FixNeurons (quantizer specification, section 7).

What TensorFlow 1 cannot say is refused by name. The deploy graph is made of the evaluation graph,
as in the quantizer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.errors import UnsupportedOp
from dpuflow.formats.graphdef import TFGraph, TFNode, const_node, new_node
from dpuflow.formats.tf_values import FLOAT, INT32, TShape
from dpuflow.ir.graph import Fix, Graph, Node
from dpuflow.ops.base import Padding, same_padding
from dpuflow.passes.drop_pool_scale import scale_factor

_WEIGHTED = {"conv2d": "Conv2D", "depthwise_conv2d": "DepthwiseConv2dNative", "dense": "MatMul"}
_NONLINEAR = {"relu": "Relu", "relu6": "Relu6", "leaky_relu": "LeakyRelu"}
_EXTRA: Mapping[str, Mapping[str, Any]] = {"BiasAdd": {"data_format": b"NHWC"}, "LeakyRelu": {"alpha": 26 / 256}}
_WEIGHTS, _ACTIVATIONS = ("wquant", 0), ("aquant", 1)  # suffix and mode of a FixNeuron


class _Exporter:
    """Collects nodes; ``out`` says which node holds a tensor, rounded where it has a position."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[TFNode] = []
        self.out: dict[str, str] = {}
        self.taken = set(graph.by_name)

    def add(self, node: TFNode) -> str:
        self.nodes.append(node)
        return node.name

    def free_name(self, name: str) -> str:
        made, number = name, 1
        while made in self.taken:
            made, number = f"{name}_{number}", number + 1
        self.taken.add(made)
        return made

    def rounded(self, name: str, fix: Fix, kind: tuple[str, int]) -> str:
        return self.add(new_node(self.free_name(f"{name}/{kind[0]}"), "FixNeuron", (name,), bit_width=fix.bits,
                                 method=1, mode=kind[1], phase=1, quantize_pos=fix.pos))

    def constant(self, node: Node) -> str:
        """A constant in float, on its grid."""
        if node.name not in self.out:
            assert node.data is not None
            data = node.data if node.fix is None else fixed.dequantize(node.data, node.fix.pos)
            name = self.add(const_node(node.name, np.asarray(data, np.float32)))
            self.out[node.name] = self.rounded(name, node.fix, _WEIGHTS) if node.fix else name
        return self.out[node.name]

    def literal(self, name: str, values: Any, dtype: Any) -> str:
        return self.add(const_node(self.free_name(name), np.asarray(values, dtype)))

    def operand(self, name: str) -> str:
        node = self.graph.by_name[name]
        return self.constant(node) if node.data is not None else self.out[name]

    def operands(self, node: Node) -> list[str]:
        return [self.operand(name) for name in node.inputs]

    def padded(self, node: Node, x: str, kernel: tuple[int, int], dilation: tuple[int, int]) -> tuple[str, str]:
        """The operand and "SAME" or "VALID"; other paddings become a Pad of their own."""
        source, padding = self.graph.by_name[node.inputs[0]], node.attrs.padding
        if padding == Padding():
            return x, "VALID"
        if padding == same_padding((source.shape[1], source.shape[2]), kernel, node.attrs.stride, dilation):
            return x, "SAME"
        top, bottom, left, right = padding
        name = self.free_name(f"{node.name}/Pad")
        pads = self.literal(f"{name}/paddings", [[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
        self.add(new_node(name, "Pad", (x, pads), T=FLOAT, Tpaddings=INT32))
        return (self.rounded(name, source.fix, _ACTIVATIONS) if source.fix else name), "VALID"

    def node(self, node: Node) -> None:
        if node.op not in _EXPORTERS:
            raise UnsupportedOp(f"a TensorFlow graph of the quantizer cannot express {node.op}",
                                where=f"node '{node.name}'", expected=", ".join(_EXPORTERS))
        name = _EXPORTERS[node.op](self, node)
        self.out[node.name] = self.rounded(name, node.fix, _ACTIVATIONS) if node.fix else name


def _input(exporter: _Exporter, node: Node) -> str:
    return exporter.add(new_node(node.name, "Placeholder", dtype=FLOAT, shape=TShape((-1, *node.shape[1:]))))


def _window(exporter: _Exporter, node: Node, x: str, kernel: tuple[int, int]) -> tuple[str, dict[str, Any]]:
    (sh, sw), (dh, dw) = node.attrs.stride, node.attrs.dilation
    x, padding = exporter.padded(node, x, kernel, (dh, dw))
    return x, {"data_format": b"NHWC", "padding": padding, "strides": [1, sh, sw, 1], "dilations": [1, dh, dw, 1]}


def _weighted(exporter: _Exporter, node: Node) -> str:
    """The linear operator, its BiasAdd and its nonlinearity; the last has the node's name."""
    weights = exporter.graph.by_name[node.inputs[1]]
    if getattr(node.attrs, "groups", 1) != 1:
        raise UnsupportedOp("a TensorFlow 1 graph cannot express a grouped convolution", where=f"node '{node.name}'",
                            got=f"{node.attrs.groups} groups")
    x = exporter.operand(node.inputs[0])
    attrs: dict[str, Any] = {"transpose_a": False, "transpose_b": False}
    if node.op != "dense":
        x, attrs = _window(exporter, node, x, (weights.shape[0], weights.shape[1]))
    parts = [*(["BiasAdd"] if len(node.inputs) > 2 else []),
             *([] if node.attrs.nonlinear == "none" else [_NONLINEAR[node.attrs.nonlinear]])]
    kind = _WEIGHTED[node.op]
    inner = node.label if node.label not in ("", node.name) else f"{node.name}/{kind}"
    name = exporter.free_name(inner) if parts else node.name
    exporter.add(new_node(name, kind, (x, exporter.operand(node.inputs[1])), T=FLOAT, **attrs))
    for at, part in enumerate(parts):
        last = at == len(parts) - 1
        name, before = node.name if last else exporter.free_name(f"{name}/{part}"), name
        extra = _EXTRA.get(part, {})
        bias = [exporter.operand(node.inputs[2])] if part == "BiasAdd" else []
        exporter.add(new_node(name, part, (before, *bias), T=FLOAT, **extra))
    return name


def _pool(kind: str) -> Callable[[_Exporter, Node], str]:
    def export(exporter: _Exporter, node: Node) -> str:
        (kh, kw), (sh, sw) = node.attrs.kernel, node.attrs.stride
        x, padding = exporter.padded(node, exporter.operand(node.inputs[0]), (kh, kw), (1, 1))
        factor = scale_factor(exporter.graph, node) if kind == "AvgPool" and node.fix else 1.0
        name = node.name if factor == 1.0 else exporter.free_name(f"{node.name}/{kind}")
        exporter.add(new_node(name, kind, (x,), T=FLOAT, data_format=b"NHWC", padding=padding,
                              ksize=[1, kh, kw, 1], strides=[1, sh, sw, 1]))
        if factor == 1.0:
            return name
        scale = exporter.literal(f"{node.name}/scale_value", factor, np.float32)
        return exporter.add(new_node(node.name, "Mul", (name, scale), T=FLOAT))
    return export


def _mean(exporter: _Exporter, node: Node) -> str:
    axes = exporter.literal(f"{node.name}/reduction_indices", [1, 2], np.int32)
    return exporter.add(new_node(node.name, "Mean", (exporter.operand(node.inputs[0]), axes), T=FLOAT, Tidx=INT32,
                                 keep_dims=node.attrs.keep_dims))


def _eltwise(kind: str, many: str) -> Callable[[_Exporter, Node], str]:
    def export(exporter: _Exporter, node: Node) -> str:
        operands = exporter.operands(node)
        if len(operands) > 2 and not many:
            raise UnsupportedOp(f"a {kind} of {len(operands)} tensors", where=f"node '{node.name}'", expected=2)
        linear = node.attrs.nonlinear == "none"
        name = node.name if linear else exporter.free_name(node.label if node.label not in ("", node.name)
                                                           else f"{node.name}/{kind}")
        extra = {"N": len(operands)} if len(operands) > 2 else {}
        exporter.add(new_node(name, many if extra else kind, operands, T=FLOAT, **extra))
        if linear:
            return name
        return exporter.add(new_node(node.name, _NONLINEAR[node.attrs.nonlinear], (name,), T=FLOAT))
    return export


def _concat(exporter: _Exporter, node: Node) -> str:
    operands = exporter.operands(node)
    axis = exporter.literal(f"{node.name}/axis", node.attrs.axis, np.int32)
    return exporter.add(new_node(node.name, "ConcatV2", (*operands, axis), T=FLOAT, Tidx=INT32, N=len(operands)))


def _reshape(exporter: _Exporter, node: Node) -> str:
    shape = exporter.literal(f"{node.name}/shape", [-1, *node.shape[1:]], np.int32)
    operands = (exporter.operand(node.inputs[0]), shape)
    return exporter.add(new_node(node.name, "Reshape", operands, T=FLOAT, Tshape=INT32))


def _pad(exporter: _Exporter, node: Node) -> str:
    pads = exporter.literal(f"{node.name}/paddings", node.attrs.pads, np.int32)
    return exporter.add(new_node(node.name, "Pad", (exporter.operand(node.inputs[0]), pads), T=FLOAT, Tpaddings=INT32))


def _unary(kind: str, **attrs: Any) -> Callable[[_Exporter, Node], str]:
    def export(exporter: _Exporter, node: Node) -> str:
        return exporter.add(new_node(node.name, kind, exporter.operands(node), T=FLOAT, **attrs))
    return export


_EXPORTERS: Mapping[str, Callable[[_Exporter, Node], str]] = {
    "input": _input,
    "conv2d": _weighted,
    "depthwise_conv2d": _weighted,
    "dense": _weighted,
    "max_pool": _pool("MaxPool"),
    "avg_pool": _pool("AvgPool"),
    "mean": _mean,
    "add": _eltwise("Add", "AddN"),
    "mul": _eltwise("Mul", ""),
    "concat": _concat,
    "reshape": _reshape,
    "pad": _pad,
    "relu": _unary("Relu"),
    "relu6": _unary("Relu6"),
    "leaky_relu": _unary("LeakyRelu", alpha=26 / 256),
    "softmax": _unary("Softmax"),
}


def to_evaluation_graph(graph: Graph) -> TFGraph:
    """The evaluation graph of a quantized network; UnsupportedOp for what TensorFlow 1 cannot say."""
    exporter = _Exporter(graph)
    for node in graph.nodes:
        if node.data is None:
            exporter.node(node)
    return TFGraph(tuple(exporter.nodes), graph.name)
