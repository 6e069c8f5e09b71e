"""Max and average pooling and the mean over a map.

Arithmetic specification, section 6: padding never wins a maximum; an average divides by the whole
kernel, also at the border, with the DPU's factor N / 2**M in place of 1 / (kh * kw).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.errors import GraphError
from dpuflow.ir.graph import Array, Fix, Shape
from dpuflow.ops.base import Case, Fixed, OpDef, Padding, window_count, windows


@dataclass(frozen=True)
class PoolAttrs:
    """Kernel and stride as (height, width); ``dpu_factor`` marks the DPU's average in float."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()


@dataclass(frozen=True)
class MeanAttrs:
    """The mean over height and width; ``keep_dims`` keeps them as 1."""

    keep_dims: bool = False


# Kernels with a factor of their own (arithmetic specification, section 6.2): kernel -> (N, M).
_SPECIAL_FACTORS = {(3, 3): (7, 6), (5, 5): (10, 8), (6, 6): (7, 8), (7, 7): (21, 10), (14, 14): (21, 12)}


@cache
def average_factor(kernel: tuple[int, int]) -> tuple[int, int]:
    """(N, M) with N / 2**M in place of 1 / (kh * kw) (arithmetic specification, section 6.2).

    >>> average_factor((2, 2)), average_factor((3, 3)), average_factor((2, 3))
    ((1, 2), (7, 6), (85, 9))
    """
    if kernel in _SPECIAL_FACTORS:
        return _SPECIAL_FACTORS[kernel]
    cells = kernel[0] * kernel[1]
    best, best_error = (1, 0), math.inf
    for m in range(math.ceil(math.log2(128 * cells))):
        n = int(fixed.half_up(2.0**m / cells))
        error = abs(n / 2.0**m - 1.0 / cells)
        if error < best_error:
            best, best_error = (n, m), error
    return best


def infer_pool(shapes: Sequence[Shape], attrs: PoolAttrs) -> Shape:
    """NHWC to NHWC."""
    (x,) = shapes
    if len(x) != 4:
        raise GraphError("a pool takes a 4-D map", got=x)
    top, bottom, left, right = attrs.padding
    return (x[0], window_count(x[1], attrs.kernel[0], attrs.stride[0], 1, top, bottom),
            window_count(x[2], attrs.kernel[1], attrs.stride[1], 1, left, right), x[3])


def infer_mean(shapes: Sequence[Shape], attrs: MeanAttrs) -> Shape:
    """NHWC to (N, C), or (N, 1, 1, C) with ``keep_dims``."""
    (x,) = shapes
    if len(x) != 4:
        raise GraphError("the mean over height and width takes a 4-D map", got=x)
    return (x[0], 1, 1, x[3]) if attrs.keep_dims else (x[0], x[3])


def _pool_windows(x: Array, attrs: PoolAttrs, fill: float) -> Array:
    return windows(x, attrs.kernel, attrs.stride, attrs.padding, fill=fill)


def _float_max(operands: Sequence[Array], attrs: PoolAttrs) -> Array:
    return np.asarray(_pool_windows(operands[0], attrs, -np.inf).max(axis=(3, 4)))


def _float_average(operands: Sequence[Array], attrs: PoolAttrs) -> Array:
    """TensorFlow's average: padding does not count."""
    x = operands[0]
    sums = _pool_windows(x, attrs, 0).sum(axis=(3, 4))
    counts = _pool_windows(np.ones((1, *x.shape[1:3], 1), np.float32), attrs, 0).sum(axis=(3, 4))
    return np.asarray(sums / counts, np.float32)


def _float_mean(operands: Sequence[Array], attrs: MeanAttrs) -> Array:
    return np.asarray(operands[0].mean(axis=(1, 2), keepdims=attrs.keep_dims, dtype=np.float32))


def _fixed_max(operands: Sequence[Fixed], attrs: PoolAttrs, out: Fix) -> Array:
    (x,) = operands
    largest = _pool_windows(np.asarray(x.values, np.int64), attrs, -(1 << 40)).max(axis=(3, 4))
    return fixed.requantize(largest, x.pos, out.pos, out.bits)


def _average(sums: Array, kernel: tuple[int, int], pos: int, out: Fix) -> Array:
    n, m = average_factor(kernel)
    return fixed.requantize(sums * n, pos + m, out.pos, out.bits)


def _fixed_average(operands: Sequence[Fixed], attrs: PoolAttrs, out: Fix) -> Array:
    (x,) = operands
    sums = _pool_windows(np.asarray(x.values, np.int64), attrs, 0).sum(axis=(3, 4))
    return _average(sums, attrs.kernel, x.pos, out)


def _fixed_mean(operands: Sequence[Fixed], attrs: MeanAttrs, out: Fix) -> Array:
    (x,) = operands
    sums = x.values.sum(axis=(1, 2), keepdims=attrs.keep_dims, dtype=np.int64)
    return _average(sums, (x.values.shape[1], x.values.shape[2]), x.pos, out)


def _square(values: list[int]) -> list[Any]:
    side = math.isqrt(len(values))
    return [[[[value] for value in values[row * side:(row + 1) * side]] for row in range(side)]]


def _average_case(values: list[int], pos: int, result: int) -> Case:
    side = math.isqrt(len(values))
    return Case(((_square(values), 4),), PoolAttrs((side, side)), pos, [[[[result]]]])


# Arithmetic specification, section 6.2's examples (positions 4 in, 4 or 5 out).
_AVERAGE_CASES = (
    _average_case([12, 11, 11, 11, 11, 11, 11, 11, 11], 4, 11),
    _average_case([127] * 9, 4, 125),
    _average_case([-128] * 9, 4, -126),
    _average_case([127] * 25, 4, 124),
    _average_case([127] * 49, 5, 127),
    _average_case([1, 1, 1, -1], 4, 1),
    _average_case([-1, -1, 1, -1], 4, 0),
    _average_case([-3, -3, -3, -1], 4, -2),
    Case(((_square([127] * 4), 4),), PoolAttrs((3, 3), padding=Padding(1, 0, 1, 0)), 4, [[[[56]]]]),
)
_MAX_CASES = (
    Case(((_square([-5, -7, -9, -6]), 0),), PoolAttrs((3, 3), padding=Padding(1, 0, 0, 1)), 0, [[[[-5]]]]),
    Case(((_square([1, 2, 5, 3]), 1),), PoolAttrs((2, 2)), 0, [[[[3]]]]),
)
_MEAN_CASES = (
    Case(((_square([-1, -1, 1, -1]), 4),), MeanAttrs(), 4, [[0]]),
    Case(((_square([127] * 49), 4),), MeanAttrs(keep_dims=True), 5, [[[[127]]]]),
    Case(((_square([100] * 9), 4),), MeanAttrs(), 4, [[98]]),
)

OPS = (
    OpDef("max_pool", infer_pool, _float_max, _fixed_max, PoolAttrs, cases=_MAX_CASES),
    OpDef("avg_pool", infer_pool, _float_average, _fixed_average, PoolAttrs, cases=_AVERAGE_CASES),
    OpDef("mean", infer_mean, _float_mean, _fixed_mean, MeanAttrs, cases=_MEAN_CASES),
)
