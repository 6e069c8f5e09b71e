"""Moments and blocks against direct computation; the fine-tuned weights against exhaustive search."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dpuedge import fixed
from dpuflow.ir.graph import Node
from dpuflow.ops import get_op
from dpuflow.ops.base import Padding
from dpuflow.ops.conv import ConvAttrs, DenseAttrs
from dpuflow.quant.insert import Group
from dpuflow.recipe.layer import blocks, moments, unblocked
from dpuflow.recipe.round_weights import Rounding, round_weights
from dpuflow.recipe.walk import LayerView

RNG = np.random.default_rng(5)
CONV = ConvAttrs(stride=(2, 1), padding=Padding(0, 1, 1, 0))
LAYERS = {
    "conv": (Node("n", "conv2d", attrs=CONV), (6, 5, 5, 3), (2, 3, 3, 4)),
    "grouped": (Node("n", "conv2d", attrs=ConvAttrs(groups=2)), (6, 4, 4, 4), (3, 3, 2, 6)),
    "depthwise": (Node("n", "depthwise_conv2d", attrs=CONV), (6, 5, 5, 3), (2, 3, 3, 2)),
    "dense": (Node("n", "dense", attrs=DenseAttrs()), (20, 7), (7, 4)),
}


def values(name):
    node, x_shape, w_shape = LAYERS[name]
    x = RNG.normal(0.3, 1, x_shape).astype(np.float32)
    weights = RNG.normal(0, 0.5, w_shape).astype(np.float32)
    return node, x, weights, get_op(node.op).float_([x, weights], node.attrs)


@pytest.mark.parametrize("name", LAYERS)
def test_the_error_from_moments_is_the_variance_of_the_output_error(name):
    node, x, weights, target = values(name)
    other = weights + RNG.normal(0, 0.1, weights.shape).astype(np.float32)
    difference = get_op(node.op).float_([x, other], node.attrs) - target
    flat = difference.reshape(-1, difference.shape[-1]).astype(np.float64)
    known = moments(node, x, target, weights.shape, 0)
    assert known.error(blocks(node, other)) == pytest.approx(flat.var(axis=0).sum(), rel=1e-3, abs=1e-6)
    assert known.error(blocks(node, weights)) == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(known.bias(blocks(node, other)), -flat.mean(axis=0), atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_blocks_are_undone(name):
    node, _, weights, _ = values(name)
    np.testing.assert_array_equal(unblocked(node, blocks(node, weights), weights.shape), weights)


def view(node, x, weights, target, pos, bits=8):
    return LayerView(node, Group("n", "x", "n", "w", "b"), weights, np.zeros(weights.shape[-1], np.float32), x, target,
                     6, pos, 6, 4, bits)


def test_fine_tuned_weights_are_the_best_on_a_grid_small_enough_to_search():
    """Three weights of 3 bits, strongly correlated inputs: nearest rounding is far from the best."""
    rng = np.random.default_rng(3)
    node = Node("n", "dense", attrs=DenseAttrs())
    common = rng.normal(0, 1, (200, 1))
    x = (common + rng.normal(0, 0.15, (200, 3))).astype(np.float32)
    weights = np.array([[0.36], [0.35], [0.34]], np.float32)
    target = x @ weights
    made = round_weights(Rounding(ridge=0, around=(0,)))(view(node, x, weights, target, 2, bits=3)).weights
    known = moments(node, x, target, weights.shape, 0)
    grid = np.arange(-4, 4) / 4
    every = {pick: known.error(np.array(pick).reshape(1, 3, 1)) for pick in itertools.product(grid, repeat=3)}
    nearest = fixed.snap(weights, 2, "half_away", 3)
    found = known.error(made[None].astype(np.float64))
    assert found == pytest.approx(min(every.values()), rel=1e-3)
    assert found < 0.5 * known.error(nearest[None].astype(np.float64))


@pytest.mark.parametrize("name", LAYERS)
def test_fine_tuned_weights_lie_on_the_grid_and_come_closer_than_the_nearest(name):
    node, x, weights, target = values(name)
    seen = view(node, x, weights, target, 4)
    chosen = round_weights(Rounding(ridge=0.001, around=(0,)))(seen)
    np.testing.assert_array_equal(fixed.snap(chosen.weights, chosen.weights_pos, "half_away"), chosen.weights)
    known = moments(node, x, target, weights.shape, 0)
    nearest = fixed.snap(weights, 4, "half_away")
    assert known.error(blocks(node, chosen.weights)) < known.error(blocks(node, nearest))


def test_the_bias_is_no_finer_than_the_accumulator():
    node, x, weights, target = values("dense")
    seen = view(node, x, weights, target + np.float32(0.001), 7)
    chosen = round_weights()(seen)
    assert chosen.bias_pos <= seen.input_pos + chosen.weights_pos
    np.testing.assert_array_equal(fixed.snap(chosen.bias, chosen.bias_pos, "half_away"), chosen.bias)
