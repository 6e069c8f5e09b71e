"""TensorFlow graphs, float or with FixNeurons, to the float graph of ``dpuflow.ir``.

One converter per TensorFlow operator, in one table. Node names stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.checks import MALFORMED, checked_axis, checked_padding, checked_pairs, checked_position
from dpuflow.formats.graphdef import TFGraph, TFNode
from dpuflow.formats.tf_constants import FOLDABLE, fold
from dpuflow.formats.tf_values import TShape
from dpuflow.ir.graph import Array, Graph, Node, Shape, const
from dpuflow.ir.verify import output_shape, verify
from dpuflow.ops.activation import LeakyAttrs
from dpuflow.ops.base import Padding, same_padding
from dpuflow.ops.conv import ConvAttrs, DenseAttrs
from dpuflow.ops.elementwise import EltwiseAttrs, FixAttrs
from dpuflow.ops.movement import ConcatAttrs, PadAttrs, ReshapeAttrs
from dpuflow.ops.normalization import BatchNormAttrs
from dpuflow.ops.pool import MeanAttrs, PoolAttrs


class Importer:
    """The state of one import: the nodes made so far and the names they go by."""

    def __init__(self, graph: TFGraph, input_shapes: Mapping[str, Shape]) -> None:
        self.graph = graph
        self.input_shapes = input_shapes
        self.nodes: dict[str, Node] = {}
        self.alias: dict[str, str] = {}
        self.static: dict[str, Array | None] = {}

    def made(self, name: str) -> Node:
        """The imported node that a TensorFlow node name stands for."""
        return self.nodes[self.alias.get(name, name)]

    def operands(self, node: TFNode) -> list[Node]:
        """The imported operands of a node."""
        return [self.made(name) for name in node.operands]

    def emit(self, node: TFNode, op: str, operands: Iterable[Node], attrs: Any = None) -> None:
        """Add a node under the TensorFlow node's name, with its shape."""
        made = Node(node.name, op, tuple(operand.name for operand in operands))
        if attrs is not None:
            made = made.replace(attrs=attrs)
        shapes = {name: self.nodes[name].shape for name in made.inputs}
        self.nodes[node.name] = made.replace(shape=output_shape(made, shapes))

    def constant(self, node: TFNode, index: int, what: str) -> Array:
        """The constant value of an operand, computed from static shapes where need be."""
        names = node.operands
        if not -len(names) <= index < len(names):
            raise GraphError(f"the {what} is missing", where=f"node '{node.name}' ({node.op})")
        value = self.static_value(names[index])
        if value is None:
            raise GraphError(f"the {what} is not constant", where=f"node '{node.name}' ({node.op})",
                             got=names[index], remedy="freeze the graph with constant values")
        return value

    def static_value(self, name: str) -> Array | None:
        """The value of a node that does not depend on pixels; batch counts as 1."""
        if name not in self.static:
            self.static[name] = self._static_value(name)
        return self.static[name]

    def _static_value(self, name: str) -> Array | None:
        node = self.graph.node(name)
        if node.op in ("Identity", "Cast", "FixNeuron"):
            return self.static_value(node.operands[0])
        if node.op == "Const":
            return node.tensor()
        if node.op == "Shape":
            return np.array(self.made(node.operands[0]).shape, np.int64)
        rule = _STATIC_RULES.get(node.op)
        values = [self.static_value(operand) for operand in node.operands] if rule else []
        known = [value for value in values if value is not None]
        if sum(value.size for value in known) > _STATIC_SIZE:
            return None
        return rule(node, known) if rule and len(known) == len(values) else None


_STATIC_SIZE = 4096  # values: shapes and lists of axes are short


def _static_slice(node: TFNode, values: list[Array]) -> Array:
    data, begin, end, strides = values
    first = int(begin[0]) if not node.get("begin_mask", 0) & 1 else None
    last = int(end[0]) if not node.get("end_mask", 0) & 1 else None
    part = data[slice(first, last, int(strides[0]))]
    return part[0] if node.get("shrink_axis_mask", 0) & 1 else part


_STATIC_RULES: Mapping[str, Callable[[TFNode, list[Array]], Array]] = {
    "StridedSlice": _static_slice,
    "Pack": lambda node, values: np.stack(values),
    "ConcatV2": lambda node, values: np.concatenate(values[:-1]),
    "Mul": lambda node, values: np.asarray(values[0] * values[1]),
    "Prod": lambda node, values: np.asarray(np.prod(values[0])),
}


def _pair(node: TFNode, key: str, default: tuple[int, ...] = (1, 1, 1, 1)) -> tuple[int, int]:
    """Height and width of a 4-entry NHWC list."""
    values = node.get(key, default)
    if len(values) != 4 or values[0] != 1 or values[3] != 1 or min(values) < 1:
        raise GraphError(f"unsupported {key}", where=f"node '{node.name}' ({node.op})", got=values,
                         expected="[1, height, width, 1]")
    return int(values[1]), int(values[2])


