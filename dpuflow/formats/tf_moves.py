"""TensorFlow operators that cut, turn and reduce tensors, on any axis but the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.graphdef import TFNode
from dpuflow.formats.tf_context import Importer
from dpuflow.formats.tf_recurrent import transpose as sequence_transpose
from dpuflow.ir.graph import Array, Node
from dpuflow.ops.movement import ReshapeAttrs
from dpuflow.ops.reduction import ReduceAttrs
from dpuflow.ops.slicing import SliceAttrs, TransposeAttrs

Range = tuple[int, int, int]


def _where(node: TFNode) -> str:
    return f"node '{node.name}' ({node.op})"


def _numbers(importer: Importer, node: TFNode, index: int, what: str) -> list[int]:
    return [int(value) for value in importer.constant(node, index, what).reshape(-1)]


def transpose(importer: Importer, node: TFNode) -> None:
    """A transpose that leaves the batch first; between batch and time it is a matter of the recurrent layers."""
    order = _numbers(importer, node, 1, "order of axes")
    if node.operands[0] in importer.views or order == [1, 0, 2]:
        sequence_transpose(importer, node)
        return
    if not order or order[0] != 0:
        raise UnsupportedOp("a transpose that moves the batch", where=_where(node), got=order)
    importer.emit(node, "transpose", (importer.made(node.operands[0]),), TransposeAttrs(tuple(order)))


def _sliced(importer: Importer, node: TFNode, x: Node, ranges: Iterable[Range], batch: Range) -> None:
    if batch != (0, x.shape[0], 1):
        raise UnsupportedOp("a slice of the batch", where=_where(node), got=batch)
    importer.emit(node, "slice", (x,), SliceAttrs(tuple(ranges)))


def strided_slice(importer: Importer, node: TFNode) -> None:
    """A part of a feature map; what is cut out of a shape is computed where it is read."""
    if importer.static_value(node.name) is not None:
        return
    x = importer.made(node.operands[0])
    masks = {key: int(node.get(f"{key}_mask", 0)) for key in ("begin", "end", "shrink_axis", "new_axis", "ellipsis")}
    if masks["new_axis"] or masks["ellipsis"] or masks["shrink_axis"]:
        raise UnsupportedOp("a slice that changes the number of axes", where=_where(node),
                            remedy="slice with begin and end only, then reshape")
    begin, end, strides = (_numbers(importer, node, at, "bounds") for at in (1, 2, 3))
    if not len(begin) == len(end) == len(strides) <= len(x.shape):
        raise GraphError("bounds and axes differ in number", where=_where(node), got=(begin, end, strides))
    ranges = []
    for axis, size in enumerate(x.shape):
        if axis >= len(begin):
            ranges.append((0, size, 1))
            continue
        first = None if _has(masks["begin"], axis) else begin[axis]
        last = None if _has(masks["end"], axis) else end[axis]
        ranges.append(slice(first, last, strides[axis]).indices(size))
    _sliced(importer, node, x, ranges[1:], ranges[0])


def _has(mask: int, axis: int) -> bool:
    return bool(mask & (1 << axis))


def slice_(importer: Importer, node: TFNode) -> None:
    """Slice(x, begin, size); a size of -1 is all that is left."""
    x = importer.made(node.operands[0])
    begin, sizes = (_numbers(importer, node, at, "bounds") for at in (1, 2))
    if not len(begin) == len(sizes) == len(x.shape):
        raise GraphError("bounds and axes differ in number", where=_where(node), got=(begin, sizes))
    ranges = [(first, length if size == -1 else first + size, 1)
              for first, size, length in zip(begin, sizes, x.shape, strict=True)]
    _sliced(importer, node, x, ranges[1:], (0, x.shape[0], 1) if begin[0] == 0 and sizes[0] in (-1, x.shape[0])
            else ranges[0])


def reduction(kind: str) -> Callable[[Importer, TFNode], None]:
    """Sum, Max, Prod over constant axes."""
    def convert(importer: Importer, node: TFNode) -> None:
        if importer.static_value(node.name) is not None:  # of a shape: computed where it is read
            return
        x = importer.made(node.operands[0])
        reduce_over(importer, node, x, importer.constant(node, 1, "list of axes"), kind)
    return convert


def reduce_over(importer: Importer, node: TFNode, x: Node, axes: Array, kind: str) -> None:
    """Emit a reduction over any axes but the batch."""
    places = tuple(sorted({int(axis) % len(x.shape) for axis in axes.reshape(-1)}))
    if not places or places[0] == 0:
        raise UnsupportedOp("a reduction over the batch", where=_where(node), got=axes.tolist())
    attrs = ReduceAttrs(places, bool(node.get("keep_dims", False)), kind)
    importer.emit(node, "reduce_max" if kind == "max" else "reduce", (x,), attrs)


def depth_and_space(importer: Importer, node: TFNode) -> None:
    """DepthToSpace and SpaceToDepth: reshape, transpose, reshape."""
    (x,) = importer.operands(node)
    block = int(node.get("block_size", 0))
    if node.get("data_format", b"NHWC") != b"NHWC" or block < 1 or len(x.shape) != 4:
        raise UnsupportedOp("an unsupported form", where=_where(node), expected="NHWC maps and a block of 1 or more")
    _, h, w, c = x.shape
    if node.op == "DepthToSpace":
        fits = c % (block * block) == 0
        parts, order = (h, w, block, block, c // (block * block)), (0, 1, 3, 2, 4, 5)
        image = (h * block, w * block, c // (block * block))
    else:
        fits = h % block == 0 and w % block == 0
        parts, order = (h // block, block, w // block, block, c), (0, 1, 3, 2, 4, 5)
        image = (h // block, w // block, c * block * block)
    if not fits:
        raise GraphError("the block does not fit the map", where=_where(node), got=block, expected=x.shape)
    split = _step(importer, node, "split", "reshape", x, ReshapeAttrs(parts))
    turned = _step(importer, node, "turn", "transpose", split, TransposeAttrs(order))
    importer.emit(node, "reshape", (turned,), ReshapeAttrs(image))


def _step(importer: Importer, node: TFNode, suffix: str, op: str, x: Node, attrs: Any) -> Node:
    name = f"{node.name}/{suffix}"
    while name in importer.nodes or name in importer.graph.by_name:  # a name of the file itself
        name += "_"
    importer.emit(node.replace(name=name), op, (x,), attrs)
    return importer.nodes[name]
