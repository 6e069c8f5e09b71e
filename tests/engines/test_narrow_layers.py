"""Layers in narrow integers: the same integers as the reference kernels, on ties, at both ends, for all shifts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpuedge import fixed
from dpuflow.engines.fast import FastEngine
from dpuflow.engines.parts import NumPyPart
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.ir.graph import Fix, Graph, Node
from dpuflow.ir.verify import infer_shapes, verify
from dpuflow.ops.elementwise import EltwiseAttrs
from dpuflow.ops.movement import ConcatAttrs
from dpuflow.ops.resize import ResizeAttrs

int8 = st.integers(-128, 127)


@given(st.lists(st.tuples(st.lists(int8, min_size=4, max_size=4), st.integers(0, 16)), min_size=1, max_size=4),
       st.integers(-8, 24), st.booleans())
@settings(max_examples=300)
def test_narrow_sums_are_the_wide_ones(operands, down, relu):
    values, ups = [np.array(one, np.int8) for one, _ in operands], [up for _, up in operands]
    got = fixed.narrow_sum(values, ups, down, relu)
    total = sum(fixed.shift_up(one, up) for one, up in zip(values, ups, strict=True))
    expected = fixed.requantize(np.maximum(total, 0) if relu else total, down, 0)
    largest = sum(128 << up for up in ups) + 2 ** max(down - 1, 0)
    if got is None:
        assert largest * 2 ** max(-down, 0) >= 2**31
    else:
        assert got.dtype == np.int8
        np.testing.assert_array_equal(got, expected)


def test_ties_and_ends_in_long_arrays():
    """Every pair of int8 numbers, over the borders of the blocks."""
    a, b = (side.reshape(-1).astype(np.int8) for side in np.mgrid[-128:128, -128:128])
    for up, down in ((0, 1), (3, 0), (7, 8), (8, 9), (15, 15), (0, -2)):
        expected = fixed.requantize(fixed.shift_up(a, up) + b, down, 0)
        np.testing.assert_array_equal(fixed.narrow_sum([a, b], [up, 0], down), expected)


@given(st.integers(1, 3000), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=25)
def test_int8_products_are_exact(terms, seed, extreme):
    chance = np.random.default_rng(seed)
    a = chance.integers(-128, 128, (3, terms)).astype(np.int8)
    b = np.full((terms, 2), -128, np.int8) if extreme else chance.integers(-128, 128, (terms, 2)).astype(np.int8)
    a[0] = -128
    np.testing.assert_array_equal(fixed.exact_matmul(a, b), a.astype(np.int64) @ b.astype(np.int64))


def joined(pos_a: int, pos_b: int, out: int, op: str) -> Graph:
    nodes = [Node("a", "input", shape=(1, 5, 7, 3), fix=Fix(pos_a)),
             Node("b", "input", shape=(1, 5, 7, 3), fix=Fix(pos_b)),
             Node("s", op, ("a", "b"), EltwiseAttrs("relu") if op == "add" else ConcatAttrs(3), fix=Fix(out)),
             Node("r", "resize_nearest", ("s",), ResizeAttrs((10, 7)), fix=Fix(out))]
    return verify(infer_shapes(Graph("joined", tuple(nodes), ("s", "r"))))


@pytest.mark.parametrize(("op", "positions", "kind"), [
    ("add", (4, 6, 3), "LiteRT"), ("add", (-3, 12, 5), "narrow"), ("add", (0, 28, 5), "reference"),
    ("concat", (5, 5, 5), "LiteRT"), ("concat", (5, 4, 5), "narrow")])
def test_the_engine_uses_them_where_they_hold(op, positions, kind):
    graph = joined(*positions, op)
    engine, chance = FastEngine(graph), np.random.default_rng(1)
    inputs = {name: chance.integers(-128, 128, (3, 5, 7, 3)).astype(np.int8) for name in "ab"}
    got, expected = (one.run(inputs, int8=True) for one in (engine, ReferenceEngine(graph)))
    for name in graph.outputs:
        np.testing.assert_array_equal(got[name], expected[name])
    part = engine.parts[0]
    found = ("narrow" if part.compute else "reference") if isinstance(part, NumPyPart) else "LiteRT"
    assert found == kind


@given(st.integers(-18, 32), st.booleans(), st.sampled_from([(3, 4), (1, 4), (3, 1)]), st.integers(0, 2**32 - 1))
def test_narrow_products_are_the_wide_ones(down, relu, shape, seed):
    chance = np.random.default_rng(seed)
    a, b = chance.integers(-128, 128, (3, 4)).astype(np.int8), chance.integers(-128, 128, shape).astype(np.int8)
    a[0, 0] = b[0, 0] = -128
    got, wide = fixed.narrow_product(a, b, down, relu), a.astype(np.int64) * b
    if got is None:
        assert not -16 <= down <= 30
    else:
        expected = fixed.requantize(np.maximum(wide, 0) if relu else wide, down, 0)
        np.testing.assert_array_equal(got, expected, strict=True)


def test_ties_and_ends_of_products():
    """Every pair of int8 numbers."""
    a, b = (side.astype(np.int8) for side in np.mgrid[-128:128, -128:128])
    for down in (-1, 0, 1, 7, 13, 14, 15):
        expected = fixed.requantize(a.astype(np.int64) * b, down, 0)
        np.testing.assert_array_equal(fixed.narrow_product(a, b, down), expected)


def test_tables_hold_every_byte():
    table = fixed.byte_table(lambda every: np.maximum(every, 0))
    every = np.arange(-128, 128).astype(np.int8)
    assert fixed.look_up(table, every).tolist() == [0] * 128 + list(range(128))