def _require_nhwc(node: TFNode) -> None:
    layout = node.get("data_format", b"NHWC")
    if layout != b"NHWC":
        raise UnsupportedOp("unsupported data_format", where=f"node '{node.name}' ({node.op})",
                            got=layout.decode(), expected="NHWC", remedy="freeze the model in NHWC")


def _padding(node: TFNode, size: Shape, kernel: tuple[int, int], stride: tuple[int, int],
             dilation: tuple[int, int] = (1, 1)) -> Padding:
    kind, where = node.get("padding", b"VALID"), f"node '{node.name}' ({node.op})"
    if kind == b"SAME":
        return checked_padding(same_padding((size[1], size[2]), kernel, stride, dilation), where)
    if kind == b"VALID":
        return Padding()
    if kind == b"EXPLICIT":
        pads = node.get("explicit_paddings", ())
        if len(pads) == 8:
            return checked_padding(pads[2:6], where)
    raise UnsupportedOp("unsupported padding", where=where, got=kind, expected="SAME or VALID")


def conv_attrs(node: TFNode, x: Shape, kernel: Shape) -> ConvAttrs:
    """Stride, dilation and resolved padding of a TensorFlow convolution."""
    _require_nhwc(node)
    if len(x) != 4 or len(kernel) != 4:
        raise GraphError("a convolution takes a 4-D map and 4-D weights",
                         where=f"node '{node.name}' ({node.op})", got=f"{x} and {kernel}")
    stride, dilation = _pair(node, "strides"), _pair(node, "dilations")
    groups = x[3] // kernel[2] if node.op == "Conv2D" and kernel[2] else 1
    padding = _padding(node, x, (kernel[0], kernel[1]), stride, dilation)
    return ConvAttrs(stride, padding, dilation, max(groups, 1))


def pool_attrs(node: TFNode, x: Shape) -> PoolAttrs:
    """Kernel, stride and resolved padding of a TensorFlow pool."""
    _require_nhwc(node)
    if len(x) != 4:
        raise GraphError("a pool takes a 4-D map", where=f"node '{node.name}' ({node.op})", got=x)
    kernel, stride = _pair(node, "ksize"), _pair(node, "strides")
    return PoolAttrs(kernel, stride, _padding(node, x, kernel, stride))


def mean_attrs(node: TFNode, axes: Array, rank: int) -> MeanAttrs:
    """A mean over height and width; others are not supported."""
    if sorted(int(axis) % rank for axis in axes.reshape(-1)) != [1, 2] or rank != 4:
        raise UnsupportedOp("a mean over other axes than height and width",
                            where=f"node '{node.name}' ({node.op})", got=axes.tolist(), expected=[1, 2])
    return MeanAttrs(bool(node.get("keep_dims", False)))


def reshape_attrs(node: TFNode, target: Array, x: Shape) -> ReshapeAttrs:
    """The shape of one image; the first entry must be the batch."""
    shape = tuple(int(size) for size in target.reshape(-1))
    if not shape or (shape[0] not in (-1, x[0]) and shape[0] != 1):
        raise UnsupportedOp("a reshape that does not keep the batch", where=f"node '{node.name}'",
                            got=shape, expected="[-1, ...]")
    rest = shape[1:]
    if any(size < -1 for size in rest):
        raise GraphError("a reshape with a negative size", where=f"node '{node.name}'", got=shape)
    if -1 in rest and shape[0] == -1:
        raise GraphError("a reshape with two unknown sizes", where=f"node '{node.name}'", got=shape)
    return ReshapeAttrs(rest)


def _placeholder(importer: Importer, node: TFNode) -> None:
    shape = importer.input_shapes.get(node.name)
    if shape is None:
        recorded = node.get("shape", TShape(None))
        shape = recorded.dims
    if not shape:
        raise GraphError("the input has no shape", where=f"node '{node.name}' (Placeholder)",
                         remedy="give it, as in --input_shapes ?,32,32,1")
    shape = (1, *shape[1:])
    if any(size < 1 for size in shape):
        raise GraphError("the input has unknown sizes beside the batch", where=f"node '{node.name}'",
                         got=shape, remedy="give them, as in --input_shapes ?,32,32,1")
    importer.nodes[node.name] = Node(node.name, "input", shape=shape)


def _const(importer: Importer, node: TFNode) -> None:
    importer.nodes[node.name] = const(node.name, node.tensor())


def _identity(importer: Importer, node: TFNode) -> None:
    importer.alias[node.name] = importer.made(node.operands[0]).name


