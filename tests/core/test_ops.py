"""Every operator's literal cases, and random operands against the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpuflow.ir.graph import Fix
from dpuflow.ops import OPS, Fixed
from dpuflow.ops.base import Padding
from dpuflow.ops.conv import ConvAttrs
from dpuflow.ops.elementwise import EltwiseAttrs
from dpuflow.ops.pool import PoolAttrs, average_factor

import oracle

CASES = [pytest.param(op, case, id=f"{op.name}-{index}")
         for op in OPS.values() for index, case in enumerate(op.cases)]


@pytest.mark.parametrize(("op", "case"), CASES)
def test_case(op, case):
    operands = [Fixed(np.array(values, np.int8), pos) for values, pos in case.operands]
    result = op.fixed(operands, case.attrs, Fix(case.pos))
    assert result.dtype == np.int8
    assert result.tolist() == case.result


@pytest.mark.parametrize("op", OPS.values(), ids=lambda op: op.name)
def test_every_fixed_operator_has_cases(op):
    assert bool(op.cases) == (op.fixed is not None)


positions = st.integers(-2, 9)
int8s = st.integers(-128, 127)
nonlinears = st.sampled_from(["none", "relu", "relu6", "leaky_relu"])


def _integers(draw, *shape):
    size = int(np.prod(shape))
    return np.array(draw(st.lists(int8s, min_size=size, max_size=size)), np.int8).reshape(shape)


@st.composite
def convolutions(draw, depthwise=False):
    kh, kw = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    channels, outputs = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    x = _integers(draw, 1, draw(st.integers(kh, 4)), draw(st.integers(kw, 4)), channels)
    w = _integers(draw, kh, kw, channels, outputs)
    bias = _integers(draw, channels * outputs if depthwise else outputs)
    attrs = ConvAttrs((draw(st.integers(1, 2)), draw(st.integers(1, 2))),
                      Padding(*(draw(st.integers(0, 2)) for _ in range(4))), nonlinear=draw(nonlinears))
    return x, w, bias, attrs, [draw(positions) for _ in range(4)]


@given(convolutions())
def test_conv2d_against_the_oracle(case):
    x, w, bias, attrs, (i, k, b, o) = case
    got = OPS["conv2d"].fixed([Fixed(x, i), Fixed(w, k), Fixed(bias, b)], attrs, Fix(o))
    expected = oracle.conv2d(x[0].tolist(), i, w.tolist(), k, bias.tolist(), b, attrs.stride, tuple(attrs.padding),
                             attrs.nonlinear, o)
    assert got[0].tolist() == expected


@given(convolutions(depthwise=True))
def test_depthwise_against_the_oracle(case):
    x, w, bias, attrs, (i, k, b, o) = case
    got = OPS["depthwise_conv2d"].fixed([Fixed(x, i), Fixed(w, k), Fixed(bias, b)], attrs, Fix(o))
    expected = oracle.depthwise(x[0].tolist(), i, w.tolist(), k, bias.tolist(), b, attrs.stride, tuple(attrs.padding),
                                attrs.nonlinear, o)
    assert got[0].tolist() == expected


@given(st.data(), st.sampled_from(["max", "avg"]))
def test_pools_against_the_oracle(data, kind):
    kernel = (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3)))
    x = _integers(data.draw, 1, data.draw(st.integers(3, 5)), data.draw(st.integers(3, 5)), 2)
    padding = Padding(*(data.draw(st.integers(0, size - 1)) for size in (kernel[0], kernel[0], kernel[1], kernel[1])))
    attrs = PoolAttrs(kernel, (data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2))), padding)
    i, o = data.draw(positions), data.draw(positions)
    got = OPS[f"{kind}_pool"].fixed([Fixed(x, i)], attrs, Fix(o))
    expected = oracle.pool(x[0].tolist(), i, kernel, attrs.stride, tuple(padding), kind, o)
    assert got[0].reshape(-1).tolist() == expected


@given(st.lists(st.tuples(int8s, positions), min_size=2, max_size=4), positions, st.sampled_from(["none", "relu"]))
def test_add_against_the_oracle(operands, o, nonlinear):
    fixed = [Fixed(np.array([value], np.int8), pos) for value, pos in operands]
    got = OPS["add"].fixed(fixed, EltwiseAttrs(nonlinear), Fix(o))
    assert got.tolist() == [oracle.add(operands, nonlinear, o)]


@given(st.lists(st.tuples(int8s, positions), min_size=2, max_size=3), positions)
def test_mul_against_the_oracle(operands, o):
    fixed = [Fixed(np.array([value], np.int8), pos) for value, pos in operands]
    assert OPS["mul"].fixed(fixed, EltwiseAttrs(), Fix(o)).tolist() == [oracle.multiply(operands, o)]


# Arithmetic specification, section 6.2: the second table.
@pytest.mark.parametrize(("kernel", "n", "m"), [
    ((2, 2), 1, 2), ((4, 4), 1, 4), ((8, 8), 1, 6), ((16, 16), 1, 8), ((15, 15), 73, 14), ((28, 28), 21, 14),
    ((9, 9), 101, 13), ((10, 10), 41, 12), ((11, 11), 17, 11), ((12, 12), 57, 13), ((13, 13), 97, 14),
    ((1, 7), 73, 9), ((2, 3), 85, 9), ((3, 4), 85, 10), ((3, 6), 57, 10), ((2, 7), 73, 10), ((5, 6), 17, 9),
    ((3, 3), 7, 6), ((5, 5), 10, 8), ((6, 6), 7, 8), ((7, 7), 21, 10), ((14, 14), 21, 12),
])
def test_average_factor(kernel, n, m):
    assert average_factor(kernel) == (n, m)


@given(st.integers(1, 32), st.integers(1, 32))
def test_average_factor_against_the_oracle(kh, kw):
    n, m = average_factor((kh, kw))
    assert oracle.Fraction(n, 2**m) == oracle.average_factor(kh, kw)
