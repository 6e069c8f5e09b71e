"""Nonlinearities: on their own, and inside convolutions at accumulator scale.

Arithmetic specification, section 5: the nonlinearity applies to the exact biased accumulator and
the single rounding follows it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.errors import GraphError
from dpuflow.ir.graph import Array, Fix
from dpuflow.ops.base import Case, Fixed, OpDef, same_shape

NONLINEARS = ("none", "relu", "relu6", "leaky_relu")
LEAKY_FACTOR = 26  # the DPU's slope is 26/256 (arithmetic specification, section 5)
LEAKY_SHIFT = 8
_BLOCK = 1 << 15  # values at a time, so that every step stays in the cache


@dataclass(frozen=True)
class LeakyAttrs:
    """The slope for negative values in float; the DPU knows 26/256 only."""

    alpha: float = LEAKY_FACTOR / 256

    def __post_init__(self) -> None:
        if not math.isfinite(self.alpha):
            raise GraphError("impossible slope of a leaky ReLU", got=self.alpha)


def float_nonlinear(x: Array, nonlinear: str, alpha: float = LEAKY_FACTOR / 256) -> Array:
    """Apply a nonlinearity in float32."""
    if nonlinear == "relu":
        return np.asarray(np.maximum(x, np.float32(0)))
    if nonlinear == "relu6":
        return np.asarray(np.minimum(np.maximum(x, np.float32(0)), np.float32(6)))
    if nonlinear == "leaky_relu":
        return np.where(x < 0, x * np.float32(alpha), x)
    return x


def nonlinear_requantize(acc: Array, acc_pos: int, nonlinear: str, out: Fix) -> Array:
    """Nonlinearity on an int64 accumulator at ``acc_pos``, then one rounding and saturation."""
    if acc.size <= _BLOCK:
        return _rounded_block(acc, acc_pos, nonlinear, out)
    flat = acc.reshape(-1)
    blocks = [_rounded_block(flat[at:at + _BLOCK], acc_pos, nonlinear, out) for at in range(0, flat.size, _BLOCK)]
    return np.concatenate(blocks).reshape(acc.shape)


def _rounded_block(acc: Array, acc_pos: int, nonlinear: str, out: Fix) -> Array:
    if nonlinear == "leaky_relu":
        scaled = np.where(acc < 0, acc * LEAKY_FACTOR, fixed.shift_up(acc, LEAKY_SHIFT))
        return fixed.requantize(scaled, acc_pos + LEAKY_SHIFT, out.pos, out.bits)
    if nonlinear in ("relu", "relu6"):
        acc = np.maximum(acc, 0)
    if nonlinear == "relu6":
        # 6.0 in accumulator units; below position -1 it has no integer form, so scale both up.
        up = max(0, -1 - acc_pos)
        acc, acc_pos = fixed.shift_up(acc, up), acc_pos + up
        acc = np.minimum(acc, fixed.shift_up(3, acc_pos + 1))
    return fixed.requantize(acc, acc_pos, out.pos, out.bits)


def _float_hard_sigmoid(operands: Sequence[Array], attrs: Any) -> Array:
    """The DPU's: relu6(x + 3) * 2731 / 16384 (arithmetic specification, section 7.5)."""
    x = np.clip(operands[0] + np.float32(3), np.float32(0), np.float32(6))
    return np.asarray(x * np.float32(2731 / 16384), np.float32)


def _fixed_hard_sigmoid(operands: Sequence[Fixed], attrs: Any, out: Fix) -> Array:
    """max(0, (x + 3 * 2**i) * 2731) at position i + 14, then one rounding; its upper clip is saturation."""
    (x,) = operands
    up = max(0, -x.pos)
    values, pos = fixed.shift_up(x.values, up), x.pos + up
    acc = np.maximum((values + fixed.shift_up(3, pos)) * 2731, 0)
    return fixed.requantize(acc, pos + 14, out.pos, out.bits)


def _fixed_kernel(nonlinear: str) -> Any:
    def kernel(operands: Sequence[Fixed], attrs: Any, out: Fix) -> Array:
        (x,) = operands
        return nonlinear_requantize(np.asarray(x.values, np.int64), x.pos, nonlinear, out)
    return kernel


def _float_kernel(nonlinear: str) -> Any:
    def kernel(operands: Sequence[Array], attrs: Any) -> Array:
        return float_nonlinear(operands[0], nonlinear, getattr(attrs, "alpha", 0.0))
    return kernel


def _softmax(operands: Sequence[Array], attrs: Any) -> Array:
    x = operands[0].astype(np.float32)
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True), np.float32)


OPS = (
    OpDef("relu", same_shape, _float_kernel("relu"), _fixed_kernel("relu"),
          cases=(Case((([-3, 0, 5, 7], 1),), None, 0, [0, 0, 3, 4]),)),
    OpDef("relu6", same_shape, _float_kernel("relu6"), _fixed_kernel("relu6"),
          cases=(Case((([-3, 5, 100], 3),), None, 3, [0, 5, 48]),
                 Case((([-1, 1, 100], -3),), None, -2, [0, 2, 2]))),
    OpDef("leaky_relu", same_shape, _float_kernel("leaky_relu"), _fixed_kernel("leaky_relu"), LeakyAttrs,
          cases=(Case((([-64, 64, -128, -5], 0),), None, 0, [-6, 64, -13, -1]),)),
    OpDef("hard_sigmoid", same_shape, _float_hard_sigmoid, _fixed_hard_sigmoid,
          cases=(Case((([-13, -12, -8, 0, 5, 11, 12, 20], 2),), None, 7, [0, 0, 21, 64, 91, 123, 127, 127]),)),
    OpDef("softmax", same_shape, _softmax),
)
