"""Compiled XIR graphs, ours or the vendor's, to quantized graphs (xmodel specification, 3, 4, 6).

Instructions are never decoded: operators, parameters and positions say everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.checks import MALFORMED, checked_axis, checked_pairs
from dpuflow.formats.xir import XGraph, XOp
from dpuflow.formats.xir_operands import (
    constant_array,
    fix_of,
    padding_of,
    pair_of,
    parameter_blobs,
    stated_fix,
    where_of,
)
from dpuflow.ir.graph import Array, Graph, Node, const
from dpuflow.ir.verify import output_shape, verify
from dpuflow.ops.activation import LeakyAttrs
from dpuflow.ops.conv import ConvAttrs, DenseAttrs
from dpuflow.ops.elementwise import EltwiseAttrs
from dpuflow.ops.movement import ConcatAttrs, PadAttrs, ReshapeAttrs
from dpuflow.ops.pool import MeanAttrs, PoolAttrs

_NONLINEAR = {"": "none", "NONE": "none", "RELU": "relu", "RELU6": "relu6", "LEAKYRELU": "leaky_relu"}


class _Importer:
    def __init__(self, graph: XGraph) -> None:
        self.graph = graph
        self.nodes: dict[str, Node] = {}
        self.alias: dict[str, str] = {}
        self.blobs = parameter_blobs(graph)

    def operand(self, op: XOp, arg: str) -> Node | None:
        names = op.args.get(arg, ())
        return self.nodes[self.alias.get(names[0], names[0])] if names else None

    def required(self, op: XOp, arg: str) -> Node:
        node = self.operand(op, arg)
        if node is None:
            raise GraphError(f"the operand '{arg}' is missing", where=where_of(op))
        return node

    def inputs(self, op: XOp) -> list[Node]:
        return [self.nodes[self.alias.get(name, name)] for name in op.args.get("input", ())]

    def emit(self, op: XOp, kind: str, operands: Iterable[Node], attrs: Any = None) -> None:
        operands = tuple(operands)
        made = Node(op.name, kind, tuple(operand.name for operand in operands), fix=fix_of(op),
                    label=str(op.get("dpuflow_layer", "")))
        if attrs is not None:
            made = made.replace(attrs=attrs)
        shape = output_shape(made, {operand.name: operand.shape for operand in operands})
        if shape != op.tensor.dims:
            raise GraphError("recorded output shape and operator differ", where=where_of(op), expected=shape,
                             got=op.tensor.dims)
        self.nodes[op.name] = made.replace(shape=shape)


def _data(importer: _Importer, op: XOp) -> None:
    if not op.tensor.dims or min(op.tensor.dims) < 1:
        raise GraphError("an input without a static shape", where=where_of(op), got=op.tensor.dims)
    importer.nodes[op.name] = Node(op.name, "input", shape=(1, *op.tensor.dims[1:]), fix=fix_of(op))


def _const(importer: _Importer, op: XOp) -> None:
    importer.nodes[op.name] = const(op.name, constant_array(op, importer.blobs), fix_of(op))


def _alias(importer: _Importer, op: XOp) -> None:
    """A copy between memories, or the way out to float: the same values under another name."""
    source = importer.required(op, "input")
    stated = fix_of(op) if op.type != "fix2float" else stated_fix(op)
    if op.tensor.dims != source.shape or (stated is not None and stated != source.fix):
        raise GraphError("a copy changes its tensor", where=where_of(op), got=f"{op.tensor.dims} {stated}",
                         expected=f"{source.shape} {source.fix}")
    importer.alias[op.name] = source.name


def _weights(importer: _Importer, op: XOp, axes: tuple[int, ...]) -> Node:
    """Weights in this library's axis order, as a constant of its own name."""
    node = importer.required(op, "weights")
    if node.data is None or node.data.ndim != len(axes):
        raise GraphError("the weights are not a 4-D constant", where=where_of(op), got=node.shape)
    name = f"{node.name}/hwio"
    while name in importer.graph.by_name:  # a name of the file itself
        name += "_"
    if name not in importer.nodes:
        importer.nodes[name] = const(name, np.ascontiguousarray(node.data.transpose(axes)), node.fix)
    return importer.nodes[name]


