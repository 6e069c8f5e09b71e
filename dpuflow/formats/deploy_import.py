"""``deploy_model.pb`` to a quantized graph (quantizer specification, section 8).

Compute nodes carry their parameters and positions as attributes; other nodes carry ``ipos`` and
``opos``. Nodes without ``opos`` are float and run on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.checks import MALFORMED, checked_axis, checked_pairs, checked_position
from dpuflow.formats.graphdef import TFGraph, TFNode
from dpuflow.formats.tf_import import needed_nodes
from dpuflow.formats.tf_maps import transposed_attrs
from dpuflow.formats.tf_operators import conv_attrs, mean_attrs, pool_attrs, reshape_attrs
from dpuflow.formats.tf_values import TShape
from dpuflow.ir.graph import Array, Fix, Graph, Node, Shape, const
from dpuflow.ir.verify import output_shape, verify
from dpuflow.ops import get_op
from dpuflow.ops.activation import LeakyAttrs
from dpuflow.ops.conv import DenseAttrs
from dpuflow.ops.elementwise import EltwiseAttrs
from dpuflow.ops.movement import ConcatAttrs, PadAttrs, ReshapeAttrs
from dpuflow.ops.resize import ResizeAttrs
from dpuflow.passes import run_passes
from dpuflow.passes.fuse_nonlinear import fuse_nonlinear


def _fix(node: TFNode, key: str) -> Fix | None:
    value = node.get(key)
    if value is None:
        return None
    if not isinstance(value, tuple) or len(value) != 2:
        raise GraphError(f"malformed position attribute '{key}'", where=f"node '{node.name}'", got=value,
                         expected="[bits, position]")
    return checked_position(value[1], value[0], f"node '{node.name}', attribute '{key}'")


def _output_fix(node: TFNode) -> Fix | None:
    fix = _fix(node, "opos")
    if fix is not None and fix.pos == fixed.ALL_ZERO_POS:
        raise GraphError("the tensor was zero in every calibration image: it has no position",
                         where=f"node '{node.name}'",
                         remedy="calibrate with images that reach this layer, or remove the layer")
    return fix


class _Importer:
    def __init__(self, graph: TFGraph) -> None:
        self.graph = graph
        self.nodes: dict[str, Node] = {}

    def operands(self, node: TFNode) -> list[Node]:
        return [self.nodes[name] for name in node.operands]

    def parameter(self, node: TFNode, key: str, position: str) -> Node:
        """A weight or bias attribute as an int8 constant; its floats already lie on the grid."""
        fix = _fix(node, position)
        if fix is None:
            raise GraphError(f"the tensor '{key}' has no position '{position}'", where=f"node '{node.name}'")
        if fix.pos == fixed.ALL_ZERO_POS:
            fix = Fix(0, fix.bits)
        values = node.tensor(key)
        if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            raise GraphError(f"the tensor '{key}' holds NaN, infinity or no numbers", where=f"node '{node.name}'")
        data = fixed.quantize(values, fix.pos, "half_away", fix.bits)
        made = const(f"{node.name}/{key}", data, fix)
        self.nodes[made.name] = made
        return made

    def values(self, node: TFNode, key: str) -> Node:
        """A weight or bias attribute as the float constant that it is, for operators that compute in float."""
        made = const(f"{node.name}/{key}", node.tensor(key))
        self.nodes[made.name] = made
        return made

    def add(self, made: Node) -> Node:
        shapes = {name: self.nodes[name].shape for name in made.inputs}
        self.nodes[made.name] = made.replace(shape=output_shape(made, shapes))
        return self.nodes[made.name]

    def emit(self, node: TFNode, op: str, operands: Iterable[Node], attrs: Any = None) -> None:
        """A node with its position; what cannot compute in fixed point does so in float and is quantized."""
        operands = tuple(operands)
        fix = _output_fix(node)
        made = Node(node.name, op, tuple(operand.name for operand in operands), fix=fix)
        if attrs is not None:
            made = made.replace(attrs=attrs)
        if fix is None or (get_op(op).fixed is not None and all(operand.fix for operand in operands)):
            self.add(made)
            return
        computed = self.add(made.replace(name=f"{node.name}/float", fix=None))
        self.add(Node(node.name, "float2fix", (computed.name,), fix=fix))


def _placeholder(importer: _Importer, node: TFNode) -> None:
    dims = node.get("shape", TShape(None)).dims
    if not dims or any(size < 1 for size in dims[1:]):
        raise GraphError("the input has no static shape", where=f"node '{node.name}'", got=dims)
    importer.nodes[node.name] = Node(node.name, "input", shape=(1, *dims[1:]), fix=_output_fix(node))


def _compute(op: str, attrs: Callable[[TFNode, Shape, Shape], Any]) -> Converter:
    def convert(importer: _Importer, node: TFNode) -> None:
        (x,) = importer.operands(node)
        operands = [x, importer.parameter(node, "weights", "wpos")]
        if "bias" in node.attrs:
            operands.append(importer.parameter(node, "bias", "bpos"))
        importer.emit(node, op, operands, attrs(node, x.shape, operands[1].shape))
    return convert


def _simple(op: str, attrs: Callable[[TFNode, list[Node]], Any] = lambda node, operands: None) -> Converter:
    def convert(importer: _Importer, node: TFNode) -> None:
        operands = importer.operands(node)
        importer.emit(node, op, operands, attrs(node, operands))
    return convert


def _scale(importer: _Importer, node: TFNode) -> None:
    """A batch normalisation that was not folded: x * weights + bias, in float."""
    (x,) = importer.operands(node)
    product = Node(f"{node.name}/product", "mul", (x.name, importer.values(node, "weights").name),
                   attrs=EltwiseAttrs())
    importer.emit(node, "bias_add", (importer.add(product), importer.values(node, "bias")))


def _resize(importer: _Importer, node: TFNode) -> None:
    """By factors or to a size, nearest or bilinear."""
    (x,) = importer.operands(node)
    if "scale_h" in node.attrs:
        size = (x.shape[1] * int(node.get("scale_h")), x.shape[2] * int(node.get("scale_w")))
    else:
        size = (int(node.get("size_h")), int(node.get("size_w")))
    op = "resize_bilinear" if node.get("resize_type") == b"Bilinear" else "resize_nearest"
    attrs = ResizeAttrs(size, bool(node.get("align_corners", False)), bool(node.get("half_pixel_centers", False)))
    importer.emit(node, op, (x,), attrs)


def _expand_dims(importer: _Importer, node: TFNode) -> None:
    (x,) = importer.operands(node)
    where = f"node '{node.name}' ({node.op})"
    at = checked_axis(int(node.tensor("dim").reshape(-1)[0]), len(x.shape) + 1, where)
    importer.emit(node, "reshape", (x,), ReshapeAttrs((*x.shape[1:at], 1, *x.shape[at:])))


def _squeeze(importer: _Importer, node: TFNode) -> None:
    (x,) = importer.operands(node)
    axes = {int(axis) % len(x.shape) for axis in node.get("squeeze_dims", ())}
    axes = axes or {axis for axis in range(1, len(x.shape)) if x.shape[axis] == 1}
    importer.emit(node, "reshape", (x,), ReshapeAttrs(
        tuple(size for axis, size in enumerate(x.shape) if axis and axis not in axes)))


def _pads(node: TFNode, value: Array) -> PadAttrs:
    return PadAttrs(checked_pairs(value.reshape(-1, 2), f"node '{node.name}' ({node.op})"))


def _concat(node: TFNode, operands: list[Node]) -> ConcatAttrs:
    where = f"node '{node.name}' ({node.op})"
    return ConcatAttrs(checked_axis(int(node.tensor("axis")), len(operands[0].shape), where))


Converter = Callable[[_Importer, TFNode], None]

CONVERTERS: Mapping[str, Converter] = {
    "Placeholder": _placeholder,
    "Conv2D": _compute("conv2d", conv_attrs),
    "DepthwiseConv2dNative": _compute("depthwise_conv2d", conv_attrs),
    "MatMul": _compute("dense", lambda node, x, weights: DenseAttrs()),
    "Relu": _simple("relu"),
    "Relu6": _simple("relu6"),
    "LeakyReLU": _simple("leaky_relu", lambda node, operands: LeakyAttrs()),
    "MaxPool": _simple("max_pool", lambda node, operands: pool_attrs(node, operands[0].shape)),
    "AvgPool": _simple("avg_pool", lambda node, operands: pool_attrs(node, operands[0].shape)),
    "Mean": _simple("mean", lambda node, operands: mean_attrs(
        node, node.tensor("reduction_indices"), len(operands[0].shape))),
    "Add": _simple("add", lambda node, operands: EltwiseAttrs()),
    "AddN": _simple("add", lambda node, operands: EltwiseAttrs()),
    "Mul": _simple("mul", lambda node, operands: EltwiseAttrs()),
    "Concat": _simple("concat", _concat),
    "ConcatV2": _simple("concat", _concat),
    "Pad": _simple("pad", lambda node, operands: _pads(node, node.tensor("paddings"))),
    "Reshape": _simple("reshape", lambda node, operands: reshape_attrs(
        node, node.tensor("shape"), operands[0].shape)),
    "Squeeze": _squeeze,
    "ExpandDims": _expand_dims,
    "Deconv2d": _compute("transposed_conv2d", transposed_attrs),
    "Scale": _scale,
    "DeephiResize": _resize,
    "Softmax": _simple("softmax"),
}


def is_deploy(graph: TFGraph) -> bool:
    """Whether a GraphDef is a deploy graph: positions as attributes, no FixNeurons."""
    return any("opos" in node.attrs for node in graph.nodes) and all(
        node.op != "FixNeuron" for node in graph.nodes)


def import_deploy(graph: TFGraph, name: str = "graph") -> Graph:
    """The quantized graph; its outputs are the nodes that nobody reads."""
    outputs = tuple(node.name for node in graph.sinks)
    importer = _Importer(graph)
    for node in needed_nodes(graph, outputs):
        if node.op not in CONVERTERS:
            raise UnsupportedOp(f"unsupported operator {node.op} in a deploy graph", where=f"node '{node.name}'")
        try:
            CONVERTERS[node.op](importer, node)
        except MALFORMED as error:
            raise GraphError(f"malformed node ({error})", where=f"node '{node.name}' ({node.op})") from error
    return run_passes(verify(Graph(name, tuple(importer.nodes.values()), outputs)), (fuse_nonlinear,))
