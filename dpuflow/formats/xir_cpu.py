"""XIR's operators that the CPU computes: reductions, resizing, slices, gates (xmodel specification, section 4)."""

from __future__ import annotations

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.checks import checked_axis
from dpuflow.formats.xir import XOp
from dpuflow.formats.xir_importer import Converter, XirImporter
from dpuflow.formats.xir_operands import fix_of, reduced_axes, where_of
from dpuflow.ops.elementwise import EltwiseAttrs
from dpuflow.ops.movement import ReshapeAttrs
from dpuflow.ops.normalization import BatchNormAttrs
from dpuflow.ops.reduction import ArgMaxAttrs, ReduceAttrs
from dpuflow.ops.resize import ResizeAttrs
from dpuflow.ops.slicing import SliceAttrs, TransposeAttrs

_RESIZES = {"NEAREST": "resize_nearest", "BILINEAR": "resize_bilinear"}


def two_by_two(kind: str) -> Converter:
    """A float operator of two operands, applied from left to right to more."""
    def convert(importer: XirImporter, op: XOp) -> None:
        first, *rest = importer.inputs(op)
        for at, other in enumerate(rest[:-1]):
            first = importer.emit_inner(op, f"/{at}", kind, (first, other))
            importer.nodes[first.name] = first = first.replace(fix=None)
        importer.emit(op, kind, (first, *rest[-1:]))
    return convert


def reduction(kind: str) -> Converter:
    """A maximum, sum or product over axes."""
    def convert(importer: XirImporter, op: XOp) -> None:
        x = importer.required(op)
        attrs = ReduceAttrs(reduced_axes(op, x), bool(op.get("keep_dims", False)), kind)
        importer.emit(op, "reduce_max" if kind == "max" else "reduce", (x,), attrs)
    return convert


def arg_max(importer: XirImporter, op: XOp) -> None:
    """The place of the largest value; the fixed-point form is that number as an integer."""
    x = importer.required(op)
    attrs = ArgMaxAttrs(checked_axis(int(op.get("axis", -1)), len(x.shape), where_of(op)))
    if fix_of(op) is None:
        importer.emit(op, "arg_max", (x,), attrs)
        return
    inner = importer.made(op, importer.free_name(f"{op.name}/float"), "arg_max", (x,), attrs)
    importer.nodes[inner.name] = inner
    importer.emit(op, "float2fix", (inner,))


def resize(importer: XirImporter, op: XOp) -> None:
    """To the size that the file records."""
    if op.get("mode") not in _RESIZES or len(op.tensor.dims) != 4:
        raise UnsupportedOp("unsupported resizing", where=where_of(op), got=op.get("mode"),
                            expected=", ".join(_RESIZES))
    attrs = ResizeAttrs((op.tensor.dims[1], op.tensor.dims[2]), bool(op.get("align_corners", False)),
                        bool(op.get("half_pixel_centers", False)))
    importer.emit(op, _RESIZES[op.get("mode")], (importer.required(op),), attrs)


def transpose(importer: XirImporter, op: XOp) -> None:
    """Another order of axes."""
    importer.emit(op, "transpose", (importer.required(op),), TransposeAttrs(tuple(map(int, op.get("order", ())))))


def strided_slice(importer: XirImporter, op: XOp) -> None:
    """A part of every axis; ends are cut to the axis, negative ones count from behind."""
    x = importer.required(op)
    begin, end, step = (tuple(map(int, op.get(key, ()))) for key in ("begin", "end", "strides"))
    if not len(begin) == len(end) == len(step) == len(x.shape) or min(step, default=1) < 1:
        raise UnsupportedOp("a slice of this form", where=where_of(op), got=f"{begin}, {end}, {step}",
                            expected=f"begin, end and strides > 0 for {len(x.shape)} axes")
    ranges = tuple((max(first + size, 0) if first < 0 else first, min(last + size if last < 0 else last, size), by)
                   for first, last, by, size in zip(begin, end, step, x.shape, strict=True))
    if ranges[0][0] != 0 or ranges[0][2] != 1:
        raise UnsupportedOp("a slice of the batch", where=where_of(op), got=ranges[0])
    attrs = SliceAttrs(ranges[1:])
    if len(op.tensor.dims) == len(x.shape):
        importer.emit(op, "slice", (x,), attrs)
        return
    inner = importer.emit_inner(op, "/slice", "slice", (x,), attrs)
    importer.emit(op, "reshape", (inner,), ReshapeAttrs(tuple(op.tensor.dims[1:])))


def prelu(importer: XirImporter, op: XOp) -> None:
    """A slope for each channel."""
    importer.emit(op, "prelu", (importer.required(op), importer.required(op, "weight")))


def per_channel(importer: XirImporter, op: XOp) -> None:
    """``depthwise-fix``: an elementwise operator of a map and one value for each channel."""
    kinds = {"MUL": "mul", "ADD": "add"}
    kind = op.get("type", "MUL")
    if kind not in kinds:
        raise UnsupportedOp("unsupported type", where=where_of(op), got=kind, expected=", ".join(kinds))
    importer.emit(op, kinds[kind], importer.inputs(op), EltwiseAttrs())


def batch_norm(importer: XirImporter, op: XOp) -> None:
    """Batch normalisation over the last axis, in float."""
    x = importer.required(op)
    if checked_axis(int(op.get("axis", -1)), len(x.shape), where_of(op)) != len(x.shape) - 1:
        raise UnsupportedOp("batch normalisation over another axis than the last", where=where_of(op),
                            got=op.get("axis"))
    terms = (importer.required(op, key) for key in ("gamma", "beta", "moving_mean", "moving_var"))
    importer.emit(op, "batch_norm", (x, *terms), BatchNormAttrs(float(op.get("epsilon", 0.0))))


def scale(importer: XirImporter, op: XOp) -> None:
    """Times one tensor, plus another."""
    x, factor, bias = importer.required(op), importer.required(op, "scale"), importer.operand(op, "bias")
    if factor.shape and x.shape and factor.shape[-1] not in (1, x.shape[-1]):
        raise GraphError("the scale does not fit the last axis", where=where_of(op), expected=x.shape,
                         got=factor.shape)
    if bias is None:
        importer.emit(op, "mul", (x, factor), EltwiseAttrs())
        return
    inner = importer.made(op, importer.free_name(f"{op.name}/mul"), "mul", (x, factor), EltwiseAttrs())
    importer.nodes[inner.name] = inner
    importer.emit(op, "add", (inner, bias), EltwiseAttrs())
