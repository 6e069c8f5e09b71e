"""Arithmetic before the first convolution goes into it where that is exact, and stays where it is not."""

from __future__ import annotations

import numpy as np
import pytest

from dpuflow.engines.evaluate import evaluate
from dpuflow.formats.graphdef import const_node, new_node
from dpuflow.formats.tf_builder import FrozenBuilder
from dpuflow.formats.tf_import import import_tf
from dpuflow.formats.tf_values import FLOAT
from dpuflow.recipe.fold_input import fold_input

MEAN, SCALE = np.array([0.4, 0.5], np.float32), np.array([2.0, 3.0], np.float32)


def network(steps, padding="VALID", norm=False):
    rng = np.random.default_rng(0)
    build = FrozenBuilder()
    x = build.placeholder("x", (-1, 6, 6, 2))
    for index, (op, value, first) in enumerate(steps):
        name = build.add(const_node(f"c{index}", np.asarray(value, np.float32)))
        x = build.add(new_node(f"step{index}", op, (name, x) if first else (x, name), T=FLOAT))
    x = build.conv2d("conv", x, rng.normal(0, 1, (3, 3, 2, 4)), padding=padding)
    if norm:
        terms = [rng.uniform(0.5, 1, 4).astype(np.float32) for _ in range(4)]
        x = build.batch_norm("norm", x, tuple(terms), 1e-3)
    else:
        x = build.bias_add("conv", x, rng.normal(0, 1, 4))
    build.unary("out", "Relu", x)
    return build.graph("net")


def output(graph):
    made = import_tf(graph, ("out",))
    x = np.random.default_rng(1).normal(0, 1, (3, 6, 6, 2)).astype(np.float32)
    return evaluate(made, {"x": x})["out"]


STEPS = {
    "mean and scale": [("Sub", MEAN, False), ("Mul", SCALE, True)],
    "minus x": [("Sub", MEAN, True), ("AddV2", 0.25, False)],
    "division": [("RealDiv", SCALE, False)],
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("norm", [False, True])
def test_it_computes_the_same_without_the_arithmetic(steps, norm):
    graph = network(steps, norm=norm)
    folded = fold_input(graph)
    assert not any(node.name.startswith("step") for node in folded.nodes)
    np.testing.assert_allclose(output(folded), output(graph), rtol=1e-4, atol=1e-4)


def test_a_scale_folds_under_padding_and_a_mean_does_not():
    scaled, shifted = network(STEPS["division"], "SAME"), network(STEPS["mean and scale"], "SAME")
    assert "step0" not in fold_input(scaled).by_name
    np.testing.assert_allclose(output(fold_input(scaled)), output(scaled), rtol=1e-4, atol=1e-4)
    assert fold_input(shifted) is shifted
    assert "step0" not in fold_input(shifted, exact=False).by_name


def test_a_network_without_arithmetic_stays():
    graph = network([])
    assert fold_input(graph) is graph
