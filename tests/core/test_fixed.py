"""Every rounding rule against exact fractions and the specification's tables."""

from __future__ import annotations

import doctest
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpuedge import fixed
from dpuedge.errors import DpuError

import oracle

TIES = np.array([-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5])


def test_doctests():
    assert doctest.testmod(fixed).failed == 0
    assert doctest.testmod(fixed).attempted >= 10


@pytest.mark.parametrize(("rule", "expected"), [
    ("half_up", [-3, -2, -1, 0, 1, 2, 3, 4]),
    ("half_away", [-4, -3, -2, -1, 1, 2, 3, 4]),
    ("trunc", [-3, -2, -1, 0, 0, 1, 2, 3]),
])
def test_ties(rule, expected):
    assert fixed.ROUNDINGS[rule](TIES).tolist() == expected


def test_shift_round_is_exact_on_all_int16_and_shifts():
    values = np.arange(-(1 << 15), 1 << 15)
    for shift in range(0, 18):
        expected = np.floor_divide(2 * values + (1 << shift), 2 << shift)  # floor(v / 2**s + 1/2) in integers
        assert np.array_equal(fixed.shift_round(values, shift), expected)


@given(st.integers(-(2**40), 2**40), st.integers(-8, 30))
def test_shift_round_against_fractions(value, shift):
    assert fixed.shift_round(np.array([value]), shift)[0] == oracle.half_up(Fraction(value) * oracle.two(-shift))


@given(st.lists(st.integers(-(2**30), 2**30), min_size=1, max_size=5), st.integers(-4, 20))
def test_shift_round_takes_an_array_of_shifts(values, shift):
    shifts = np.arange(len(values)) + shift
    expected = [oracle.half_up(Fraction(v) * oracle.two(-int(s))) for v, s in zip(values, shifts, strict=True)]
    assert fixed.shift_round(np.array(values), shifts).tolist() == expected


floats = st.floats(-300, 300, width=32)


@given(st.lists(floats, min_size=1, max_size=8), st.integers(-3, 12), st.sampled_from(["half_up", "half_away"]))
def test_snap_and_quantize_against_fractions(values, pos, rule):
    x = np.array(values, np.float32)
    expected = [oracle.saturate(getattr(oracle, rule)(Fraction(float(v)) * oracle.two(pos))) for v in x]
    assert fixed.quantize(x, pos, rule).tolist() == expected
    assert (fixed.snap(x, pos, rule) * 2.0**pos).tolist() == expected


def test_snap_just_below_a_half_and_signs_of_zero():
    below = np.array([0.49999997, -0.49999997, -0.5, -0.3], np.float32)
    assert fixed.snap(below, 0, "half_up").tolist() == [0, 0, 0, 0]
    assert not np.signbit(fixed.snap(below, 0, "half_up")).any()
    away = fixed.snap(below, 0, "half_away")
    assert away.tolist() == [0, 0, -1, 0]
    assert np.signbit(away).tolist() == [False, True, True, True]


def test_shifts_that_leave_64_bits_are_an_error_not_a_wrap():
    assert fixed.shift_up(np.array([1, -1]), 40).tolist() == [1 << 40, -(1 << 40)]
    assert fixed.shift_up(np.zeros(2), 90 % 64).tolist() == [0, 0]
    for values, shift in (([1], 63), ([3], 62), ([1 << 30], 40)):
        with pytest.raises(DpuError, match="too far apart"):
            fixed.shift_up(np.array(values), shift)
        with pytest.raises(DpuError, match="too far apart"):
            fixed.shift_round(np.array(values), -shift)


def test_nan_becomes_the_lower_bound():
    assert fixed.quantize(np.array([np.nan]), 3).tolist() == [-128]
    assert fixed.snap(np.array([np.nan], np.float32), 3).tolist() == [-16]


@pytest.mark.parametrize(("low", "high", "pos"), [
    (0, 1, 6), (-1, 0, 7), (-1, 1, 6), (0, 0.99609375, 7), (0, 6, 4), (-0.3, 0.2, 8), (0, 127.5, 0), (0, 255, -1),
    (-128.5, 0, 0), (0, 0, 127),
])
def test_overflow_position(low, high, pos):
    assert fixed.overflow_position(low, high) == pos


@given(st.lists(st.lists(st.integers(-128, 127), min_size=3, max_size=3), min_size=1, max_size=4))
def test_exact_matmul(rows):
    a = np.array(rows, np.int8)
    assert np.array_equal(fixed.exact_matmul(a, a.T), a.astype(object) @ a.T.astype(object))
