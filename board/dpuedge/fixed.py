"""Fixed-point arithmetic of the DPU: every rounding, shift and saturation of tensor data.

The rules are those of the arithmetic specification (sections 1, 2, 4, 9). No other module of the
project rounds, shifts or saturates tensor data; a test enforces it. Python 2.7 and 3.5+.

==========  ===============================  =====================================================
rule        definition                       used for
==========  ===============================  =====================================================
half_up     floor(t + 1/2)                   every activation, every result computed by the DPU
half_away   sign(t) * floor(abs(t) + 1/2)    weights, biases, leaky alpha
half_even   nearest, ties to even            constants of TensorFlow-2 files that lie off their grid
trunc       towards zero                     float input handed to a board runtime
==========  ===============================  =====================================================
"""
from __future__ import division

import numpy as np

from dpuedge.errors import DpuError

_SAFE_SHIFT = 24  # below this no accumulator of 8-bit products can leave 64 bits
ALL_ZERO_POS = 127  # the quantizer's mark for a tensor that holds only zeros; not a position


def int_range(bits=8):
    """Smallest and largest value of a signed ``bits``-bit integer.

    >>> int_range(8)
    (-128, 127)
    """
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def saturate(values, bits=8):
    """Clamp to the range of a signed ``bits``-bit integer; the dtype is kept.

    >>> saturate(np.array([-129, -128, 127, 300])).tolist()
    [-128, -128, 127, 127]
    """
    low, high = int_range(bits)
    return np.clip(values, low, high)


def shift_round(acc, shift):
    """``acc / 2**shift`` rounded half up, exactly, on int64; a negative shift multiplies.

    ``shift`` is an integer or an array of integers that broadcasts with ``acc``.

    >>> shift_round(np.array([-3, -1, 1, 3]), 1).tolist()
    [-1, 0, 1, 2]
    >>> shift_round(np.array([5]), -2).tolist()
    [20]
    """
    acc = np.asarray(acc, dtype=np.int64)
    if np.ndim(shift) == 0:
        shift = int(shift)
        if shift <= 0:
            return shift_up(acc, -shift)
        return (acc + (np.int64(1) << (shift - 1))) >> shift if shift < 63 else np.zeros_like(acc)
    shift = np.asarray(shift, dtype=np.int64)
    down = np.maximum(shift, 1)
    rounded = (acc + (np.int64(1) << (down - 1))) >> down
    return np.where(shift > 0, rounded, acc << np.maximum(-shift, 0))


def _check_room(values, shift):
    largest = int(np.max(np.abs(values))) if values.size else 0
    if largest and (shift >= 63 or largest >= 1 << (63 - shift)):
        raise DpuError("the positions of two tensors are too far apart for 64-bit arithmetic",
                       got="a shift of %d bits" % shift, remedy="quantize the network again")


def shift_up(values, shift):
    """``values * 2**shift`` on int64, exact; ``shift`` is not negative.

    DpuError when a value leaves 64 bits: the positions that meet here are absurdly far apart.
    """
    values = np.asarray(values, dtype=np.int64)
    if np.ndim(shift) == 0 and shift > _SAFE_SHIFT:
        _check_room(values, int(shift))
    return values << shift


def half_up(values):
    """``floor(t + 1/2)`` in float64, right also just below a half in float32.

    >>> half_up(np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])).tolist()
    [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0]
    """
    return np.floor(np.asarray(values, dtype=np.float64) + 0.5)


def half_away(values):
    """Nearest integer, ties away from zero, in float64; the sign of a zero is kept.

    >>> half_away(np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])).tolist()
    [-3.0, -2.0, -1.0, 1.0, 2.0, 3.0]
    """
    values = np.asarray(values, dtype=np.float64)
    return np.copysign(np.floor(np.abs(values) + 0.5), values)


def half_even(values):
    """Nearest integer, ties to the even one, in float64."""
    return np.rint(np.asarray(values, dtype=np.float64))


def trunc(values):
    """Towards zero, as a C cast does, in float64."""
    return np.trunc(np.asarray(values, dtype=np.float64))


ROUNDINGS = {"half_up": half_up, "half_away": half_away, "half_even": half_even, "trunc": trunc}


