"""ONNX models, float or with Q/DQ pairs, as frozen GraphDefs: channels last, clean weights.

The quantizer, the inspector and the engines then serve them like any other graph. The operators'
converters stand in one table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.files import read_bytes
from dpuflow.formats import onnx_elementwise as elementwise
from dpuflow.formats import onnx_qdq as qdq
from dpuflow.formats import onnx_resize as resize
from dpuflow.formats import onnx_shapes as shapes
from dpuflow.formats import onnx_windows as windows
from dpuflow.formats.checks import MALFORMED
from dpuflow.formats.graphdef import TFGraph, TFNode, new_node
from dpuflow.formats.onnx_elementwise import Converter
from dpuflow.formats.onnx_graph import OnnxGraph, OnnxNode, parse_onnx
from dpuflow.formats.onnx_static import STATIC, check_size
from dpuflow.formats.onnx_values import NHWC, PLAIN, TO_NCHW, Conversion, Value
from dpuflow.formats.tf_values import FLOAT, TShape
from dpuflow.ir.graph import Array, Shape

CONVERTERS: Mapping[str, Converter] = {
    "Conv": windows.convolution,
    "ConvTranspose": windows.transposed_convolution,
    "MaxPool": windows.max_pool,
    "AveragePool": windows.average_pool,
    "GlobalAveragePool": windows.global_pool,
    "GlobalMaxPool": windows.global_pool,
    "Gemm": elementwise.dense,
    "MatMul": elementwise.dense,
    "BatchNormalization": elementwise.batch_normalization,
    "Relu": elementwise.unary("Relu", 0.0),
    "Clip": elementwise.clip,
    "LeakyRelu": elementwise.leaky_relu,
    "PRelu": elementwise.prelu,
    "HardSigmoid": elementwise.hard_sigmoid,
    "HardSwish": elementwise.hard_sigmoid,
    "Sigmoid": elementwise.unary("Sigmoid", 0.0),
    "Tanh": elementwise.unary("Tanh"),
    "Neg": elementwise.unary("Neg"),
    "Softmax": elementwise.softmax,
    "Add": elementwise.arithmetic,
    "Sub": elementwise.arithmetic,
    "Mul": elementwise.arithmetic,
    "Div": elementwise.arithmetic,
    "Min": elementwise.arithmetic,
    "Max": elementwise.arithmetic,
    "Sum": elementwise.arithmetic,
    "Identity": elementwise.same_value,
    "Dropout": elementwise.same_value,
    "Cast": elementwise.same_value,
    "Reshape": shapes.reshape,
    "Flatten": shapes.flatten,
    "Squeeze": shapes.squeeze,
    "Unsqueeze": shapes.unsqueeze,
    "Transpose": shapes.transpose,
    "Concat": shapes.concat,
    "Slice": shapes.slice_,
    "Split": shapes.split,
    "Pad": shapes.pad,
    "ReduceMean": shapes.reduce("Mean"),
    "ReduceSum": shapes.reduce("Sum"),
    "ReduceMax": shapes.reduce("Max"),
    "ArgMax": shapes.arg_max,
    "DepthToSpace": resize.depth_to_space,
    "SpaceToDepth": resize.depth_to_space,
    "Resize": resize.resize,
    "Upsample": resize.resize,
    "QuantizeLinear": qdq.quantize_linear,
    "DequantizeLinear": qdq.dequantize_linear,
    # The same operators under the names of the vendor's own domains.
    "ExtendedQuantizeLinear": qdq.quantize_linear,
    "ExtendedDequantizeLinear": qdq.dequantize_linear,
    "VitisQuantizeLinear": qdq.quantize_linear,
    "VitisDequantizeLinear": qdq.dequantize_linear,
}


def read_onnx(path: Path | str, shapes: Sequence[Shape] = ()) -> TFGraph:
    """An ONNX file as a frozen graph; FormatError, GraphError or UnsupportedOp naming the node."""
    return convert_onnx(parse_onnx(read_bytes(path), path), shapes)


def convert_onnx(graph: OnnxGraph, shapes: Sequence[Shape] = ()) -> TFGraph:
    """The network as a GraphDef, NHWC. Inputs and outputs keep their names as far as TensorFlow allows.

    ``shapes``: the inputs' (N, H, W, C) in order, for a file that leaves height and width open.
    """
    if shapes:
        graph = dataclasses.replace(graph, inputs=_with_shapes(graph, shapes))
    conversion = Conversion(graph)
    for name in graph.outputs:  # so that no inner node takes an output's name
        if name in graph.inputs or name in graph.initializers:
            raise GraphError("an output that nothing computes", where=graph.source, got=name)
    for name, data in graph.initializers.items():
        conversion.values[name] = Value(name, data.shape, data=data)
    placeholders = _inputs(conversion)
    with np.errstate(all="ignore"):  # constants may divide by zero; the network's own values are not computed here
        for node in graph.nodes:
            _convert(conversion, node)
    _outputs(conversion)
    return _needed(TFGraph((*placeholders, *conversion.nodes), graph.source), conversion)


def _with_shapes(graph: OnnxGraph, shapes: Sequence[Shape]) -> dict[str, tuple[int | None, ...] | None]:
    """The inputs with the sizes that are given, turned to the file's order of axes."""
    if len(shapes) != len(graph.inputs):
        raise GraphError("input shapes and inputs differ in number", where=graph.source, got=len(shapes),
                         expected=", ".join(graph.inputs))
    made: dict[str, tuple[int | None, ...] | None] = {}
    for (name, known), given in zip(graph.inputs.items(), shapes, strict=True):
        last = len(given) == 4 and not _given_channels_last(graph, name)
        held = (given[0], given[3], given[1], given[2]) if last else tuple(given)
        if known is not None and (len(known) != len(held) or any(
                size not in (None, new) for size, new in zip(known[1:], held[1:], strict=True))):
            raise GraphError("the given shape contradicts the file", where=f"{graph.source}, input '{name}'",
                             got=tuple(given), expected=known)
        made[name] = held
    return made


