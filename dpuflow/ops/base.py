"""What an operator is: its attributes, shape rule, float kernel, fixed-point kernel and cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpuflow.errors import GraphError
from dpuflow.ir.graph import Array, Fix, NoAttrs, Shape


@dataclass(frozen=True)
class Fixed:
    """An operand of a fixed-point kernel: integers (any integer dtype) and their position."""

    values: Array
    pos: int


@dataclass(frozen=True)
class Case:
    """A literal example: integer operands with positions, attributes and the int8 result."""

    operands: tuple[tuple[Any, int], ...]
    attrs: Any
    pos: int
    result: Any


Infer = Callable[[Sequence[Shape], Any], Shape]
FloatKernel = Callable[[Sequence[Array], Any], Array]
FixedKernel = Callable[[Sequence[Fixed], Any, Fix], Array]
Accumulate = Callable[[Sequence[Fixed], Any], tuple[Array, int]]


@dataclass(frozen=True)
class OpDef:
    """One operator. ``fixed`` is None for operators that only the CPU computes, in float.

    ``accumulate``: of layers with weights the exact sums with bias, and their position, before the
    nonlinearity and the rounding (arithmetic specification, section 3).
    """

    name: str
    infer: Infer
    float_: FloatKernel
    fixed: FixedKernel | None = None
    attrs: type = NoAttrs
    arity: tuple[int, int] = (1, 1)  # fewest and most operands
    cases: tuple[Case, ...] = ()
    accumulate: Accumulate | None = None


def same_shape(shapes: Sequence[Shape], attrs: Any) -> Shape:
    """The shape rule of elementwise operators of one operand."""
    return shapes[0]


@dataclass(frozen=True)
class Padding:
    """Rows and columns added around a feature map."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def __iter__(self) -> Any:
        return iter((self.top, self.bottom, self.left, self.right))


def same_padding(size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int],
                 dilation: tuple[int, int] = (1, 1)) -> Padding:
    """TensorFlow's SAME: as many outputs as ceil(size / stride), the odd row at bottom and right."""
    pads = []
    for length, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        outputs = -(-length // s)
        total = max((outputs - 1) * s + (k - 1) * d + 1 - length, 0)
        pads.append((total // 2, total - total // 2))
    return Padding(*pads[0], *pads[1])


def window_count(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    """Output positions of a sliding window; GraphError when the window does not fit."""
    span = (kernel - 1) * dilation + 1
    if size + before + after < span:
        raise GraphError("the kernel is larger than the padded map", got=f"{size}+{before}+{after}",
                         expected=f">= {span}", remedy="use SAME padding or a smaller kernel")
    return (size + before + after - span) // stride + 1


def windows(x: Array, kernel: tuple[int, int], stride: tuple[int, int], padding: Padding,
            dilation: tuple[int, int] = (1, 1), fill: float = 0) -> Array:
    """All windows of NHWC ``x``: a view of shape (N, OH, OW, KH, KW, C)."""
    top, bottom, left, right = padding
    if any(padding):
        x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    (kh, kw), (sh, sw), (dh, dw) = kernel, stride, dilation
    span = ((kh - 1) * dh + 1, (kw - 1) * dw + 1)
    view = np.lib.stride_tricks.sliding_window_view(x, span, axis=(1, 2))
    strided: Array = view[:, ::sh, ::sw, :, ::dh, ::dw].transpose(0, 1, 2, 4, 5, 3)
    return strided
