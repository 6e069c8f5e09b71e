"""ONNX operators that work element by element, batch normalisation, and dense layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.onnx_graph import OnnxNode
from dpuflow.formats.onnx_values import FLAT, NHWC, PLAIN, Conversion, Value
from dpuflow.formats.onnx_windows import add_bias
from dpuflow.ir.graph import Array

Converter = Callable[[Conversion, OnnxNode], None]
INFINITE = 3.0e38


def unary(op: str, floor: float | None = None) -> Converter:
    """An operator of one operand that keeps its shape."""
    def convert(conversion: Conversion, node: OnnxNode) -> None:
        x = conversion.value(node, 0)
        name = conversion.emit(conversion.last_name(node, f"/{op}"), op, (x.node,))
        conversion.finish(node, replace(x, node=name, floor=floor))
    return convert


def same_value(conversion: Conversion, node: OnnxNode) -> None:
    """Identity, Dropout, Cast between floats: nothing is computed."""
    conversion.finish(node, conversion.value(node, 0))


def clip(conversion: Conversion, node: OnnxNode) -> None:
    """Clip: 0..6 is Relu6, 0.. is Relu, else Maximum and Minimum."""
    x = conversion.value(node, 0)
    low, high = (_limit(conversion, node, name, at, default)
                 for name, at, default in (("min", 1, -INFINITE), ("max", 2, INFINITE)))
    if (low, high) == (0.0, 6.0) or (low == 0.0 and high >= INFINITE):
        op = "Relu6" if high == 6.0 else "Relu"
        name = conversion.emit(conversion.last_name(node, f"/{op}"), op, (x.node,))
        conversion.finish(node, replace(x, node=name, floor=0.0))
        return
    last = x.node
    limits = (("Maximum", low, low > -INFINITE), ("Minimum", high, high < INFINITE))
    steps = [(op, value) for op, value, active in limits if active]
    for index, (op, value) in enumerate(steps):
        final = index == len(steps) - 1
        name = conversion.last_name(node, f"/{op}") if final else conversion.unique(f"{conversion.stem(node)}/{op}")
        bound = conversion.constant(f"{name}/limit", np.array(value, np.float32))
        last = conversion.emit(name, op, (last, bound))
    conversion.finish(node, replace(x, node=last, floor=low if low > -INFINITE else x.floor))


def _limit(conversion: Conversion, node: OnnxNode, name: str, at: int, default: float) -> float:
    if name in node.attrs:
        return float(node.attrs[name])
    value = conversion.optional_data(node, at, name)
    return default if value is None else float(value.reshape(-1)[0])


def leaky_relu(conversion: Conversion, node: OnnxNode) -> None:
    """LeakyRelu; the DPU computes the slope 0.1."""
    x = conversion.value(node, 0)
    name = conversion.last_name(node, "/LeakyRelu")
    conversion.emit(name, "LeakyRelu", (x.node,), alpha=float(node.attrs.get("alpha", 0.01)))
    conversion.finish(node, replace(x, node=name, floor=None))


def prelu(conversion: Conversion, node: OnnxNode) -> None:
    """PRelu: one slope is LeakyRelu, several are Relu(x) - slope * Relu(-x)."""
    x = conversion.value(node, 0)
    slope = np.asarray(conversion.data(node, 1, "slope"), np.float32)
    if np.ptp(slope) == 0:
        name = conversion.last_name(node, "/LeakyRelu")
        conversion.emit(name, "LeakyRelu", (x.node,), alpha=float(slope.reshape(-1)[0]))
    else:
        stem = conversion.stem(node)
        positive = conversion.emit(conversion.unique(f"{stem}/Relu"), "Relu", (x.node,))
        turned = conversion.emit(conversion.unique(f"{stem}/Neg"), "Neg", (x.node,))
        negative = conversion.emit(conversion.unique(f"{stem}/Relu_1"), "Relu", (turned,))
        alpha = conversion.constant(node.inputs[1], conversion.spread(slope, x))
        scaled = conversion.emit(conversion.unique(f"{stem}/mul"), "Mul", (alpha, negative))
        name = conversion.emit(conversion.last_name(node, "/sub"), "Sub", (positive, scaled))
    conversion.finish(node, replace(x, node=name, floor=None))


def hard_sigmoid(conversion: Conversion, node: OnnxNode) -> None:
    """HardSigmoid and HardSwish as relu6(x + 3) / 6, the form that the DPU's have; other slopes by limits."""
    x = conversion.value(node, 0)
    swish = node.op == "HardSwish"
    alpha = 1 / 6 if swish else float(node.attrs.get("alpha", 0.2))
    beta = 0.5 if swish else float(node.attrs.get("beta", 0.5))
    stem = conversion.stem(node)
    if not math.isclose(alpha, 1 / 6, rel_tol=1e-5) or not math.isclose(beta, 0.5):
        conversion.finish(node, replace(x, node=_limited_line(conversion, node, x, alpha, beta), floor=0.0))
        return
    three = conversion.constant(f"{stem}/three", np.array(3, np.float32))
    shifted = conversion.emit(conversion.unique(f"{stem}/add"), "Add", (x.node, three))
    clipped = conversion.emit(conversion.unique(f"{stem}/Relu6"), "Relu6", (shifted,))
    sixth = conversion.constant(f"{stem}/sixth", np.array(1 / 6, np.float32))
    name = conversion.unique(f"{stem}/gate") if swish else conversion.last_name(node, "/mul")
    conversion.emit(name, "Mul", (clipped, sixth))
    if swish:
        name = conversion.emit(conversion.last_name(node, "/mul"), "Mul", (x.node, name))
    conversion.finish(node, replace(x, node=name, floor=None if swish else 0.0))


