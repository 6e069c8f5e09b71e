"""ONNX operators that move values: reshapes, transposes, slices, concatenation, padding, reductions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.checks import MAX_PAD
from dpuflow.formats.onnx_graph import OnnxNode
from dpuflow.formats.onnx_static import axes_of, slice_terms
from dpuflow.formats.onnx_values import FLAT, NHWC, PLAIN, TO_NCHW, TO_NHWC, Conversion, Value
from dpuflow.formats.tf_values import INT32

_HELD = {NHWC: TO_NHWC}  # for a layout: which ONNX axis stands at each place


def held_axis(value: Value, axis: int) -> int:
    """The TensorFlow axis of an ONNX axis."""
    axis %= len(value.shape)
    return _HELD[value.layout].index(axis) if value.layout in _HELD else axis


def _target(node: OnnxNode, x: Value, sizes: Sequence[int]) -> tuple[int, ...]:
    """The new shape with 0 and -1 resolved; the batch must stay what it is."""
    total = math.prod(x.shape)
    if not node.attrs.get("allowzero", 0):
        sizes = [x.shape[at] if size == 0 and at < len(x.shape) else size for at, size in enumerate(sizes)]
    known = math.prod(size for size in sizes if size != -1)
    if list(sizes).count(-1) > 1 or min(sizes, default=-1) < -1 or known < 1 or total % known:
        raise GraphError("an impossible shape", where=node.where, got=tuple(sizes), expected=f"{total} values")
    shape = tuple(total // known if size == -1 else int(size) for size in sizes)
    if math.prod(shape) != total:
        raise GraphError("an impossible shape", where=node.where, got=shape, expected=f"{total} values")
    if not shape or shape[0] != x.shape[0]:
        raise UnsupportedOp("a reshape that does not keep the batch", where=node.where, got=shape,
                            expected=f"({x.shape[0]}, ...)")
    return shape


def reshape(conversion: Conversion, node: OnnxNode) -> None:
    """Reshape to constant sizes."""
    x = conversion.value(node, 0)
    given = node.attrs.get("shape")
    sizes = given if given is not None else conversion.data(node, 1, "new shape").reshape(-1)
    _reshaped(conversion, node, x, _target(node, x, [int(size) for size in sizes]))


def flatten(conversion: Conversion, node: OnnxNode) -> None:
    """Flatten behind the batch."""
    x = conversion.value(node, 0)
    axis = int(node.attrs.get("axis", 1)) % max(len(x.shape), 1)
    if axis != 1:
        raise UnsupportedOp("a flatten that mixes the batch in", where=node.where, got=axis, expected=1)
    _reshaped(conversion, node, x, (x.shape[0], math.prod(x.shape[1:])))


def squeeze(conversion: Conversion, node: OnnxNode) -> None:
    """Squeeze: axes of size 1 go."""
    x = conversion.value(node, 0)
    axes = axes_of(node, [None, conversion.optional_data(node, 1, "list of axes")])
    rank = len(x.shape)
    gone = {axis % rank for axis in axes} if axes is not None else {
        axis for axis in range(1, rank) if x.shape[axis] == 1}
    if 0 in gone or any(x.shape[axis] != 1 for axis in gone):
        raise GraphError("cannot squeeze these axes", where=node.where, got=sorted(gone))
    _reshaped(conversion, node, x, tuple(size for axis, size in enumerate(x.shape) if axis not in gone))


def unsqueeze(conversion: Conversion, node: OnnxNode) -> None:
    """Unsqueeze: axes of size 1 come."""
    x = conversion.value(node, 0)
    axes = axes_of(node, [None, conversion.optional_data(node, 1, "list of axes")]) or ()
    shape = list(x.shape)
    for axis in sorted(axis % (len(x.shape) + len(axes)) for axis in axes):
        shape.insert(axis, 1)
    if shape[0] != x.shape[0]:
        raise UnsupportedOp("an axis before the batch", where=node.where, got=axes)
    _reshaped(conversion, node, x, tuple(shape))


def _reshaped(conversion: Conversion, node: OnnxNode, x: Value, shape: tuple[int, ...]) -> None:
    """Reshape a value, its order of axes minded: a map that is flattened stays in its own order."""
    if shape == x.shape:
        conversion.finish(node, x)
        return
    layout, map_shape = PLAIN, None
    if len(x.shape) == 4 and x.layout == NHWC:
        c, h, w = x.shape[1:]
        free = h * w == 1 or c == 1  # both orders are the same
        if len(shape) == 2 and not free:
            layout, map_shape = FLAT, (c, h, w)
        elif len(shape) == 4 and free and (shape[1] == 1 or shape[2] * shape[3] == 1):
            layout = NHWC
        elif not free:
            x = conversion.to_plain(x)
    elif x.layout == FLAT and x.map_shape != tuple(shape[1:]):
        x = conversion.to_plain(x)
    elif x.layout == FLAT or (len(shape) == 4 and (shape[1] == 1 or shape[2] * shape[3] == 1)):
        layout = NHWC
    held = (shape[2], shape[3], shape[1]) if layout == NHWC else shape[1:]
    name = conversion.last_name(node, f"/{node.op}")
    target = conversion.integers(f"{name}/shape", (-1, *held))
    conversion.emit(name, "Reshape", (x.node, target))
    conversion.finish(node, replace(x, node=name, shape=shape, layout=layout, map_shape=map_shape))


def transpose(conversion: Conversion, node: OnnxNode) -> None:
    """Transpose: between channels first and last nothing moves, only the layout's name changes."""
    x = conversion.value(node, 0)
    rank = len(x.shape)
    perm = tuple(axis % rank for axis in node.attrs.get("perm", tuple(reversed(range(rank)))))
    if sorted(perm) != list(range(rank)):
        raise GraphError("not a permutation", where=node.where, got=perm)
    shape = tuple(x.shape[axis] for axis in perm)
    if perm[0] != 0:
        raise UnsupportedOp("a transpose that moves the batch", where=node.where, got=perm)
    if rank == 4 and x.layout == NHWC and perm == TO_NHWC:
        conversion.finish(node, replace(x, shape=shape, layout=PLAIN))
    elif rank == 4 and x.layout == PLAIN and perm == TO_NCHW:
        conversion.finish(node, replace(x, shape=shape, layout=NHWC))
    else:
        x = conversion.to_plain(x)
        axes = conversion.integers(f"{conversion.stem(node)}/perm", perm)
        name = conversion.emit(conversion.last_name(node, "/transpose"), "Transpose", (x.node, axes))
        conversion.finish(node, replace(x, node=name, shape=shape))