def _conv(op: str) -> Converter:
    def convert(importer: Importer, node: TFNode) -> None:
        x, weights = importer.operands(node)
        importer.emit(node, op, (x, weights), conv_attrs(node, x.shape, weights.shape))
    return convert


def _dense(importer: Importer, node: TFNode) -> None:
    if node.get("transpose_a", False) or node.get("transpose_b", False):
        raise UnsupportedOp("a transposed MatMul", where=f"node '{node.name}'", remedy="store the weights as (in, out)")
    importer.emit(node, "dense", importer.operands(node), DenseAttrs())


def _bias_add(importer: Importer, node: TFNode) -> None:
    _require_nhwc(node)
    importer.emit(node, "bias_add", importer.operands(node))


def is_bias(data: Node, bias: Node) -> bool:
    """Whether adding ``bias`` is adding one value per channel."""
    sizes = [size for size in bias.shape if size != 1]
    return len(sizes) <= 1 and (not sizes or bias.shape[-1] == data.shape[-1])


def _constant_at_root(importer: Importer, node: Node) -> bool:
    while node.op == "fix":
        node = importer.nodes[node.inputs[0]]
    return node.op == "const"


def _add(importer: Importer, node: TFNode) -> None:
    operands = importer.operands(node)
    if len(operands) == 2 and _constant_at_root(importer, operands[1]) and is_bias(*operands):
        importer.emit(node, "bias_add", operands)
    else:
        importer.emit(node, "add", operands, EltwiseAttrs())


def _simple(op: str, attrs: Callable[[TFNode], Any] = lambda node: None) -> Converter:
    def convert(importer: Importer, node: TFNode) -> None:
        importer.emit(node, op, importer.operands(node), attrs(node))
    return convert


def _pool(op: str) -> Converter:
    def convert(importer: Importer, node: TFNode) -> None:
        (x,) = importer.operands(node)
        importer.emit(node, op, (x,), pool_attrs(node, x.shape))
    return convert


def _mean(importer: Importer, node: TFNode) -> None:
    x = importer.made(node.operands[0])
    importer.emit(node, "mean", (x,), mean_attrs(node, importer.constant(node, 1, "list of axes"), len(x.shape)))


def _reshape(importer: Importer, node: TFNode) -> None:
    x = importer.made(node.operands[0])
    attrs = reshape_attrs(node, importer.constant(node, 1, "new shape"), x.shape)
    importer.emit(node, "reshape", (x,), attrs)


def _squeeze(importer: Importer, node: TFNode) -> None:
    (x,) = importer.operands(node)
    rank = len(x.shape)
    axes = {int(axis) % rank for axis in node.get("squeeze_dims", ())}
    axes = axes or {axis for axis in range(1, rank) if x.shape[axis] == 1}
    if 0 in axes or any(x.shape[axis] != 1 for axis in axes):
        raise GraphError("cannot squeeze these axes", where=f"node '{node.name}'", got=sorted(axes))
    kept = tuple(size for axis, size in enumerate(x.shape) if axis not in axes)
    importer.emit(node, "reshape", (x,), ReshapeAttrs(kept[1:]))


def _concat(importer: Importer, node: TFNode) -> None:
    names = node.operands
    at = 0 if node.op == "Concat" else len(names) - 1
    axis = int(importer.constant(node, at, "axis"))
    operands = [importer.made(name) for index, name in enumerate(names) if index != at]
    where = f"node '{node.name}' ({node.op})"
    importer.emit(node, "concat", operands, ConcatAttrs(checked_axis(axis, len(operands[0].shape), where)))


def _pad(importer: Importer, node: TFNode) -> None:
    x = importer.made(node.operands[0])
    pads = importer.constant(node, 1, "list of pads")
    importer.emit(node, "pad", (x,), PadAttrs(checked_pairs(pads.reshape(-1, 2), f"node '{node.name}' ({node.op})")))


def _batch_norm(importer: Importer, node: TFNode) -> None:
    _require_nhwc(node)
    if node.get("is_training", True):
        raise UnsupportedOp("batch normalisation in training form", where=f"node '{node.name}' ({node.op})",
                            remedy="freeze the model for inference (is_training false)")
    importer.emit(node, "batch_norm", importer.operands(node), BatchNormAttrs(float(node.get("epsilon", 1e-4))))


def _fix(importer: Importer, node: TFNode) -> None:
    rounding = "half_up" if node.get("mode", 1) == 1 else "half_away"
    fix = checked_position(node.get("quantize_pos", 0), node.get("bit_width", 8), f"node '{node.name}' ({node.op})")
    importer.emit(node, "fix", importer.operands(node), FixAttrs(fix.pos, fix.bits, rounding))


Converter = Callable[[Importer, TFNode], None]

