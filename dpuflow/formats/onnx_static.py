"""The value of ONNX nodes that depend on constants and shapes alone, as exporters write them around Reshape."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dpuflow.formats.onnx_graph import OnnxNode
from dpuflow.formats.onnx_tensor import numpy_type
from dpuflow.ir.graph import Array

Rule = Callable[[OnnxNode, Sequence[Array]], Array]
_MAX_VALUES = 1 << 27


def axes_of(node: OnnxNode, values: Sequence[Any], at: int = 1) -> tuple[int, ...] | None:
    """The axes of an operator: an attribute before opset 13 or 18, an operand since; None if not given."""
    given = node.attrs.get("axes")
    if given is None and len(values) > at and values[at] is not None:
        given = values[at]
    return None if given is None else tuple(int(axis) for axis in np.asarray(given).reshape(-1))


def _unsqueeze(node: OnnxNode, v: Sequence[Array]) -> Array:
    axes = axes_of(node, v) or ()
    rank = v[0].ndim + len(axes)
    result = v[0]
    for axis in sorted(axis % rank for axis in axes):
        result = np.expand_dims(result, axis)
    return result


def _squeeze(node: OnnxNode, v: Sequence[Array]) -> Array:
    axes = axes_of(node, v)
    return np.squeeze(v[0], None if axes is None else tuple(axes))


def _slice(node: OnnxNode, v: Sequence[Array]) -> Array:
    starts, ends, axes, steps = slice_terms(node, v, v[0].ndim)
    index = [slice(None)] * v[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        index[axis] = slice(start, None if step < 0 and end < -v[0].shape[axis] else end, step)
    return np.asarray(v[0][tuple(index)])


def slice_terms(node: OnnxNode, v: Sequence[Any], rank: int) -> tuple[tuple[int, ...], ...]:
    """Starts, ends, axes and steps of a Slice, from attributes (opset < 10) or operands."""
    def term(name: str, at: int) -> tuple[int, ...] | None:
        given = node.attrs.get(name) if name in node.attrs else (v[at] if len(v) > at else None)
        return None if given is None else tuple(int(value) for value in np.asarray(given).reshape(-1))

    starts, ends = term("starts", 1) or (), term("ends", 2) or ()
    axes = tuple(axis % rank for axis in (term("axes", 3) or range(len(starts))))
    return starts, ends, axes, term("steps", 4) or (1,) * len(starts)


def _cast(node: OnnxNode, v: Sequence[Array]) -> Array:
    return np.asarray(v[0], numpy_type(int(node.attrs["to"]), node.where))


def _divide(node: OnnxNode, v: Sequence[Array]) -> Array:
    if v[0].dtype.kind in "iu":
        return np.asarray(v[0] // v[1], v[0].dtype)  # sizes are positive
    return np.asarray(v[0] / v[1])


def _each(function: Callable[[float], float]) -> Rule:
    def rule(node: OnnxNode, v: Sequence[Array]) -> Array:
        return np.array([function(float(x)) for x in v[0].reshape(-1)], v[0].dtype).reshape(v[0].shape)
    return rule


def _filled(node: OnnxNode, v: Sequence[Array]) -> Array:
    shape = tuple(int(size) for size in v[0])
    value = node.attrs.get("value", np.zeros(1, np.float32))
    if math.prod(shape) > _MAX_VALUES:
        raise ValueError("too many values")
    return np.full(shape, np.asarray(value).reshape(-1)[0])


def _reshape(node: OnnxNode, v: Sequence[Array]) -> Array:
    sizes = [int(size) for size in v[1]]
    if not node.attrs.get("allowzero", 0):
        sizes = [v[0].shape[at] if size == 0 else size for at, size in enumerate(sizes)]
    return v[0].reshape(sizes)


def _expand(node: OnnxNode, v: Sequence[Array]) -> Array:
    shape = np.broadcast_shapes(v[0].shape, tuple(int(size) for size in v[1]))
    if math.prod(shape) > _MAX_VALUES:
        raise ValueError("too many values")
    return np.broadcast_to(v[0], shape)


STATIC: Mapping[str, Rule] = {
    "Identity": lambda node, v: v[0],
    "Gather": lambda node, v: np.take(v[0], v[1], axis=int(node.attrs.get("axis", 0))),
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Concat": lambda node, v: np.concatenate([np.atleast_1d(x) for x in v], axis=int(node.attrs.get("axis", 0))),
    "Slice": _slice,
    "Cast": _cast,
    "Add": lambda node, v: np.asarray(v[0] + v[1]),
    "Sub": lambda node, v: np.asarray(v[0] - v[1]),
    "Mul": lambda node, v: np.asarray(v[0] * v[1]),
    "Div": _divide,
    "Neg": lambda node, v: np.asarray(-v[0]),
    "Sqrt": lambda node, v: np.sqrt(v[0]),
    "Exp": lambda node, v: np.exp(v[0]),
    "Abs": lambda node, v: np.abs(v[0]),
    "Reciprocal": lambda node, v: np.asarray(1 / v[0], v[0].dtype),
    "Pow": lambda node, v: np.asarray(v[0] ** v[1], v[0].dtype),
    "Max": lambda node, v: np.maximum.reduce(list(v)),
    "Min": lambda node, v: np.minimum.reduce(list(v)),
    "Floor": _each(math.floor),
    "Ceil": _each(math.ceil),
    "Reshape": _reshape,
    "Flatten": lambda node, v: v[0].reshape(math.prod(v[0].shape[:int(node.attrs.get("axis", 1))]), -1),
    "Transpose": lambda node, v: np.transpose(v[0], node.attrs.get("perm")),
    "ConstantOfShape": _filled,
    "Expand": _expand,
    "ReduceProd": lambda node, v: np.asarray(np.prod(v[0], keepdims=bool(node.attrs.get("keepdims", 1)))),
    "Where": lambda node, v: np.where(v[0], v[1], v[2]),
    "Equal": lambda node, v: np.equal(v[0], v[1]),
    "Size": lambda node, v: np.asarray(v[0].size, np.int64),
}


def check_size(values: Sequence[Array]) -> None:
    """Constants that blow each other up by broadcasting are no network; ValueError."""
    try:
        shape = np.broadcast_shapes(*(value.shape for value in values))
    except ValueError:
        return
    if math.prod(shape) > max(_MAX_VALUES, *(value.size for value in values)):
        raise ValueError("too many values")
