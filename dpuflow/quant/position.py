"""The position of one tensor (quantizer specification, section 4).

Method 0 takes the largest position that does not overflow, method 1 the one of five with the
smallest squared error, method 2 the same with a relative error on depthwise weights.
"""

from __future__ import annotations

import numpy as np

from dpuedge import fixed
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
        total += float(np.dot(error, error))
    return total


def relative_error(x: Array, pos: int, rounding: str, bits: int) -> float:
    """The vendor's error for depthwise weights: sum of sqrt(|q - x| / (|x| + 1e-9))."""
    error = fixed.snap(x, pos, rounding, bits) - x
    return float(np.sum(np.sqrt(np.abs(error / (np.abs(x) + np.float32(1e-9)))), dtype=np.float64))


def find_position(x: Array, method: int, rounding: str, bits: int = 8, depthwise: bool = False) -> int:
    """The position of float32 ``x``; 127 for a tensor of zeros."""
    flat = np.ascontiguousarray(x, np.float32).reshape(-1)
    first = fixed.overflow_position(flat.min(), flat.max(), bits)
    if method == 0 or first == fixed.ALL_ZERO_POS:
        return first
    error = relative_error if method == 2 and depthwise else squared_error
    errors = [error(flat, first + up, rounding, bits) for up in range(CANDIDATES)]
    return first + int(np.argmin(errors))