def _nonlinear(op: XOp) -> str:
    name = op.get("nonlinear", "NONE")
    if name not in _NONLINEAR:
        raise UnsupportedOp("unsupported nonlinearity", where=where_of(op), got=name,
                            expected=", ".join(sorted(filter(None, _NONLINEAR))))
    return _NONLINEAR[name]


def _conv(kind: str, axes: tuple[int, ...]) -> Converter:
    def convert(importer: _Importer, op: XOp) -> None:
        x, weights = importer.required(op, "input"), _weights(importer, op, axes)
        kernel, stride = (weights.shape[0], weights.shape[1]), pair_of(op, "stride")
        dilation = pair_of(op, "dilation", (1, 1))
        stated = pair_of(op, "kernel")
        if stated != kernel:
            raise GraphError("kernel and weights differ", where=where_of(op), expected=kernel, got=stated)
        groups = int(op.get("group", 1)) if kind == "conv2d" else 1
        attrs = ConvAttrs(stride, padding_of(op, x, kernel, stride, dilation), dilation, groups, _nonlinear(op))
        bias = importer.operand(op, "bias")
        importer.emit(op, kind, (x, weights, *([bias] if bias else [])), attrs)
    return convert


def _pool(importer: _Importer, op: XOp) -> None:
    x, kernel, stride = importer.required(op, "input"), pair_of(op, "kernel"), pair_of(op, "stride")
    kinds = {"MAX": "max_pool", "AVG": "avg_pool"}
    if op.get("type") not in kinds:
        raise UnsupportedOp("unsupported pool", where=where_of(op), got=op.get("type"), expected="MAX or AVG")
    importer.emit(op, kinds[op.get("type")], (x,), PoolAttrs(kernel, stride, padding_of(op, x, kernel, stride)))


def _float_pool(kind: str) -> Converter:
    def convert(importer: _Importer, op: XOp) -> None:
        x, kernel, stride = importer.required(op, "input"), pair_of(op, "kernel"), pair_of(op, "stride")
        padding = padding_of(op, x, kernel, stride)
        if op.get("global", False) or (kind == "avg_pool" and any(padding) and op.get("count_include_pad", True)):
            raise UnsupportedOp("unsupported form of a pool", where=where_of(op), got="global or count_include_pad",
                                expected="a kernel of its own; padding not counted")
        importer.emit(op, kind, (x,), PoolAttrs(kernel, stride, padding))
    return convert


def _float_eltwise(kind: str) -> Converter:
    def convert(importer: _Importer, op: XOp) -> None:
        importer.emit(op, kind, importer.inputs(op), EltwiseAttrs())
    return convert


def _matmul(importer: _Importer, op: XOp) -> None:
    if op.get("transpose_a", False) or op.get("transpose_b", False):
        raise UnsupportedOp("a transposed matmul", where=where_of(op), expected="weights as (in, out)")
    bias = importer.operand(op, "bias")
    importer.emit(op, "dense", (*importer.inputs(op), *([bias] if bias else [])), DenseAttrs())


def _mean(importer: _Importer, op: XOp) -> None:
    if sorted(op.get("axis", ())) != [1, 2]:
        raise UnsupportedOp("a mean over other axes than height and width", where=where_of(op), got=op.get("axis"))
    importer.emit(op, "mean", (importer.required(op, "input"),), MeanAttrs(bool(op.get("keep_dims", False))))


def _leaky(importer: _Importer, op: XOp) -> None:
    importer.emit(op, "leaky_relu", (importer.required(op, "input"),), LeakyAttrs(float(op.get("alpha"))))


def _eltwise(importer: _Importer, op: XOp) -> None:
    kinds = {"ADD": "add", "MUL": "mul"}
    kind = op.get("type", "ADD")
    if kind not in kinds:
        raise UnsupportedOp("unsupported eltwise type", where=where_of(op), got=kind, expected="ADD or MUL")
    importer.emit(op, kinds[kind], importer.inputs(op), EltwiseAttrs(_nonlinear(op)))


def _reshape(importer: _Importer, op: XOp) -> None:
    importer.emit(op, "reshape", (importer.required(op, "input"),), ReshapeAttrs(tuple(op.tensor.dims[1:])))


def _concat(importer: _Importer, op: XOp) -> None:
    axis = checked_axis(int(op.get("axis", -1)), len(op.tensor.dims), where_of(op))
    importer.emit(op, "concat", importer.inputs(op), ConcatAttrs(axis))


