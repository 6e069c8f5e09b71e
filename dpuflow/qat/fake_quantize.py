"""The FixNeuron as a differentiable function: rounding and saturation of the DPU, gradients of TQT.

Trained thresholds: ``t = 2 ** ceil(log2_t)``, the grid's step ``t / 2 ** (bits - 1)``. Forward it is
``dpuedge.fixed.snap``, value for value (a test compares them); backward the rounding counts as the
identity, so that automatic differentiation gives equations 6 to 8 of the TQT paper.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

from dpuflow.formats.checks import POSITIONS

_EXPONENTS = range(-POSITIONS[-1] - 16, -POSITIONS[0] + 17)
# Exact powers of two: a backend's pow may be one ulp off.
_POWERS = np.array([2.0**exponent for exponent in _EXPONENTS], np.float32)


def threshold_of(pos: int, bits: int) -> float:
    """log2 of a threshold that means position ``pos``, in the middle of its interval."""
    return bits - 1 - pos - 0.5


def position_of(log2_threshold: float, bits: int) -> int:
    """The position that a threshold means."""
    return bits - 1 - math.ceil(log2_threshold)


def _straight(value: Any, replaced: Any) -> Any:
    """``replaced`` forward, the gradient of ``value`` backward."""
    return value + ops.stop_gradient(replaced - value)


def _step(log2_threshold: Any, bits: int) -> Any:
    """The grid's step, exact, with the gradient ``step * ln 2``."""
    whole = ops.stop_gradient(ops.ceil(log2_threshold))
    index = ops.clip(ops.cast(whole, "int32") - (bits - 1) - _EXPONENTS[0], 0, len(_POWERS) - 1)
    exact = ops.take(ops.convert_to_tensor(_POWERS), index)
    return exact * (1.0 + math.log(2.0) * (log2_threshold - ops.stop_gradient(log2_threshold)))


def _nearest(scaled: Any, rounding: str) -> Any:
    """The nearest integer, ties up or away from zero; nothing is added before the rounding."""
    even = ops.round(scaled)
    tie = scaled - even
    if rounding == "half_up":
        return even + ops.cast(ops.equal(tie, 0.5), scaled.dtype)
    return ops.where(ops.equal(ops.abs(tie), 0.5), scaled + 0.5 * ops.sign(scaled), even)


def fake_quantize(x: Any, log2_threshold: Any, bits: int = 8, rounding: str = "half_up") -> Any:
    """``x`` on the grid of its threshold, saturated; differentiable in both."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    step = _step(log2_threshold, bits)
    scaled = x / step
    # Straight through: z + (round(z) - z) is round(z) exactly only where the difference is exact; it is, in float32,
    # for all that does not saturate.
    rounded = _straight(ops.clip(scaled, low - 1, high + 1), ops.clip(_nearest(scaled, rounding), low - 1, high + 1))
    return ops.clip(rounded, low, high) * step
