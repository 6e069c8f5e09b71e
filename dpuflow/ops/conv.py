"""Convolution, depthwise convolution and dense layers with bias and nonlinearity.

Fixed-point rule: arithmetic specification, sections 3 to 5. One rounding, at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.errors import GraphError
from dpuflow.ir.graph import Array, Fix, Shape
from dpuflow.ops.activation import float_nonlinear, nonlinear_requantize
from dpuflow.ops.base import Case, Fixed, OpDef, Padding, window_count, windows


@dataclass(frozen=True)
class ConvAttrs:
    """Stride and dilation as (height, width); padding in rows and columns; groups of channels."""

    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    nonlinear: str = "none"


@dataclass(frozen=True)
class DenseAttrs:
    """A dense layer's nonlinearity."""

    nonlinear: str = "none"


def _map_size(x: Shape, kernel: Shape, attrs: ConvAttrs) -> tuple[int, int]:
    top, bottom, left, right = attrs.padding
    return (window_count(x[1], kernel[0], attrs.stride[0], attrs.dilation[0], top, bottom),
            window_count(x[2], kernel[1], attrs.stride[1], attrs.dilation[1], left, right))


def check_bias(shapes: Sequence[Shape], channels: int) -> None:
    """GraphError for a bias of another length than the output's channels."""
    if len(shapes) > 2 and int(np.prod(shapes[2])) != channels:
        raise GraphError("the bias does not fit the output channels", expected=channels, got=shapes[2])


def infer_conv(shapes: Sequence[Shape], attrs: ConvAttrs) -> Shape:
    """NHWC and HWIO to NHWC; input channels must be groups times the weights' third axis."""
    x, kernel = shapes[0], shapes[1]
    if len(x) != 4 or len(kernel) != 4:
        raise GraphError("a convolution takes a 4-D map and 4-D weights", got=f"{x} and {kernel}")
    if x[3] != kernel[2] * attrs.groups or kernel[3] % attrs.groups:
        raise GraphError("input channels and weights differ", expected=kernel[2] * attrs.groups, got=x[3])
    check_bias(shapes, kernel[3])
    return (x[0], *_map_size(x, kernel, attrs), kernel[3])


def infer_depthwise(shapes: Sequence[Shape], attrs: ConvAttrs) -> Shape:
    """NHWC and (height, width, channel, multiplier) to NHWC with channel * multiplier channels."""
    x, kernel = shapes[0], shapes[1]
    if len(x) != 4 or len(kernel) != 4 or x[3] != kernel[2]:
        raise GraphError("depthwise input channels and weights differ", expected=kernel, got=x)
    check_bias(shapes, kernel[2] * kernel[3])
    return (x[0], *_map_size(x, kernel, attrs), kernel[2] * kernel[3])


def infer_dense(shapes: Sequence[Shape], attrs: DenseAttrs) -> Shape:
    """(N, in) and (in, out) to (N, out)."""
    x, kernel = shapes[0], shapes[1]
    if len(x) != 2 or len(kernel) != 2 or x[1] != kernel[0]:
        raise GraphError("a dense layer's input and weights differ", expected=kernel, got=x)
    check_bias(shapes, kernel[1])
    return (x[0], kernel[1])


def _matmul(a: Array, b: Array) -> Array:
    """Float32 product for floats, exact int64 product for integers."""
    result: Array = np.matmul(a, b) if a.dtype.kind == "f" else fixed.exact_matmul(a, b)
    return result


def _columns(x: Array, kernel: Shape, attrs: ConvAttrs) -> Array:
    return windows(x, (kernel[0], kernel[1]), attrs.stride, attrs.padding, attrs.dilation)


_COLUMN_VALUES = 1 << 20  # of the windows written out at a time: what a processor's cache holds
_MAP_VALUES = 1 << 18  # of a depthwise convolution's results that are summed at a time