def concat(conversion: Conversion, node: OnnxNode) -> None:
    """Concat of computed values; flattened maps in one order."""
    values = [conversion.value(node, index) for index in range(len(node.inputs))]
    if any(value.data is not None for value in values):
        raise UnsupportedOp("a concatenation with a constant", where=node.where, remedy="feed it as an input")
    values = [conversion.to_plain(value) if value.layout == FLAT else value for value in values]
    values = conversion.aligned(values)
    rank = len(values[0].shape)
    axis = int(node.attrs.get("axis", 1)) % rank
    if axis == 0 or any(len(value.shape) != rank for value in values):
        raise UnsupportedOp("a concatenation of batches or of unlike ranks", where=node.where, got=axis)
    shape = list(values[0].shape)
    shape[axis] = sum(value.shape[axis] for value in values)
    name = conversion.last_name(node, "/concat")
    place = conversion.constant(f"{name}/axis", np.array(held_axis(values[0], axis), np.int32))
    conversion.emit(name, "ConcatV2", (*(value.node for value in values), place), N=len(values))
    floors = [value.floor for value in values]
    conversion.finish(node, replace(values[0], node=name, shape=tuple(shape),
                                    floor=None if None in floors else min(f for f in floors if f is not None)))


def slice_(conversion: Conversion, node: OnnxNode) -> None:
    """Slice with constant bounds."""
    x = _movable(conversion, node)
    terms = [None, *(conversion.optional_data(node, index, "bounds") for index in range(1, 5))]
    starts, ends, axes, steps = slice_terms(node, terms, len(x.shape))
    bounds = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if axis == 0 or step < 1:
            raise UnsupportedOp("a slice of the batch or backwards", where=node.where, got=(axis, step))
        bounds[axis] = (*slice(start, end).indices(x.shape[axis])[:2], step)
    conversion.finish(node, _sliced(conversion, node, x, bounds, conversion.last_name(node, "/StridedSlice")))


