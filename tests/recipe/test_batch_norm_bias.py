"""Means of clipped normal variables, and the biases that follow from them, against sampling."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dpuflow.formats.tf_builder import FrozenBuilder
from dpuflow.recipe.batch_norm_bias import clipped_mean, expected_shift, input_means
from dpuflow.recipe.draft import draft_of
from recipe.networks import depthwise, job


@pytest.mark.parametrize("top", [math.inf, 6.0, 0.5])
def test_the_mean_of_a_clipped_normal_variable(top):
    mean, deviation = np.array([-2.0, -0.3, 0.0, 1.0, 5.5, 9.0]), np.array([1.0, 0.5, 2.0, 1.0, 1.5, 1.0])
    drawn = np.clip(np.random.default_rng(0).normal(mean, deviation, (400000, 6)), 0, top)
    np.testing.assert_allclose(clipped_mean(mean, deviation, top), drawn.mean(axis=0), atol=0.01)


@pytest.mark.parametrize(("op", "shape", "outputs"), [
    ("conv2d", (3, 2, 4, 5), 5), ("depthwise_conv2d", (3, 2, 4, 2), 8), ("dense", (4, 5), 5), ("dense", (12, 5), 5)])
def test_the_expected_shift_is_that_of_a_constant_map(op, shape, outputs):
    from dpuflow.ops import get_op
    from dpuflow.ops.conv import ConvAttrs, DenseAttrs

    error = np.random.default_rng(1).normal(0, 1, shape)
    mean = np.array([1.0, -2.0, 0.5, 3.0])
    x = np.tile(mean, shape[0] // 4)[None] if op == "dense" else np.broadcast_to(mean, (1, 3, 2, 4))
    got = get_op(op).float_([x.astype(np.float32), error.astype(np.float32)],
                            DenseAttrs() if op == "dense" else ConvAttrs())
    np.testing.assert_allclose(expected_shift(op, error, mean), got.reshape(-1), rtol=1e-4, atol=1e-4)
    assert got.size == outputs


def test_means_are_found_behind_normalisations_and_scaled(tmp_path):
    rng = np.random.default_rng(0)
    build = FrozenBuilder()
    x = build.conv2d("a", build.placeholder("x", (-1, 8, 8, 2)), rng.normal(0, 1, (3, 3, 2, 3)))
    terms = (np.array([1, 2, 0.5]), np.array([0.5, -1, 3.0]), np.zeros(3), np.ones(3))
    x = build.unary("a/act", "Relu6", build.batch_norm("bn", x, terms, 1e-3))
    x = build.bias_add("b", depthwise(build, "b", x, rng.normal(0, 1, (3, 3, 3, 1))), np.ones(3))
    graph = build.graph("net")
    draft = draft_of(job(graph, tmp_path))
    scaled = draft.with_float({}, {"a/act": np.array([1.0, 2.0, 4.0])})
    want = clipped_mean(terms[1], terms[0], 6.0)
    np.testing.assert_allclose(input_means(graph, draft)["a/act"], want, rtol=1e-5)
    np.testing.assert_allclose(input_means(graph, scaled)["a/act"], want * [1, 2, 4], rtol=1e-5)
