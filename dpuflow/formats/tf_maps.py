"""TensorFlow's operators that change a map's size: transposed and dilated convolution, resizing, axes."""

from __future__ import annotations

from collections.abc import Callable

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.checks import checked_padding
from dpuflow.formats.graphdef import TFNode
from dpuflow.formats.tf_context import Importer
from dpuflow.ir.graph import Shape
from dpuflow.ops.base import Padding, same_padding
from dpuflow.ops.conv import ConvAttrs
from dpuflow.ops.movement import ReshapeAttrs
from dpuflow.ops.resize import ResizeAttrs
from dpuflow.ops.transposed import TransposedAttrs


def _where(node: TFNode) -> str:
    return f"node '{node.name}' ({node.op})"


def _sizes(importer: Importer, node: TFNode, index: int, count: int, what: str) -> tuple[int, ...]:
    """A constant operand as a tuple of integers."""
    values = importer.constant(node, index, what).reshape(-1).tolist()
    if len(values) != count:
        raise GraphError(f"the {what} has {len(values)} entries", where=_where(node), expected=count)
    return tuple(int(value) for value in values)


def transposed_attrs(node: TFNode, x: Shape, weights: Shape, size: tuple[int, int] | None = None) -> TransposedAttrs:
    """Stride, padding and size of a transposed convolution; without a size the natural one.

    Natural is the input's size times the stride under SAME, and what the kernel just fills under VALID.
    """
    strides = node.get("strides", (1, 1, 1, 1))
    if node.get("data_format", b"NHWC") != b"NHWC" or tuple(node.get("dilations", (1, 1, 1, 1))) != (1, 1, 1, 1):
        raise UnsupportedOp("an unsupported form of transposed convolution", where=_where(node),
                            expected="NHWC without dilation")
    if len(strides) != 4 or min(strides) < 1 or len(weights) != 4 or len(x) != 4:
        raise GraphError("unsupported strides, weights or input", where=_where(node),
                         got=f"{strides}, {weights}, {x}")
    stride, kernel = (int(strides[1]), int(strides[2])), (weights[0], weights[1])
    same = node.get("padding", b"VALID") == b"SAME"
    if size is None:
        rows, columns = ((old - 1) * step + (step if same else k)
                         for old, step, k in zip(x[1:3], stride, kernel, strict=True))
        size = rows, columns
    padding = checked_padding(same_padding(size, kernel, stride), _where(node)) if same else Padding()
    return TransposedAttrs(size, stride, padding)


def transposed_conv(importer: Importer, node: TFNode) -> None:
    """Conv2DBackpropInput(shape, weights, x); the shape may be computed from the input's."""
    shape = _sizes(importer, node, 0, 4, "output shape")
    weights, x = importer.made(node.operands[1]), importer.made(node.operands[2])
    importer.emit(node, "transposed_conv2d", (x, weights),
                  transposed_attrs(node, x.shape, weights.shape, (shape[1], shape[2])))


def space_to_batch(importer: Importer, node: TFNode) -> None:
    """Nothing by itself: the convolution that reads it becomes a dilated one."""
    importer.alias[node.name] = importer.made(node.operands[0]).name


def _dilated_part(importer: Importer, name: str) -> TFNode | None:
    """The SpaceToBatchND that a node is, seen through Identities."""
    node = importer.graph.node(name)
    return node if node.op == "SpaceToBatchND" else None


def dilation_of(importer: Importer, conv: TFNode) -> tuple[tuple[int, int], Padding] | None:
    """Dilation and padding of a convolution between SpaceToBatchND and BatchToSpaceND; None for others."""
    before = _dilated_part(importer, conv.operands[0])
    if before is None:
        return None
    readers = [importer.graph.node(name) for name in importer.graph.users[conv.name]]
    if len(readers) != 1 or readers[0].op != "BatchToSpaceND":
        raise UnsupportedOp("SpaceToBatchND without BatchToSpaceND behind one convolution", where=_where(before),
                            remedy="give the convolution a dilation instead")
    after = readers[0]
    block, back = (_sizes(importer, part, 1, 2, "block shape") for part in (before, after))
    pads, crops = (_sizes(importer, part, 2, 4, "list of pads") for part in (before, after))
    if block != back or conv.get("padding", b"VALID") != b"VALID" or min(block) < 1:
        raise UnsupportedOp("an unsupported form of dilated convolution", where=_where(conv),
                            expected="VALID between equal blocks")
    left = [pad - crop for pad, crop in zip(pads, crops, strict=True)]
    return (block[0], block[1]), checked_padding(left, _where(before))


def dilated(attrs: ConvAttrs, dilation: tuple[tuple[int, int], Padding] | None) -> ConvAttrs:
    """A convolution's attributes with the dilation around it."""
    if dilation is None:
        return attrs
    if attrs.stride != (1, 1) or attrs.dilation != (1, 1):
        raise UnsupportedOp("a dilated convolution with a stride", got=attrs.stride, expected="stride 1")
    return ConvAttrs(attrs.stride, dilation[1], dilation[0], attrs.groups)


def batch_to_space(importer: Importer, node: TFNode) -> None:
    """The dilated convolution has done it; GraphError behind anything else."""
    conv = importer.graph.node(node.operands[0])
    if conv.op not in ("Conv2D", "DepthwiseConv2dNative") or _dilated_part(importer, conv.operands[0]) is None:
        raise UnsupportedOp("BatchToSpaceND without a convolution and SpaceToBatchND before it", where=_where(node),
                            remedy="give the convolution a dilation instead")
    importer.alias[node.name] = importer.made(conv.name).name


def resize(op: str) -> Callable[[Importer, TFNode], None]:
    """ResizeBilinear and ResizeNearestNeighbor to a constant size."""
    def convert(importer: Importer, node: TFNode) -> None:
        height, width = _sizes(importer, node, 1, 2, "size")
        attrs = ResizeAttrs((height, width), bool(node.get("align_corners", False)),
                            bool(node.get("half_pixel_centers", False)))
        importer.emit(node, op, (importer.made(node.operands[0]),), attrs)
    return convert


def expand_dims(importer: Importer, node: TFNode) -> None:
    """A new axis of size 1, never in front of the batch."""
    x = importer.made(node.operands[0])
    axis = int(importer.constant(node, 1, "axis").reshape(-1)[0])
    rank = len(x.shape) + 1
    if not -rank <= axis < rank or axis % rank == 0:
        raise UnsupportedOp("an axis in front of the batch", where=_where(node), got=axis, expected=f"1 to {rank - 1}")
    at = axis % rank
    importer.emit(node, "reshape", (x,), ReshapeAttrs((*x.shape[1:at], 1, *x.shape[at:])))