CONVERTERS: Mapping[str, Converter] = {
    "Placeholder": _placeholder,
    "Const": _const,
    "Identity": _identity,
    "StopGradient": _identity,
    "CheckNumerics": _identity,
    "Conv2D": _conv("conv2d"),
    "DepthwiseConv2dNative": _conv("depthwise_conv2d"),
    "MatMul": _dense,
    "BiasAdd": _bias_add,
    "Add": _add,
    "AddV2": _add,
    "AddN": _simple("add", lambda node: EltwiseAttrs()),
    "Mul": _simple("mul", lambda node: EltwiseAttrs()),
    "Maximum": _simple("maximum"),
    "Relu": _simple("relu"),
    "Relu6": _simple("relu6"),
    "LeakyRelu": _simple("leaky_relu", lambda node: LeakyAttrs(float(node.get("alpha", 0.2)))),
    "Softmax": _simple("softmax"),
    "MaxPool": _pool("max_pool"),
    "AvgPool": _pool("avg_pool"),
    "Mean": _mean,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "ConcatV2": _concat,
    "Concat": _concat,
    "Pad": _pad,
    "FusedBatchNorm": _batch_norm,
    "FusedBatchNormV2": _batch_norm,
    "FusedBatchNormV3": _batch_norm,
    "FixNeuron": _fix,
}
# Computed at import time, from static shapes.
_STATIC_ONLY = frozenset({"Shape", "StridedSlice", "Pack", "Cast", "Prod", "NoOp"})


def _only_first_outputs(node: TFNode) -> None:
    for operand in node.inputs:
        if not operand.startswith("^") and operand.partition(":")[2] not in ("", "0"):
            raise UnsupportedOp("reads a second output of a node", where=f"node '{node.name}' ({node.op})", got=operand,
                                remedy="replace the operator with several outputs")


def needed_nodes(graph: TFGraph, outputs: Iterable[str]) -> tuple[TFNode, ...]:
    """The nodes that the outputs depend on, operands first; GraphError on a cycle."""
    order: list[TFNode] = []
    state: dict[str, int] = {}
    stack = [(name, False) for name in reversed(tuple(outputs))]
    while stack:
        name, done = stack.pop()
        if done:
            state[name] = 2
            order.append(graph.node(name))
        elif state.get(name) is None:
            state[name] = 1
            _only_first_outputs(graph.node(name))
            stack.append((name, True))
            stack.extend((operand, False) for operand in reversed(graph.node(name).operands))
        elif state[name] == 1:
            raise GraphError("the graph has a cycle", where=graph.source, got=f"through node '{name}'")
    return tuple(order)


def import_tf(graph: TFGraph, outputs: Iterable[str], input_shapes: Mapping[str, Shape] | None = None,
              name: str = "graph") -> Graph:
    """The float graph that yields ``outputs``; shapes may replace those of the Placeholders."""
    outputs = tuple(outputs)
    importer = Importer(graph, input_shapes or {})
    for node in needed_nodes(graph, outputs):
        if node.op in _STATIC_ONLY:
            continue
        _convert(importer, node)
    made = tuple(importer.nodes.values())
    renamed = tuple(importer.alias.get(output, output) for output in outputs)
    return verify(_pruned(Graph(name, made, renamed)))


def _folded(importer: Importer, node: TFNode) -> bool:
    """Make a constant of a node that reads constants only; whether it was one."""
    if node.op not in FOLDABLE or node.op == "Identity":
        return False
    operands = [importer.nodes.get(importer.alias.get(name, name)) for name in node.operands]
    values = [operand.data for operand in operands if operand is not None and operand.data is not None]
    if not values or len(values) < len(node.operands):
        return False
    importer.nodes[node.name] = const(node.name, fold(node, values))
    return True


def _convert(importer: Importer, node: TFNode) -> None:
    if _folded(importer, node):
        return
    if node.op not in CONVERTERS:
        raise UnsupportedOp(f"unsupported operator {node.op}", where=f"node '{node.name}'",
                            remedy="cut the graph before it with --output_nodes, or replace the layer")
    try:
        CONVERTERS[node.op](importer, node)
    except KeyError as error:
        raise GraphError("reads a node that yields no tensor", where=f"node '{node.name}' ({node.op})",
                         got=error.args[0]) from None
    except MALFORMED as error:
        raise GraphError(f"malformed node ({error})", where=f"node '{node.name}' ({node.op})") from error


def _pruned(graph: Graph) -> Graph:
    """Without the constants that only import time needed (shapes, axes)."""
    needed: set[str] = set()
    for node in reversed(graph.nodes):
        if node.name in graph.outputs or node.name in needed:
            needed.add(node.name)
            needed.update(node.inputs)
    return graph.replace(node for node in graph.nodes if node.name in needed or node.op == "input")
