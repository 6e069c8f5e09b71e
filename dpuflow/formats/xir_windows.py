"""XIR's convolutions, dense layers and pools (xmodel specification, sections 3 and 4)."""

from __future__ import annotations

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.xir import XOp
from dpuflow.formats.xir_importer import Converter, XirImporter
from dpuflow.formats.xir_layouts import OHWI_TO_HWIO, OUT_IN_TO_IN_OUT, Axes
from dpuflow.formats.xir_operands import nonlinear_of, padding_of, pair_of, where_of
from dpuflow.ir.graph import Node
from dpuflow.ops.base import Padding
from dpuflow.ops.conv import ConvAttrs, DenseAttrs
from dpuflow.ops.movement import PadAttrs, ReshapeAttrs
from dpuflow.ops.pool import MeanAttrs, PoolAttrs


def _bias(importer: XirImporter, op: XOp) -> list[Node]:
    bias = importer.operand(op, "bias")
    return [bias] if bias else []


def weights_of(importer: XirImporter, op: XOp, arg: str, axes: Axes) -> Node:
    """Weights in this library's axis order; GraphError if they are no constant of that rank."""
    node = importer.required(op, arg)
    if len(node.shape) != len(axes) or not importer.is_constant(node):
        raise GraphError(f"the weights are not a {len(axes)}-D constant", where=where_of(op), got=node.shape)
    return importer.in_order(node, axes)


def conv(kind: str) -> Converter:
    """A convolution of the given kind of node."""
    def convert(importer: XirImporter, op: XOp) -> None:
        x, weights = importer.required(op), weights_of(importer, op, "weights", OHWI_TO_HWIO)
        kernel, stride = (weights.shape[0], weights.shape[1]), pair_of(op, "stride")
        dilation = pair_of(op, "dilation", (1, 1))
        stated = pair_of(op, "kernel")
        if stated != kernel:
            raise GraphError("kernel and weights differ", where=where_of(op), expected=kernel, got=stated)
        groups = int(op.get("group", 1)) if kind == "conv2d" else 1
        attrs = ConvAttrs(stride, padding_of(op, x, kernel, stride, dilation), dilation, groups, nonlinear_of(op))
        importer.emit(op, kind, (x, weights, *_bias(importer, op)), attrs)
    return convert


def _two_dimensional(importer: XirImporter, op: XOp, x: Node) -> Node:
    if len(x.shape) == 2:
        return x
    count = 1
    for size in x.shape[1:]:
        count *= size
    return importer.emit_inner(op, "/flat", "reshape", (x,), ReshapeAttrs((count,)))


def matmul(importer: XirImporter, op: XOp) -> None:
    """A dense layer: weights (in, out), or (out, in) with transpose_b."""
    operands = op.args.get("input", ())
    if len(operands) != 2 or op.get("transpose_a", False):
        raise UnsupportedOp("a matmul of this form", where=where_of(op), got=f"{len(operands)} operands, transpose_a "
                            f"{op.get('transpose_a')}", expected="features and weights, features not transposed")
    x, weights = importer.inputs(op)
    if op.get("transpose_b", False):
        if len(weights.shape) != 2 or not importer.is_constant(weights):
            raise UnsupportedOp("a matmul of two computed tensors", where=where_of(op), expected="constant weights")
        weights = importer.in_order(weights, OUT_IN_TO_IN_OUT)
    importer.emit(op, "dense", (x, weights, *_bias(importer, op)), DenseAttrs())


def inner_product(importer: XirImporter, op: XOp) -> None:
    """A dense layer over everything behind the batch; weights (out, in)."""
    if op.get("axis", 1) != 1:
        raise UnsupportedOp("an inner product over another axis than 1", where=where_of(op), got=op.get("axis"))
    weights = weights_of(importer, op, "weights", OUT_IN_TO_IN_OUT)
    x = _two_dimensional(importer, op, importer.required(op))
    importer.emit(op, "dense", (x, weights, *_bias(importer, op)), DenseAttrs())


def pool_fix(importer: XirImporter, op: XOp) -> None:
    """The DPU's own pool."""
    x, kernel, stride = importer.required(op), pair_of(op, "kernel"), pair_of(op, "stride")
    kinds = {"MAX": "max_pool", "AVG": "avg_pool"}
    if op.get("type") not in kinds:
        raise UnsupportedOp("unsupported pool", where=where_of(op), got=op.get("type"), expected="MAX or AVG")
    importer.emit(op, kinds[op.get("type")], (x,), PoolAttrs(kernel, stride, padding_of(op, x, kernel, stride)))


def _window(op: XOp, x: Node) -> tuple[tuple[int, int], tuple[int, int], Padding]:
    if op.get("global", False):
        return (x.shape[1], x.shape[2]), (1, 1), Padding()
    kernel, stride = pair_of(op, "kernel"), pair_of(op, "stride")
    return kernel, stride, padding_of(op, x, kernel, stride)


def float_pool(kind: str) -> Converter:
    """A pool in float.

    In a file that is yet to be compiled an average stands for the DPU's, which divides by the whole
    kernel. In one that is compiled it runs as it is: with counted padding as a pad and a plain pool.
    """
    def convert(importer: XirImporter, op: XOp) -> None:
        x = importer.required(op)
        if len(x.shape) != 4:
            raise GraphError("a pool of a tensor that is no map", where=where_of(op), got=x.shape)
        kernel, stride, padding = _window(op, x)
        counted = kind == "avg_pool" and any(padding) and op.get("count_include_pad", True)
        if counted and not importer.simulated:
            top, bottom, left, right = padding
            pads = PadAttrs(((0, 0), (top, bottom), (left, right), (0, 0)))
            x, padding = importer.emit_inner(op, "/pad", "pad", (x,), pads), Padding()
        importer.emit(op, kind, (x,), PoolAttrs(kernel, stride, padding))
    return convert


def mean(importer: XirImporter, op: XOp) -> None:
    """The mean over height and width."""
    x = importer.required(op)
    if sorted(int(axis) % len(x.shape) for axis in op.get("axis", ())) != [1, 2] or len(x.shape) != 4:
        raise UnsupportedOp("a mean over other axes than height and width", where=where_of(op), got=op.get("axis"))
    importer.emit(op, "mean", (x,), MeanAttrs(bool(op.get("keep_dims", False))))
