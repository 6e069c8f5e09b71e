"""Batches in pieces: which size, every image once in the result."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpuflow.engines.pieces import compute_in_pieces, piece_size


@pytest.mark.parametrize(("batch", "at_once", "size"), [
    (1, 1, 1), (7, 1, 1), (3, 5, 3), (5, 5, 5), (8, 3, 2), (11, 4, 4), (128, 48, 32), (10, 4, 2), (9, 4, 3), (7, 4, 4)])
def test_size_of_a_piece(batch, at_once, size):
    assert piece_size(batch, at_once) == size


@given(st.integers(1, 200), st.integers(1, 60))
def test_every_image_is_computed_by_pieces_of_one_size(batch, at_once):
    x, memory, sizes = np.arange(batch, dtype=np.int8)[:, None], {}, set()

    def infer(given):
        sizes.add(len(given[0]))
        out = memory.setdefault(len(given[0]), np.empty((len(given[0]), 1), np.int8))
        np.add(given[0], 1, out=out)
        return [out]

    (result,) = compute_in_pieces(infer, [x], at_once)
    np.testing.assert_array_equal(result, x + np.int8(1))
    assert len(sizes) == 1
    assert max(sizes) <= at_once
    assert all(not np.shares_memory(result, own) for own in memory.values())
