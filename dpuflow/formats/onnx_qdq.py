"""Quantized ONNX files: QuantizeLinear and DequantizeLinear pairs with power-of-two scales as FixNeurons.

AMD Quark's XINT8 and the vendor's older ONNX quantizers write this form. A scale 2**-p with zero
point 0 and int8 is the position p; anything else has no place on the DPU and is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.checks import POSITIONS
from dpuflow.formats.graphdef import TFNode, new_node
from dpuflow.formats.onnx_graph import OnnxNode
from dpuflow.formats.onnx_values import Conversion
from dpuflow.ir.graph import Array


def _position(conversion: Conversion, node: OnnxNode) -> int:
    scale = np.asarray(conversion.data(node, 1, "scale"), np.float64)
    if scale.size != 1:
        raise UnsupportedOp("one scale for each channel", where=node.where, got=f"{scale.size} scales",
                            remedy="quantize with one power-of-two scale for the whole tensor (XINT8)")
    value = float(scale.reshape(-1)[0])
    mantissa, exponent = math.frexp(value) if value > 0 and math.isfinite(value) else (0.0, 0)
    if mantissa != 0.5 or 1 - exponent not in POSITIONS:
        raise UnsupportedOp("the scale is no power of two", where=node.where, got=value,
                            remedy="quantize with power-of-two scales (Quark XINT8), or bring the float model")
    zero = conversion.optional_data(node, 2, "zero point")
    if zero is not None and np.any(zero):
        raise UnsupportedOp("a zero point that is not zero", where=node.where, got=int(zero.reshape(-1)[0]),
                            remedy="quantize symmetrically")
    return 1 - exponent


def _check_signed(conversion: Conversion, node: OnnxNode) -> None:
    zero = conversion.optional_data(node, 2, "zero point")
    if zero is None or zero.dtype != np.int8:
        raise UnsupportedOp("integers that are not signed with 8 bits", where=node.where,
                            got="uint8" if zero is None else zero.dtype, expected="int8",
                            remedy="quantize activations to int8 too")


def quantize_linear(conversion: Conversion, node: OnnxNode) -> None:
    """The first half of a pair: a FixNeuron behind a computed value, a position on a constant."""
    x, pos = conversion.value(node, 0), _position(conversion, node)
    _check_signed(conversion, node)
    if x.data is not None:
        conversion.finish(node, replace(x, pos=pos))
        return
    if x.pos == pos:
        conversion.finish(node, x)
        return
    name = conversion.unique(f"{x.node}/aquant")
    conversion.nodes.append(new_node(name, "FixNeuron", (x.node,), bit_width=8, method=1, mode=1, phase=1,
                                     quantize_pos=pos))
    conversion.finish(node, replace(x, node=name, pos=pos))


def dequantize_linear(conversion: Conversion, node: OnnxNode) -> None:
    """The second half: integers of a file become their value, a quantized value stays."""
    x, pos = conversion.value(node, 0), _position(conversion, node)
    if x.data is not None and x.data.dtype.kind in "iu":
        data, pos = _constant(node, x.data, pos)
        conversion.finish(node, replace(x, data=data, pos=pos))
        return
    if x.pos != pos:
        raise GraphError("a pair of Quantize and Dequantize with two scales", where=node.where, got=pos, expected=x.pos)
    conversion.finish(node, x)


def _constant(node: OnnxNode, ints: Array, pos: int) -> tuple[Array, int]:
    """Integers of a file and the position at which they fit 8 bits; a wide bias must end in zeros."""
    values = np.asarray(ints, np.float64) * 2.0**-pos
    largest = int(np.abs(np.asarray(ints, np.int64)).max(initial=0))
    while largest > 128 and pos > POSITIONS[0]:
        largest, pos = -(-largest // 2), pos - 1
    scaled = values * 2.0**pos
    if ints.dtype != np.int8 and np.any(scaled % 1.0 != 0):
        raise UnsupportedOp("a bias that 8 bits do not hold", where=node.where, got=str(ints.dtype), expected="int8",
                            remedy="quantize biases to int8 (Quark XINT8 does)")
    return np.asarray(values, np.float32), pos


# Operators whose results lie on the grid of their operand.
_COPIES = ("Reshape", "Squeeze", "Transpose", "MaxPool", "Pad", "StridedSlice", "ResizeNearestNeighbor", "Relu")


def carry_positions(nodes: Sequence[TFNode]) -> tuple[TFNode, ...]:
    """A FixNeuron behind every copying operator that reads a quantized tensor and has none of its own.

    The vendor's graphs have a position on every tensor; files with pairs leave out what changes nothing.
    """
    fixes = {node.name: node for node in nodes if node.op == "FixNeuron" and node.get("mode") == 1}
    fixed = {node.operands[0] for node in fixes.values()}
    rename: dict[str, str] = {}
    made: list[TFNode] = []
    for node in nodes:
        inputs = tuple(rename.get(name, name) for name in node.inputs)
        made.append(node.replace(inputs=inputs))
        if node.op in _COPIES and inputs[0] in fixes and node.name not in fixed:
            name = f"{node.name}/aquant"
            fix = fixes[inputs[0]].replace(name=name, inputs=(node.name,))
            made.append(fix)
            fixes[name], rename[node.name] = fix, name
    return tuple(made)