def quantize(values, pos, rounding="half_up", bits=8):
    """Integers of ``values`` at position ``pos``: ``saturate(round(values * 2**pos))`` as int8.

    NaN becomes the lower bound, as in the vendor's quantizer (quantizer specification, section 4).
    Widths above 8 bits come back as int32.

    >>> quantize(np.array([0.7, -0.7, 1 / 128., -1 / 128., 9.0]), 6).tolist()
    [45, -45, 1, 0, 127]
    """
    low, high = int_range(bits)
    if np.asarray(values).dtype == np.float32 and rounding != "trunc":
        with np.errstate(over="ignore"):  # what overflows saturates
            scaled = np.asarray(values) * np.float32(2.0 ** pos)
        rounded = _nearest(scaled, rounding)
    else:
        rounded = ROUNDINGS[rounding](np.asarray(values, dtype=np.float64) * 2.0 ** pos)
    rounded = np.fmin(np.fmax(rounded, low), high)
    return rounded.astype(np.int8 if bits <= 8 else np.int32)


def cast_to_int8(values, pos):
    """``(int8_t)(values * 2**pos)`` as VART casts float32 input: truncated, and wrapped modulo 256.

    Nothing saturates (arithmetic specification, section 9); NaN and infinity become 0.

    >>> cast_to_int8(np.array([0.7, -0.7, 2.0, -2.1], np.float32), 6).tolist()
    [44, -44, -128, 122]
    """
    scaled = np.trunc(np.asarray(values, np.float32).astype(np.float64) * 2.0 ** pos)
    return np.fmod(np.where(np.isfinite(scaled), scaled, 0.0), 256.0).astype(np.int64).astype(np.uint8).view(np.int8)


def dequantize(ints, pos):
    """``ints * 2**-pos`` as float32; exact for every 8-bit integer."""
    return np.asarray(ints).astype(np.float32) * np.float32(2.0 ** -pos)


def snap(values, pos, rounding="half_up", bits=8):
    """Float32 ``values`` rounded onto the grid of ``pos`` and saturated, as float32.

    What the vendor's FixNeuron computes (quantizer specification, section 4): NaN becomes the
    lower bound; half_away keeps the sign of a zero. Exact: ties are found after rounding to the
    nearest even, so nothing is added before the rounding.

    >>> snap(np.array([0.3, -1.5, 200.0], np.float32), 0).tolist()
    [0.0, -1.0, 127.0]
    """
    low, high = int_range(bits)
    nearest = _nearest(np.asarray(values, np.float32) * np.float32(2.0 ** pos), rounding)
    np.fmax(nearest, np.float32(low), out=nearest)
    np.fmin(nearest, np.float32(high), out=nearest)
    nearest *= np.float32(2.0 ** -pos)
    return nearest


def rounding_residue(values, pos, rounding="half_up", bits=8):
    """How far ``snap`` moves float32 ``values``, in units of ``2**-pos``, as float32.

    Inside the range the difference is exact: at most one half, and a multiple of the value's last bit.

    >>> rounding_residue(np.array([0.25, -1.5, 130.0], np.float32), 0).tolist()
    [-0.25, 0.5, -3.0]
    """
    low, high = int_range(bits)
    scaled = np.asarray(values, np.float32) * np.float32(2.0 ** pos)
    nearest = _nearest(scaled, rounding)
    np.fmax(nearest, np.float32(low), out=nearest)
    np.fmin(nearest, np.float32(high), out=nearest)
    nearest -= scaled
    return nearest


def _nearest(scaled, rounding):
    """Float32 rounded half up, away or even, exact: a tie shows as a difference of one half."""
    shape = np.shape(scaled)
    return _nearest_flat(np.reshape(scaled, -1), rounding).reshape(shape)


def _nearest_flat(scaled, rounding):
    nearest = np.rint(scaled)
    if rounding == "half_even":
        return nearest
    with np.errstate(invalid="ignore"):  # infinity less infinity
        tie = scaled - nearest
    if rounding == "half_up":
        nearest += tie == np.float32(0.5)
        return nearest
    tied = np.abs(tie) == np.float32(0.5)
    if tied.any():
        nearest[tied] = scaled[tied] + np.copysign(np.float32(0.5), scaled[tied])
    return np.copysign(nearest, scaled)


def overflow_position(low, high, bits=8):
    """The largest position at which ``low .. high`` does not overflow; 127 for all zeros.

    Float32 arithmetic throughout, the logarithm rounded to float32 before the floor (quantizer
    specification, section 4).

    >>> [overflow_position(*r) for r in ((0, 1), (-1, 0), (0, 6), (0, 255), (0, 0))]
    [6, 7, 4, -1, 127]

    Values too small for any position count as zeros.
    """
    bottom, top = np.float32(-(2.0 ** (bits - 1)) - 0.5), np.float32(2.0 ** (bits - 1) - 0.5)
    scale = max(np.float32(low) / bottom, np.float32(high) / top)
    if scale == 0:
        return ALL_ZERO_POS
    with np.errstate(over="ignore"):
        ratio = np.float32(1) / scale
    if np.isinf(ratio):
        return ALL_ZERO_POS
    return int(np.floor(np.float32(np.log2(np.float64(ratio)))))