def _inputs(conversion: Conversion) -> list[TFNode]:
    made = []
    for name, shape in conversion.graph.inputs.items():
        if not shape or None in shape[1:]:
            raise GraphError("an input without sizes", where=conversion.graph.source, got=f"{name} {shape}",
                             expected="fixed height, width and channels",
                             remedy="give them with --input-shapes ?,height,width,channels")
        known = (shape[0] or 1, *(int(size or 1) for size in shape[1:]))
        first = len(known) == 4 and not _given_channels_last(conversion.graph, name)
        held = (known[2], known[3], known[1]) if first else known[1:]
        node = conversion.unique(name)
        made.append(new_node(node, "Placeholder", dtype=FLOAT, shape=TShape((-1, *held))))
        conversion.values[name] = Value(node, known, NHWC if first else PLAIN)
    if not made:
        raise GraphError("the network has no input", where=conversion.graph.source)
    return made


def _given_channels_last(graph: OnnxGraph, name: str) -> bool:
    """Whether an input comes channels last: all that read it transpose it first, as TensorFlow's exporters write."""
    readers = [node for node in graph.nodes if name in node.inputs]
    return bool(readers) and all(node.op == "Transpose" and tuple(node.attrs.get("perm", ())) == TO_NCHW
                                 for node in readers)


def _convert(conversion: Conversion, node: OnnxNode) -> None:
    try:
        if node.domain:
            raise UnsupportedOp(f"an operator of the domain {node.domain}", where=node.where)
        if _is_static(conversion, node):
            return
        if node.op not in CONVERTERS:
            raise UnsupportedOp(f"unsupported operator {node.op}", where=node.where,
                                remedy="cut the model before it, or replace the layer")
        CONVERTERS[node.op](conversion, node)
        for name in node.outputs[1:]:  # Dropout's mask and the like: nobody may read it
            if name and node.op != "Split":
                conversion.values.pop(name, None)
    except MALFORMED as error:
        raise GraphError(f"malformed node ({error})", where=node.where) from error


def _is_static(conversion: Conversion, node: OnnxNode) -> bool:
    """Compute a node that reads shapes and constants only; whether it was one."""
    if node.op == "Constant":
        _finish_constant(conversion, node, _constant(node))
        return True
    if node.op == "Shape":
        x = conversion.value(node, 0)
        start, end = int(node.attrs.get("start", 0)), node.attrs.get("end")
        _finish_constant(conversion, node, np.array(x.shape[start:end], np.int64))
        return True
    operands = [conversion.optional(node, index) for index in range(len(node.inputs))]
    values = [operand.data for operand in operands if operand is not None]
    if node.op not in STATIC or not values or any(value is None for value in values):
        return False
    known = [value for value in values if value is not None]
    check_size(known)
    result = np.asarray(STATIC[node.op](node, [None if o is None else o.data for o in operands]))  # type: ignore[misc]
    first = operands[0]
    keeps = node.op in ("Identity", "Transpose", "Reshape", "Unsqueeze", "Squeeze") and first is not None
    conversion.finish(node, Value(first.node if keeps and first else node.outputs[0], result.shape, data=result,
                                  pos=first.pos if keeps and first else None))
    return True


def _finish_constant(conversion: Conversion, node: OnnxNode, data: Array) -> None:
    conversion.finish(node, Value(node.outputs[0], data.shape, data=data))


def _constant(node: OnnxNode) -> Array:
    for key, kind in (("value", None), ("value_float", np.float32), ("value_floats", np.float32),
                      ("value_int", np.int64), ("value_ints", np.int64)):
        if node.attrs.get(key) is not None:
            return np.asarray(node.attrs[key], kind)
    raise UnsupportedOp("a constant of this form", where=node.where, got=", ".join(node.attrs))


def _outputs(conversion: Conversion) -> None:
    """Every output under its own name and in a definite order of axes."""
    for name in conversion.graph.outputs:
        value = conversion.values.get(name)
        if value is None or value.data is not None:
            raise GraphError("an output that does not depend on the input", where=conversion.graph.source, got=name)
        value = value if value.layout in (PLAIN, NHWC) else conversion.to_plain(value)
        conversion.values[name] = _named(conversion, name, value)


def _named(conversion: Conversion, name: str, value: Value) -> Value:
    """The output under its own name: its node renamed, or an Identity where others read that node too."""
    wanted = conversion.clean(name)
    if value.pos is not None or not any(node.name == value.node for node in conversion.nodes):
        return value
    shared = any(value.node in node.operands for node in conversion.nodes) or any(
        conversion.values[other].node == value.node for other in conversion.graph.outputs
        if other != name and other in conversion.values)
    if shared:
        inner = conversion.rename(value.node, f"{value.node}/read") if value.node == wanted else value.node
        conversion.names.discard(wanted)
        made = conversion.emit(conversion.unique(name), "Identity", (inner,))
    elif value.node == wanted or wanted in conversion.names:
        made = value.node
    else:
        made = conversion.rename(value.node, name)
    return replace(value, node=made)


def _needed(graph: TFGraph, conversion: Conversion) -> TFGraph:
    """Without what no output depends on."""
    needed: set[str] = set()
    stack = [conversion.values[name].node for name in conversion.graph.outputs]
    while stack:
        name = stack.pop()
        if name not in needed:
            needed.add(name)
            stack.extend(graph.node(name).operands)
    kept = [node for node in graph.nodes if node.name in needed or node.op == "Placeholder"]
    return graph.replace(qdq.carry_positions(kept))