def _movable(conversion: Conversion, node: OnnxNode) -> Value:
    x = conversion.value(node, 0)
    return conversion.to_plain(x) if x.layout == FLAT else x


def _sliced(conversion: Conversion, node: OnnxNode, x: Value, bounds: dict[int, tuple[int, int, int]],
            name: str) -> Value:
    full = [bounds.get(axis, (0, size, 1)) for axis, size in enumerate(x.shape)]
    shape = tuple(len(range(*bound)) for bound in full)
    if 0 in shape:
        raise GraphError("a slice that holds nothing", where=node.where, got=bounds)
    order = _HELD.get(x.layout, tuple(range(len(x.shape))))
    held = [full[axis] for axis in order]
    parts = [conversion.integers(f"{name}/{word}", [0 if axis == 0 and at < 2 else bound[at]
                                                    for axis, bound in enumerate(held)])
             for at, word in enumerate(("begin", "end", "strides"))]
    conversion.emit(name, "StridedSlice", (x.node, *parts), Index=INT32, begin_mask=1, end_mask=1,
                    ellipsis_mask=0, new_axis_mask=0, shrink_axis_mask=0)
    return replace(x, node=name, shape=shape)


def split(conversion: Conversion, node: OnnxNode) -> None:
    """Split into slices."""
    x = _movable(conversion, node)
    axis = int(node.attrs.get("axis", 0)) % len(x.shape)
    sizes = node.attrs.get("split")
    if sizes is None and (given := conversion.optional_data(node, 1, "sizes")) is not None:
        sizes = tuple(int(size) for size in given)
    parts = len(node.outputs)
    each = -(-x.shape[axis] // parts)
    sizes = tuple(sizes or (min(each, x.shape[axis] - at * each) for at in range(parts)))
    if axis == 0 or sum(sizes) != x.shape[axis] or len(sizes) != parts or min(sizes) < 1:
        raise UnsupportedOp("an impossible split", where=node.where, got=f"axis {axis}, {sizes}")
    start = 0
    for index, (output, size) in enumerate(zip(node.outputs, sizes, strict=True)):
        named = output in conversion.graph.outputs
        name = conversion.unique(output if named else f"{conversion.stem(node)}/part_{index}")
        conversion.values[output] = _sliced(conversion, node, x, {axis: (start, start + size, 1)}, name)
        start += size


def pad(conversion: Conversion, node: OnnxNode) -> None:
    """Pad with a constant, reflected or repeated edges."""
    x = _movable(conversion, node)
    rank, mode = len(x.shape), node.attrs.get("mode", b"constant")
    given = node.attrs.get("pads")
    pads = [int(p) for p in (given if given is not None else conversion.data(node, 1, "list of pads").reshape(-1))]
    fill = node.attrs.get("value", 0.0)
    if (value := conversion.optional_data(node, 2, "padded value")) is not None and value.size:
        fill = float(value.reshape(-1)[0])
    axes = axes_of(node, [None, None, None, conversion.optional_data(node, 3, "list of axes")], 3) or tuple(range(rank))
    if len(pads) != 2 * len(axes) or not all(0 <= p <= MAX_PAD for p in pads):
        raise UnsupportedOp("impossible or negative pads", where=node.where, got=pads)
    table = {axis % rank: (pads[at], pads[at + len(axes)]) for at, axis in enumerate(axes)}
    full = [table.get(axis, (0, 0)) for axis in range(rank)]
    shape = tuple(size + sum(pair) for size, pair in zip(x.shape, full, strict=True))
    if shape == x.shape:
        conversion.finish(node, x)
        return
    held = [full[axis] for axis in _HELD.get(x.layout, tuple(range(rank)))]
    name = conversion.last_name(node, "/Pad")
    where = conversion.constant(f"{name}/paddings", np.array(held, np.int32))
    conversion.finish(node, replace(x, node=_padded(conversion, node, name, (x.node, where), mode, fill), shape=shape,
                                    floor=None if x.floor is None else min(x.floor, fill)))


def _padded(conversion: Conversion, node: OnnxNode, name: str, operands: tuple[str, str], mode: bytes,
            fill: float) -> str:
    if mode == b"reflect":
        return conversion.emit(name, "MirrorPad", operands, mode="REFLECT")
    if mode != b"constant":
        raise UnsupportedOp("an unsupported way of padding", where=node.where, got=mode.decode(errors="replace"),
                            expected="constant or reflect")
    if fill == 0:
        return conversion.emit(name, "Pad", operands)
    value = conversion.constant(f"{name}/constant_values", np.array(fill, np.float32))
    return conversion.emit(name, "PadV2", (*operands, value))


def reduce(op: str) -> Any:
    """ReduceMean, ReduceSum, ReduceMax over constant axes."""
    def convert(conversion: Conversion, node: OnnxNode) -> None:
        x = _movable(conversion, node)
        rank = len(x.shape)
        axes = axes_of(node, [None, conversion.optional_data(node, 1, "list of axes")])
        if axes is None and node.attrs.get("noop_with_empty_axes", 0):
            conversion.finish(node, x)
            return
        gone = sorted({axis % rank for axis in (axes if axes is not None else range(rank))})
        if 0 in gone:
            raise UnsupportedOp("a reduction over the batch", where=node.where, got=gone)
        keep = bool(node.attrs.get("keepdims", 1))
        if not keep and x.layout == NHWC and 1 in gone and len(gone) < 3:
            x = conversion.to_plain(x)  # what is left would be in another order
        name = conversion.last_name(node, f"/{op}")
        places = conversion.integers(f"{name}/reduction_indices", sorted(held_axis(x, axis) for axis in gone))
        conversion.emit(name, op, (x.node, places), keep_dims=keep)
        shape = tuple(1 if axis in gone else size for axis, size in enumerate(x.shape) if keep or axis not in gone)
        layout = x.layout if keep else PLAIN
        if not keep and x.layout == NHWC and gone not in ([2, 3], [1, 2, 3]):
            raise UnsupportedOp("a reduction over these axes", where=node.where, got=gone, expected="[2, 3]")
        conversion.finish(node, Value(name, shape, layout, floor=x.floor))
    return convert


def arg_max(conversion: Conversion, node: OnnxNode) -> None:
    """ArgMax over the channels."""
    x = _movable(conversion, node)
    axis = int(node.attrs.get("axis", 0)) % len(x.shape)
    if axis == 0 or node.attrs.get("select_last_index", 0):
        raise UnsupportedOp("an argmax over the batch, or of the last of equals", where=node.where, got=axis)
    keep = bool(node.attrs.get("keepdims", 1))
    name = conversion.unique(f"{conversion.stem(node)}/ArgMax") if keep else conversion.last_name(node, "/ArgMax")
    place = conversion.constant(f"{name}/dimension", np.array(held_axis(x, axis), np.int32))
    conversion.emit(name, "ArgMax", (x.node, place))
    shape = tuple(size for at, size in enumerate(x.shape) if at != axis)
    if keep:
        shape = tuple(1 if at == axis else size for at, size in enumerate(x.shape))
        held = tuple(shape[at] for at in _HELD.get(x.layout, tuple(range(len(shape)))))
        target = conversion.integers(f"{name}/shape", (-1, *held[1:]))
        name = conversion.emit(conversion.last_name(node, "/Reshape"), "Reshape", (name, target))
    conversion.finish(node, Value(name, shape, x.layout if keep else PLAIN))
