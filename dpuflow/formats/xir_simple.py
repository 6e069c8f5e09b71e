"""XIR's inputs, constants, roundings, elementwise operators and movements (xmodel specification, section 4)."""

from __future__ import annotations

import math

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.checks import checked_axis, checked_pairs, checked_position
from dpuflow.formats.xir import XOp
from dpuflow.formats.xir_importer import Converter, XirImporter
from dpuflow.formats.xir_operands import constant_array, fix_of, nonlinear_of, stated_fix, where_of
from dpuflow.ir.graph import Node, const
from dpuflow.ops.activation import LEAKY_FACTOR, LEAKY_SHIFT, LeakyAttrs
from dpuflow.ops.elementwise import EltwiseAttrs, FixAttrs
from dpuflow.ops.movement import PAD_MODES, ConcatAttrs, PadAttrs, ReshapeAttrs
from dpuflow.ops.recurrent import LstmAttrs

_ROUNDINGS = {"DPU_ROUND": "half_up", "STD_ROUND": "half_away", "PY3_ROUND": "half_even"}
_DPU_SLOPE = LEAKY_FACTOR / (1 << LEAKY_SHIFT)


def data(importer: XirImporter, op: XOp) -> None:
    """An input of the network."""
    if not op.tensor.dims or min(op.tensor.dims) < 1:
        raise GraphError("an input without a static shape", where=where_of(op), got=op.tensor.dims)
    importer.nodes[op.name] = Node(op.name, "input", shape=(1, *op.tensor.dims[1:]), fix=fix_of(op))


def constant(importer: XirImporter, op: XOp) -> None:
    """A constant, in the order that its readers want."""
    array = constant_array(op, importer.blobs)
    if op.name in importer.layouts:
        array = importer.layouts[op.name].of(array)
    importer.nodes[op.name] = const(op.name, array, fix_of(op))


def alias(importer: XirImporter, op: XOp) -> None:
    """A copy between memories, or the way out to float: the same values under another name."""
    source = importer.required(op)
    stated = fix_of(op) if op.type != "fix2float" else stated_fix(op)
    if op.tensor.dims[1:] != source.shape[1:] or (stated is not None and stated != source.fix):
        raise GraphError("a copy changes its tensor", where=where_of(op), got=f"{op.tensor.dims} {stated}",
                         expected=f"{source.shape} {source.fix}")
    importer.alias[op.name] = source.name


def fix(importer: XirImporter, op: XOp) -> None:
    """A tensor rounded onto its 8-bit grid."""
    source = importer.required(op)
    rounding = _ROUNDINGS.get(op.get("round_mode", "DPU_ROUND"))
    if op.get("if_signed", True) is not True or rounding is None:
        raise UnsupportedOp("an unsupported rounding", where=where_of(op), expected="signed; " + ", ".join(_ROUNDINGS),
                            got=f"{op.get('round_mode')}, if_signed {op.get('if_signed')}")
    if rounding != "half_up" and not importer.is_constant(source):
        raise UnsupportedOp("an activation that is not rounded half up", where=where_of(op), expected="DPU_ROUND",
                            got=op.get("round_mode"))
    fixed = checked_position(op.get("fix_point"), op.get("bit_width", 8), where_of(op))
    importer.emit(op, "fix", (source,), FixAttrs(fixed.pos, fixed.bits, rounding))


def unary(kind: str) -> Converter:
    """An operator of one operand without attributes."""
    def convert(importer: XirImporter, op: XOp) -> None:
        importer.emit(op, kind, (importer.required(op),))
    return convert


def float_eltwise(kind: str) -> Converter:
    """A sum or product in float."""
    def convert(importer: XirImporter, op: XOp) -> None:
        importer.emit(op, kind, importer.inputs(op), EltwiseAttrs())
    return convert


def eltwise(importer: XirImporter, op: XOp) -> None:
    """The DPU's own sum or product."""
    kinds = {"ADD": "add", "MUL": "mul"}
    kind = op.get("type", "ADD")
    if kind not in kinds:
        raise UnsupportedOp("unsupported eltwise type", where=where_of(op), got=kind, expected="ADD or MUL")
    importer.emit(op, kinds[kind], importer.inputs(op), EltwiseAttrs(nonlinear_of(op)))


def leaky(importer: XirImporter, op: XOp) -> None:
    """Leaky relu; 0.1 in a file yet to be compiled is the DPU's 26/256 (arithmetic specification, section 5)."""
    alpha = float(op.get("alpha"))
    if importer.simulated and math.isclose(alpha, 0.1, abs_tol=1e-5):
        alpha = _DPU_SLOPE
    importer.emit(op, "leaky_relu", (importer.required(op),), LeakyAttrs(alpha))


def reshape(importer: XirImporter, op: XOp) -> None:
    """Reshape, flatten and squeeze: the file records the shape that they yield."""
    importer.emit(op, "reshape", (importer.required(op),), ReshapeAttrs(tuple(op.tensor.dims[1:])))


def concat(importer: XirImporter, op: XOp) -> None:
    """Concatenation along any axis but the batch."""
    axis = checked_axis(int(op.get("axis", -1)), len(op.tensor.dims), where_of(op))
    importer.emit(op, "concat", importer.inputs(op), ConcatAttrs(axis))


def _pad_value(op: XOp) -> float:
    """The padded constant in real units; a fixed-point operator states it as an integer at its position."""
    values = set(op.get("constant_values") or (0,))
    if len(values) > 1:
        raise UnsupportedOp("padding with several values", where=where_of(op), got=sorted(values))
    fixed, value = fix_of(op), float(values.pop())
    return value * 2.0 ** -fixed.pos if fixed else value


def pad(importer: XirImporter, op: XOp) -> None:
    """Padding with a constant, or with the map mirrored."""
    values, mode = op.get("paddings", ()), str(op.get("mode", "CONSTANT")).lower()
    if mode not in PAD_MODES:
        raise UnsupportedOp("unsupported padding", where=where_of(op), got=mode, expected=", ".join(PAD_MODES))
    pads = checked_pairs(((values[at], values[at + 1]) for at in range(0, len(values), 2)), where_of(op))
    importer.emit(op, "pad", (importer.required(op),), PadAttrs(pads, mode, _pad_value(op)))


def softmax(importer: XirImporter, op: XOp) -> None:
    """Softmax over the last axis."""
    x = importer.required(op)
    if checked_axis(int(op.get("axis", -1)), len(x.shape), where_of(op)) != len(x.shape) - 1:
        raise UnsupportedOp("a softmax over another axis than the last", where=where_of(op), got=op.get("axis"))
    importer.emit(op, "softmax", (x,))


def lstm(importer: XirImporter, op: XOp) -> None:
    """One direction of an LSTM layer, as this library's compiler writes it."""
    operands = [importer.required(op, arg) for arg in ("input", "kernel", "recurrent", "bias")]
    importer.emit(op, "lstm", operands, LstmAttrs(bool(op.get("reverse", False))))