def exact_matmul(a, b):
    """Integer matrix product as int64: the sum of every row times column, without error.

    The products run through float64 BLAS. With operands of at most 8 bits the sum of ``k``
    products stays below ``k * 2**14``, exact in float64 for every ``k`` below 2**39. Two int8 arrays run
    through float32, in parts of ``_FLOAT32_TERMS`` products, whose sums stay below 2**24.

    >>> exact_matmul(np.full((1, 3000), -128, np.int8), np.full((3000, 1), -128, np.int8)).tolist()
    [[49152000]]
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype == np.int8 and b.dtype == np.int8 and b.ndim == 2:
        return _int8_matmul(a, b)
    return _whole_matmul(np.asarray(a, np.float64), np.asarray(b, np.float64))


def _whole_matmul(a, b):
    """The product of floats that hold integers, as int64."""
    # OpenBLAS's kernels for ARM were seen to raise floating-point flags for lanes that hold no operand.
    with np.errstate(all="ignore"):
        return np.matmul(a, b).astype(np.int64)


_FLOAT32_TERMS = 1023  # products of two int8 numbers whose sum float32 holds exactly


def _int8_matmul(a, b):
    total = None
    for first in range(0, b.shape[0], _FLOAT32_TERMS):
        terms = slice(first, first + _FLOAT32_TERMS)
        part = _whole_matmul(a[..., terms].astype(np.float32), b[terms].astype(np.float32))
        total = part if total is None else total + part
    return np.zeros(a.shape[:-1] + b.shape[1:], np.int64) if total is None else total


_NARROW_BLOCK = 1 << 15  # values at a time, so that every step stays in the cache


def narrow_sum(operands, ups, down, relu=False):
    """The sum of int8 arrays of one shape, each times ``2**up``, then :func:`requantize` by ``down`` bits to int8;
    negative sums become zero with ``relu``. None where 32 bits might not hold a sum.

    The same integers as with 64 bits, several times faster: the narrowest type that holds every sum.

    >>> narrow_sum([np.array([37], np.int8), np.array([-20], np.int8)], [0, 2], 1).tolist()
    [-21]
    """
    largest = (sum(128 << up for up in ups) + (1 << max(down - 1, 0))) << max(-down, 0)
    if largest >= 1 << 31 or min(ups) < 0:
        return None
    wide = np.int16 if largest < 1 << 15 else np.int32
    flat = [operand.reshape(-1) for operand in operands]
    result = np.empty(flat[0].size, np.int8)
    for first in range(0, result.size, _NARROW_BLOCK):
        block = slice(first, first + _NARROW_BLOCK)
        total = flat[0][block].astype(wide) << ups[0]
        for values, up in zip(flat[1:], ups[1:]):
            total += values[block].astype(wide) << up
        total = (total + wide(1 << (down - 1))) >> down if down > 0 else total << -down
        result[block] = np.clip(total, 0 if relu else -128, 127)
    return result.reshape(operands[0].shape)


def narrow_product(first, second, down, relu=False):
    """The product of two int8 arrays, then :func:`requantize` by ``down`` bits to int8; negative products become
    zero with ``relu``. None where 32 bits might not hold it.

    >>> narrow_product(np.array([37], np.int8), np.array([-20], np.int8), 3).tolist()
    [-92]
    """
    if not -16 <= down <= 30:
        return None
    wide = np.int16 if 0 <= down <= 14 else np.int32
    product = np.multiply(first, second, dtype=wide)
    if down > 0:
        product += wide(1 << (down - 1))
        product >>= down
    else:
        product <<= -down
    return np.clip(product, 0 if relu else -128, 127, out=product).astype(np.int8)


def byte_table(function):
    """The results of a function of one int8 array, for :func:`look_up`."""
    return function(np.arange(256, dtype=np.uint8).view(np.int8))


def look_up(table, values):
    """Every int8 value's entry of a :func:`byte_table`."""
    return np.take(table, values.view(np.uint8))


def requantize(acc, acc_pos, pos, bits=8):
    """The DPU's one rounding: int64 ``acc`` at position ``acc_pos`` to ``bits``-bit at ``pos``.

    >>> requantize(np.array([2413, -3099]), 13, 5).tolist()
    [9, -12]
    """
    return saturate(shift_round(acc, acc_pos - pos), bits).astype(np.int8 if bits <= 8 else np.int32)


def shift_floor(values, shift):
    """``floor(values / 2**shift)`` on int64; ``shift`` is not negative."""
    return np.asarray(values, dtype=np.int64) >> shift


def to_int8(values):
    """Integers that already lie in -128..127 as int8."""
    return np.asarray(values).astype(np.int8)