def conv_sums(x: Array, weights: Array, attrs: ConvAttrs) -> Array:
    """The sums of products of a convolution, (N, OH, OW, O), without bias; a few images at a time."""
    columns = _columns(x, weights.shape, attrs)
    n, oh, ow = columns.shape[:3]
    sums = np.empty((n, oh, ow, weights.shape[3]), np.float32 if x.dtype.kind == "f" else np.int64)
    per_row = math.prod(columns.shape[2:])
    images, rows = max(1, _COLUMN_VALUES // max(oh * per_row, 1)), max(1, _COLUMN_VALUES // max(per_row, 1))
    for first in range(0, n, images):
        for top in range(0, oh, rows):
            part = slice(first, first + images), slice(top, top + rows)
            _group_sums(columns[part], weights, attrs.groups, sums[part])
    return sums


def _group_sums(columns: Array, weights: Array, groups: int, sums: Array) -> None:
    pixels, inputs, outputs = math.prod(columns.shape[:3]), weights.shape[2], weights.shape[3] // groups
    for group in range(groups):
        taken = columns[..., group * inputs:(group + 1) * inputs].reshape(pixels, -1)
        matrix = weights[..., group * outputs:(group + 1) * outputs].reshape(-1, outputs)
        sums[..., group * outputs:(group + 1) * outputs] = _matmul(taken, matrix).reshape(*columns.shape[:3], outputs)


def depthwise_sums(x: Array, weights: Array, attrs: ConvAttrs) -> Array:
    """The sums of products of a depthwise convolution, (N, OH, OW, C * multiplier); one tap after another."""
    wide = np.float32 if x.dtype.kind == "f" else np.int64
    taps = weights.astype(wide).reshape(*weights.shape[:2], -1)
    columns = _columns(np.repeat(x, weights.shape[3], axis=3) if weights.shape[3] > 1 else x, weights.shape, attrs)
    n, oh, ow = columns.shape[:3]
    sums = np.zeros((n, oh, ow, taps.shape[2]), wide)
    images = max(1, _MAP_VALUES // max(math.prod(sums.shape[1:]), 1))
    for first in range(0, n, images):
        part = columns[first:first + images]
        for row, column in np.ndindex(*taps.shape[:2]):
            sums[first:first + images] += part[:, :, :, row, column] * taps[row, column]
    return sums


def dense_sums(x: Array, weights: Array, attrs: DenseAttrs) -> Array:
    """The sums of products of a dense layer, (N, out)."""
    return _matmul(x, weights)


def weighted_float(sums: Any) -> Any:
    """The float kernel of a layer with weights: sums, bias, nonlinearity."""
    def kernel(operands: Sequence[Array], attrs: Any) -> Array:
        out = sums(operands[0], operands[1], attrs)
        if len(operands) > 2:
            out = out + operands[2].reshape(-1)
        return float_nonlinear(out, attrs.nonlinear)
    return kernel


def biased(acc: Array, acc_pos: int, bias: Fixed) -> tuple[Array, int]:
    """Add a bias exactly; a bias finer than the accumulator scales the accumulator up.

    Arithmetic specification, section 4, mode "exact". Returns the sum and its position.
    """
    pos = max(acc_pos, bias.pos)
    acc = fixed.shift_up(acc, pos - acc_pos)
    return acc + fixed.shift_up(bias.values.reshape(-1), pos - bias.pos), pos


def weighted_accumulate(sums: Any) -> Any:
    """The exact sums and bias of a layer with weights, and their position."""
    def accumulate(operands: Sequence[Fixed], attrs: Any) -> tuple[Array, int]:
        x, weights = operands[0], operands[1]
        acc, pos = sums(x.values, weights.values, attrs), x.pos + weights.pos
        return biased(acc, pos, operands[2]) if len(operands) > 2 else (acc, pos)
    return accumulate


def weighted_fixed(sums: Any) -> Any:
    """The fixed kernel of a layer with weights: exact sums and bias, nonlinearity, one rounding."""
    accumulate = weighted_accumulate(sums)

    def kernel(operands: Sequence[Fixed], attrs: Any, out: Fix) -> Array:
        acc, pos = accumulate(operands, attrs)
        return nonlinear_requantize(acc, pos, attrs.nonlinear, out)
    return kernel


def weighted_op(name: str, infer: Any, sums: Any, attrs: type, cases: tuple[Case, ...]) -> OpDef:
    """An operator with weights and an optional bias, from its sums of products."""
    return OpDef(name, infer, weighted_float(sums), weighted_fixed(sums), attrs, (2, 3), cases,
                 weighted_accumulate(sums))


def _row(values: list[int]) -> list[list[int]]:
    return [values]


def _column(values: list[int]) -> list[list[int]]:
    return [[value] for value in values]


# Arithmetic specification, section 3, examples 1 to 6, and section 4's example.
_DENSE_CASES = (
    Case(((_row([10, -3, 127]), 6), (_column([50, -128, 7]), 7), ([20], 8)), DenseAttrs("relu"), 5, [[9]]),
    Case(((_row([10, -3, 127]), 6), (_column([-50, -128, 7]), 7), ([-121], 8)), DenseAttrs(), 5, [[-12]]),
    Case(((_row([127, 127]), 7), (_column([127, 127]), 7), ([0], 7)), DenseAttrs(), 7, [[127]]),
    Case(((_row([100, -50]), 5), (_column([60, -127]), 6), ([0], 6)), DenseAttrs("relu6"), 3, [[48]]),
    Case(((_row([-100, 50]), 5), (_column([60, -20]), 6), ([12], 6)), DenseAttrs("leaky_relu"), 4, [[-5]]),
    Case(((_row([-64]), 0), (_column([1]), 0), ([0], 0)), DenseAttrs("leaky_relu"), 0, [[-6]]),
    Case(((_row([5, 0]), 2), (_column([3, 3]), 6), ([1], 9)), DenseAttrs(), 3, [[0]]),
)

# A kernel that is not symmetric and a padding that is not either: a transposed kernel, a flipped
# one or swapped pads change the result.
_MAP = [[[[1], [2], [3]], [[4], [5], [6]], [[7], [8], [9]]]]
_KERNEL = [[[[1]], [[10]]], [[[-2]], [[3]]]]
_CONV_CASES = (
    Case(((_MAP, 0), (_KERNEL, 0)), ConvAttrs(), 0, [[[[28], [40]], [[64], [76]]]]),
    Case(((_MAP, 0), (_KERNEL, 0)), ConvAttrs(padding=Padding(0, 1, 0, 1)), 0,
         [[[[28], [40], [-9]], [[64], [76], [-12]], [[87], [98], [9]]]]),
    Case(((_MAP, 0), (_KERNEL, 0)), ConvAttrs(padding=Padding(1, 0, 0, 0)), 1,
         [[[[8], [10]], [[56], [80]], [[127], [127]]]]),
    Case(((_MAP, 2), (_KERNEL, 1), ([-1], 3)), ConvAttrs(stride=(2, 1)), 1, [[[[7], [10]]]]),
)
_DEPTHWISE_CASES = (
    Case((([[[[1, 10], [2, 20]], [[3, 30], [4, 40]]]], 0),
          ([[[[1], [1]], [[2], [-1]]], [[[-1], [1]], [[1], [1]]]], 0), ([0, 7], 0)),
         ConvAttrs(), 0, [[[[6, 67]]]]),
    Case((([[[[5]]]], 0), ([[[[1, -1]]]], 0)), ConvAttrs(), 1, [[[[10, -10]]]]),
)

OPS = (
    weighted_op("conv2d", infer_conv, conv_sums, ConvAttrs, _CONV_CASES),
    weighted_op("depthwise_conv2d", infer_depthwise, depthwise_sums, ConvAttrs, _DEPTHWISE_CASES),
    weighted_op("dense", infer_dense, dense_sums, DenseAttrs, _DENSE_CASES),
)