def _pad(importer: _Importer, op: XOp) -> None:
    values = op.get("paddings", ())
    if op.get("mode", "CONSTANT") != "CONSTANT" or any(op.get("constant_values") or ()):
        raise UnsupportedOp("only constant padding with zeros is supported", where=where_of(op), got=op.get("mode"))
    pads = checked_pairs(((values[at], values[at + 1]) for at in range(0, len(values), 2)), where_of(op))
    importer.emit(op, "pad", (importer.required(op, "input"),), PadAttrs(pads))


def _unary(kind: str) -> Converter:
    def convert(importer: _Importer, op: XOp) -> None:
        importer.emit(op, kind, (importer.required(op, "input"),))
    return convert


def _softmax(importer: _Importer, op: XOp) -> None:
    x = importer.required(op, "input")
    if checked_axis(int(op.get("axis", -1)), len(x.shape), where_of(op)) != len(x.shape) - 1:
        raise UnsupportedOp("a softmax over another axis than the last", where=where_of(op), got=op.get("axis"))
    importer.emit(op, "softmax", (x,))


Converter = Callable[[_Importer, XOp], None]

CONVERTERS: Mapping[str, Converter] = {
    "data": _data,
    "data-fix": _data,
    "const": _const,
    "const-fix": _const,
    "upload": _alias,
    "download": _alias,
    "identity": _unary("identity"),
    "fix2float": _alias,
    "float2fix": _unary("float2fix"),
    "conv2d-fix": _conv("conv2d", (1, 2, 3, 0)),
    "depthwise-conv2d-fix": _conv("depthwise_conv2d", (1, 2, 3, 0)),
    "pool-fix": _pool,
    "eltwise-fix": _eltwise,
    "concat-fix": _concat,
    "reshape-fix": _reshape,
    "pad-fix": _pad,
    "hard-sigmoid-fix": _unary("hard_sigmoid"),
    "conv2d": _conv("conv2d", (1, 2, 3, 0)),
    "depthwise-conv2d": _conv("depthwise_conv2d", (1, 2, 3, 0)),
    "matmul": _matmul,
    "maxpool2d": _float_pool("max_pool"),
    "avgpool2d": _float_pool("avg_pool"),
    "reduction_mean": _mean,
    "add": _float_eltwise("add"),
    "mul": _float_eltwise("mul"),
    "concat": _concat,
    "reshape": _reshape,
    "pad": _pad,
    "relu": _unary("relu"),
    "relu6": _unary("relu6"),
    "leaky-relu": _leaky,
    "hard-sigmoid": _unary("hard_sigmoid"),
    "softmax": _softmax,
}


def _outputs(graph: XGraph) -> tuple[str, ...]:
    named = graph.attrs["return_ops"].value if "return_ops" in graph.attrs else ()
    if named and all(name in graph.by_name for name in named):
        return tuple(named)
    read = {name for op in graph.ops for names in op.args.values() for name in names}
    return tuple(op.name for op in graph.ops if op.name not in read)


def import_xir(graph: XGraph) -> Graph:
    """The quantized graph of a compiled xmodel; UnsupportedOp names custom and unknown operators."""
    importer = _Importer(graph)
    for op in graph.ops:
        if op.type not in CONVERTERS:
            raise UnsupportedOp(f"unsupported operator type '{op.type}'", where=f"operator '{op.name}'",
                                remedy="a custom operator runs on the CPU and must be supplied as a function")
        try:
            CONVERTERS[op.type](importer, op)
        except MALFORMED as error:
            raise GraphError(f"malformed operator ({error})", where=where_of(op)) from error
    outputs = tuple(importer.alias.get(name, name) for name in _outputs(graph))
    return verify(_pruned(Graph(graph.name, tuple(importer.nodes.values()), outputs)))


def _pruned(graph: Graph) -> Graph:
    """Without constants that nobody reads in this library's form."""
    return graph.replace(node for node in graph.nodes
                         if node.data is None or graph.users[node.name] or node.name in graph.outputs)


def parameter_arrays(graph: XGraph) -> dict[str, Array]:
    """Every constant of the file by operator name."""
    importer = _Importer(graph)
    for op in graph.ops:
        if op.type in ("const", "const-fix"):
            try:
                _const(importer, op)
            except MALFORMED as error:
                raise GraphError(f"malformed operator ({error})", where=where_of(op)) from error
    return {name: node.data for name, node in importer.nodes.items() if node.data is not None}
