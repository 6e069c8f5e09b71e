"""The position of one tensor (quantizer specification, section 4).

Method 0 takes the largest position that does not overflow, method 1 the one of five with the
smallest squared error, method 2 the same with a relative error on depthwise weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from dpuedge import fixed
from dpuflow.errors import QuantizeError
from dpuflow.ir.graph import Array

CANDIDATES = 5  # positions tried upwards from the overflow position
_BLOCK = 1 << 16  # values at a time, so that every step stays in the cache
_SURELY = 1 + 1e-9  # beyond what the order of a float64 sum can change


def _blocks(x: Array) -> Iterator[Array]:
    return (x[start:start + _BLOCK] for start in range(0, x.size, _BLOCK))


def squared_error(x: Array, pos: int, rounding: str, bits: int) -> float:
    """Sum of squared rounding errors at a position, accumulated in float64."""
    total = 0.0
    for block in _blocks(x):
        residue = fixed.rounding_residue(block, pos, rounding, bits).astype(np.float64)
        total += float(np.dot(residue, residue))
    return total * 4.0**-pos


def saturation_error(x: Array, pos: int, bits: int) -> float:
    """The part of the squared error that saturation makes: a lower bound that grows with the position."""
    low, high = (np.float32(bound * 2.0**-pos) for bound in fixed.int_range(bits))
    total = 0.0
    for block in _blocks(x):
        for outside, bound in ((block[block > high], high), (block[block < low], low)):
            excess = outside.astype(np.float64) - bound
            total += float(np.dot(excess, excess))
    return total


def least_squared_error(x: Array, candidates: range, rounding: str, bits: int) -> int:
    """The position with the least squared error, the smallest of equals.

    Ends as soon as saturation alone costs more than the best so far: no finer position can win.
    """
    best, least = candidates[0], squared_error(x, candidates[0], rounding, bits)
    for pos in candidates[1:]:
        if saturation_error(x, pos, bits) > least * _SURELY:
            break
        error = squared_error(x, pos, rounding, bits)
        if error < least:
            best, least = pos, error
    return best


def relative_error(x: Array, pos: int, rounding: str, bits: int) -> float:
    """The vendor's error for depthwise weights: sum of sqrt(|q - x| / (|x| + 1e-9)), the difference in float32."""
    error = np.abs(fixed.snap(x, pos, rounding, bits) - x).astype(np.float64)
    return float(np.sum(np.sqrt(error / (np.abs(x).astype(np.float64) + 1e-9))))


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
    candidates = range(first, min(first + CANDIDATES, fixed.ALL_ZERO_POS))
    if method == 2 and depthwise:
        errors = [relative_error(flat, pos, rounding, bits) for pos in candidates]
        return first + int(np.argmin(errors))
    return least_squared_error(flat, candidates, rounding, bits)


def snap_blocks(x: Array, pos: int, rounding: str, bits: int) -> Array:
    """``fixed.snap`` block by block: the same values, faster on large tensors."""
    flat = np.ascontiguousarray(x, np.float32).reshape(-1)
    snapped = np.empty_like(flat)
    for start in range(0, flat.size, _BLOCK):
        snapped[start:start + _BLOCK] = fixed.snap(flat[start:start + _BLOCK], pos, rounding, bits)
    return snapped.reshape(x.shape)