def _limited_line(conversion: Conversion, node: OnnxNode, x: Value, alpha: float, beta: float) -> str:
    stem = conversion.stem(node)
    terms = {name: conversion.constant(f"{stem}/{name}", np.array(value, np.float32))
             for name, value in (("alpha", alpha), ("beta", beta), ("zero", 0.0), ("one", 1.0))}
    line = conversion.emit(conversion.unique(f"{stem}/mul"), "Mul", (x.node, terms["alpha"]))
    line = conversion.emit(conversion.unique(f"{stem}/add"), "Add", (line, terms["beta"]))
    line = conversion.emit(conversion.unique(f"{stem}/Maximum"), "Maximum", (line, terms["zero"]))
    return conversion.emit(conversion.last_name(node, "/Minimum"), "Minimum", (line, terms["one"]))


_ARITHMETIC = {"Add": "Add", "Sub": "Sub", "Mul": "Mul", "Div": "RealDiv", "Min": "Minimum", "Max": "Maximum",
               "Sum": "Add"}


def arithmetic(conversion: Conversion, node: OnnxNode) -> None:
    """Add, Sub, Mul, Div, Min, Max, Sum of two or more operands, constants among them."""
    values = [conversion.value(node, index) for index in range(len(node.inputs))]
    if len(values) == 1:
        conversion.finish(node, values[0])
        return
    result = values[0]
    for index, other in enumerate(values[1:]):
        result = _two(conversion, node, result, other, index == len(values) - 2)
    conversion.finish(node, result)


def _two(conversion: Conversion, node: OnnxNode, first: Value, second: Value, final: bool) -> Value:
    op, stem = _ARITHMETIC[node.op], conversion.stem(node)
    name = conversion.last_name(node, f"/{op}") if final else conversion.unique(f"{stem}/{op}")
    shape = np.broadcast_shapes(first.shape, second.shape)
    if first.data is None and second.data is None:
        left, right = conversion.aligned([first, second])
        conversion.emit(name, op, (left.node, right.node))
        return Value(name, shape, left.layout, map_shape=left.map_shape, floor=_floor(op, left, right))
    turned = first.data is not None
    computed, constant = (second, first) if turned else (first, second)
    if len(shape) != len(computed.shape) or constant.data is None:
        computed = conversion.to_plain(computed)
    op, data = _constant_form(op, np.asarray(constant.data, np.float32), turned)
    if turned and op in ("Add", "Mul"):
        turned = op == "Add" and node.op == "Sub"
    source = computed.node
    if turned and node.op == "Sub":
        source = conversion.emit(conversion.unique(f"{stem}/Neg"), "Neg", (source,))
    other = conversion.constant(constant.node or f"{name}/constant", conversion.spread(data, computed), constant.pos)
    operands = (other, source) if turned and op == "RealDiv" else (source, other)
    conversion.emit(name, op, operands)
    return replace(computed, node=name, shape=shape, floor=None)


def _constant_form(op: str, data: Array, turned: bool) -> tuple[str, Array]:
    """x - c is x + (-c), c - x is -x + c, x / c is x * (1 / c): the forms that fold into layers."""
    if op == "Sub":
        return "Add", data if turned else -data
    if op == "RealDiv" and not turned:
        return "Mul", np.asarray(1 / data, np.float32)
    return op, data


def _floor(op: str, left: Value, right: Value) -> float | None:
    if left.floor is None or right.floor is None:
        return None
    if op == "Add":
        return left.floor + right.floor
    return 0.0 if op == "Mul" and min(left.floor, right.floor) >= 0 else None


