"""Transposed convolution: the gradient of a convolution by its input (arithmetic specification, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dpuflow.errors import GraphError
from dpuflow.ir.graph import Array, Shape
from dpuflow.ops.base import Case, Padding
from dpuflow.ops.conv import ConvAttrs, check_bias, conv_sums, weighted_op


@dataclass(frozen=True)
class TransposedAttrs:
    """Stride and padding of the convolution that is turned round; the output's (height, width)."""

    size: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: Padding = Padding()
    nonlinear: str = "none"


def infer_transposed(shapes: Sequence[Shape], attrs: TransposedAttrs) -> Shape:
    """NHWC and (height, width, output channel, input channel) to NHWC of the given size."""
    x, kernel = shapes[0], shapes[1]
    if len(x) != 4 or len(kernel) != 4 or x[3] != kernel[3]:
        raise GraphError("input channels and weights of a transposed convolution differ", expected=kernel, got=x)
    for new, old, k, stride, pads in zip(attrs.size, x[1:3], kernel, attrs.stride, _pairs(attrs.padding), strict=False):
        if new < 1 or (new + sum(pads) - k) // stride + 1 != old or new + sum(pads) < k:
            raise GraphError("the output size of a transposed convolution does not fit its input",
                             got=f"{new} from {old}", expected=f"(size + {sum(pads)} - {k}) // {stride} + 1 = {old}")
    check_bias(shapes, kernel[2])
    return (x[0], *attrs.size, kernel[2])


def _pairs(padding: Padding) -> tuple[tuple[int, int], tuple[int, int]]:
    return (padding.top, padding.bottom), (padding.left, padding.right)


def transposed_sums(x: Array, weights: Array, attrs: TransposedAttrs) -> Array:
    """The sums of products: the input spread by the stride, under the turned kernel."""
    n, h, w, channels = x.shape
    (sh, sw), (kh, kw) = attrs.stride, weights.shape[:2]
    spread = np.zeros((n, (h - 1) * sh + 1, (w - 1) * sw + 1, channels), x.dtype)
    spread[:, ::sh, ::sw] = x
    before = (kh - 1 - attrs.padding.top, kw - 1 - attrs.padding.left)
    after = tuple(new + k - 1 - first - size for new, k, first, size in zip(
        attrs.size, (kh, kw), before, spread.shape[1:3], strict=True))
    turned = np.ascontiguousarray(weights[::-1, ::-1].transpose(0, 1, 3, 2))
    return conv_sums(spread, turned, ConvAttrs(padding=Padding(before[0], after[0], before[1], after[1])))


# Stride 2 of a 2 x 2 map under a kernel that is not symmetric: every pixel paints the kernel as it is.
_MAP = [[[[1], [2]], [[3], [-1]]]]
_KERNEL = [[[[1]], [[10]]], [[[-2]], [[3]]]]
_CASES = (
    Case(((_MAP, 0), (_KERNEL, 0)), TransposedAttrs((4, 4), (2, 2)), 0,
         [[[[1], [10], [2], [20]], [[-2], [3], [-4], [6]], [[3], [30], [-1], [-10]], [[-6], [9], [2], [-3]]]]),
    Case(((_MAP, 0), (_KERNEL, 0)), TransposedAttrs((3, 3)), 0,
         [[[[1], [12], [20]], [[1], [28], [-4]], [[-6], [11], [-3]]]]),
    Case((([[[[3]]]], 1), ([[[[5]]]], 1), ([7], 3)), TransposedAttrs((1, 1), nonlinear="relu"), 1, [[[[9]]]]),
)

OPS = (weighted_op("transposed_conv2d", infer_transposed, transposed_sums, TransposedAttrs, _CASES),)
