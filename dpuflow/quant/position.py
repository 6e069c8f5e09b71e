"""The position of one tensor (quantizer specification, section 4).

Method 0 takes the largest position that does not overflow, method 1 the one of five with the
smallest squared error, method 2 the same with a relative error on depthwise weights.
"""

from __future__ import annotations

import math

import numpy as np

from dpuedge import fixed
from dpuflow.errors import QuantizeError
from dpuflow.ir.graph import Array

CANDIDATES = 5  # positions tried upwards from the overflow position
_BLOCK = 1 << 16  # values at a time, so that every step stays in the cache


def squared_error(x: Array, pos: int, rounding: str, bits: int) -> float:
    """Sum of squared rounding errors at a position, accumulated in float64."""
    total = 0.0
    for start in range(0, x.size, _BLOCK):
        block = x[start:start + _BLOCK]
        error = fixed.snap(block, pos, rounding, bits)
        error -= block
        exact = error.astype(np.float64)
        total += float(np.dot(exact, exact))
    return total


def relative_error(x: Array, pos: int, rounding: str, bits: int) -> float:
    """The vendor's error for depthwise weights: sum of sqrt(|q - x| / (|x| + 1e-9))."""
    error = fixed.snap(x, pos, rounding, bits) - x
    return float(np.sum(np.sqrt(np.abs(error / (np.abs(x) + np.float32(1e-9)))), dtype=np.float64))


def find_position(x: Array, method: int, rounding: str, bits: int = 8, depthwise: bool = False,
                  where: str | None = None) -> int:
    """The position of float32 ``x``; 127 for a tensor of zeros. QuantizeError at ``where`` for NaN or infinity."""
    flat = np.ascontiguousarray(x, np.float32).reshape(-1)
    low, high = float(flat.min()), float(flat.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise QuantizeError("a tensor holds NaN or infinity", where=where, got=f"{low:g} .. {high:g}",
                            remedy="check the frozen weights and the preprocessing")
    first = fixed.overflow_position(low, high, bits)
    if method == 0 or first == fixed.ALL_ZERO_POS:
        return first
    error = relative_error if method == 2 and depthwise else squared_error
    candidates = range(first, min(first + CANDIDATES, fixed.ALL_ZERO_POS))
    errors = [error(flat, pos, rounding, bits) for pos in candidates]
    return first + int(np.argmin(errors))