def batch_normalization(conversion: Conversion, node: OnnxNode) -> None:
    """BatchNormalization with its four constant terms."""
    x = conversion.value(node, 0)
    if node.attrs.get("training_mode", 0) or len([name for name in node.outputs if name]) > 1:
        raise UnsupportedOp("batch normalisation in training form", where=node.where,
                            remedy="export the model for inference (model.eval())")
    terms = [np.asarray(conversion.data(node, index, "term"), np.float32) for index in range(1, 5)]
    channels = x.shape[1] if len(x.shape) > 1 else 0
    if any(term.shape != (channels,) for term in terms):
        raise GraphError("the terms do not fit the channels", where=node.where, got=[t.shape for t in terms],
                         expected=(channels,))
    epsilon = float(node.attrs.get("epsilon", 1e-5))
    if len(x.shape) == 4:
        x = conversion.to_nhwc(x)
        names = [conversion.constant(name, term) for name, term in zip(node.inputs[1:5], terms, strict=True)]
        name = conversion.last_name(node, "/FusedBatchNorm")
        conversion.emit(name, "FusedBatchNorm", (x.node, *names), data_format=b"NHWC", epsilon=epsilon,
                        is_training=False)
    else:
        scale = terms[0] / np.sqrt(terms[3] + np.float32(epsilon))
        offset = terms[1] - terms[2] * scale
        stem = conversion.stem(node)
        factor = conversion.constant(f"{stem}/scale", conversion.spread(scale, x))
        scaled = conversion.emit(conversion.unique(f"{stem}/mul"), "Mul", (x.node, factor))
        shift = conversion.constant(f"{stem}/offset", conversion.spread(offset, x))
        name = conversion.emit(conversion.last_name(node, "/add"), "Add", (scaled, shift))
    conversion.finish(node, replace(x, node=name, floor=None))


def dense(conversion: Conversion, node: OnnxNode) -> None:
    """Gemm and MatMul with constant weights; a flattened map permutes the weights' rows."""
    gemm = node.op == "Gemm"
    x = conversion.value(node, 0)
    weights = np.asarray(conversion.data(node, 1, "weight matrix"), np.float32)
    pos = conversion.value(node, 1).pos
    if gemm and node.attrs.get("transA", 0):
        raise UnsupportedOp("a transposed first operand", where=node.where, remedy="store the batch first")
    weights = weights.T if gemm and node.attrs.get("transB", 0) else weights
    if len(x.shape) != 2 or weights.ndim != 2 or weights.shape[0] != x.shape[1]:
        raise UnsupportedOp("a matrix product of other than (N, in) with (in, out)", where=node.where,
                            got=f"{x.shape} and {weights.shape}", remedy="flatten to (N, in) before it")
    alpha = float(node.attrs.get("alpha", 1.0)) if gemm else 1.0
    if alpha != 1.0:
        weights, pos = weights * np.float32(alpha), None
    if x.layout == FLAT:
        weights = conversion.spread(weights.T, x).T
    biased = gemm and conversion.optional(node, 2) is not None
    name = conversion.unique(f"{conversion.stem(node)}/MatMul") if biased else conversion.last_name(node, "/MatMul")
    constant = conversion.constant(node.inputs[1], weights, pos)
    conversion.emit(name, "MatMul", (x.node, constant), transpose_a=False, transpose_b=False)
    last = _dense_bias(conversion, node, name, weights.shape[1]) if biased else name
    conversion.finish(node, Value(last, (x.shape[0], weights.shape[1]), PLAIN))


def _dense_bias(conversion: Conversion, node: OnnxNode, source: str, outputs: int) -> str:
    bias, beta = np.asarray(conversion.data(node, 2, "bias"), np.float32), float(node.attrs.get("beta", 1.0))
    if bias.size not in (1, outputs) or bias.shape[-1:] not in ((), (1,), (outputs,)):
        raise UnsupportedOp("a bias that is not one value for each output", where=node.where, got=bias.shape)
    if beta == 1.0 and bias.size == outputs:
        return add_bias(conversion, node, source, 2)
    data = np.broadcast_to(bias.reshape(-1) * np.float32(beta), (outputs,))
    name = conversion.constant(node.inputs[2], data)
    return conversion.emit(conversion.last_name(node, "/BiasAdd"), "BiasAdd", (source, name), data_format=b"NHWC")


def softmax(conversion: Conversion, node: OnnxNode) -> None:
    """Softmax over the channels, or over everything behind the batch before opset 13."""
    x = conversion.value(node, 0)
    rank = len(x.shape)
    axis = int(node.attrs.get("axis", 1 if conversion.graph.opset < 13 else -1)) % rank
    last = 1 if x.layout == NHWC else rank - 1
    rest = math.prod(x.shape[axis + 1:]) == 1 if conversion.graph.opset < 13 else False
    if x.layout == FLAT:
        x = conversion.to_plain(x)
    elif axis != last and not (rest and rank == 4 and axis == 1):
        if rank == 4 and axis == 1:
            x = conversion.to_nhwc(x)
        else:
            raise UnsupportedOp("a softmax over another axis than the channels", where=node.where, got=axis)
    name = conversion.emit(conversion.last_name(node, "/Softmax"), "Softmax", (x.node,))
    conversion.finish(node, replace(x, node=name, floor=0.0))
