"""Biases finer than the accumulator: found, moved, and what the search makes of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from dpuflow.formats.tf_builder import FrozenBuilder
from dpuflow.model import model_from_tf
from dpuflow.passes.preround_biases import fine_bias
from dpuflow.quant.quantizer import quantize_graph
from dpuflow.recipe import record as record_module
from dpuflow.recipe.agree_on_biases import agree_on_biases, fine_biases
from dpuflow.recipe.judge import Verdict
from dpuflow.recipe.search import AGREED, auto
from recipe.networks import job


def network():
    """A layer whose bias is far smaller than its products, and one with an ordinary bias."""
    rng, build = np.random.default_rng(0), FrozenBuilder()
    x = build.placeholder("x", (-1, 8, 8, 2))
    y = build.bias_add("fine", build.conv2d("fine", x, rng.normal(0, 8, (3, 3, 2, 4))), rng.normal(0, 0.004, 4))
    y = build.unary("relu", "Relu", y)
    build.bias_add("coarse", build.conv2d("coarse", y, rng.normal(0, 0.1, (1, 1, 4, 3))), rng.normal(0, 30, 3))
    return build.graph("biases")


def quantized(task):
    return quantize_graph(task.graph, task.config, task.batches)


def differing_layers(made, config) -> int:
    graph = model_from_tf(made.evaluation, "biases", config.shapes).graph
    return sum(fine_bias(graph, node) is not None for node in graph.nodes)


def test_a_fine_bias_moves_to_its_accumulator_s_position_and_nothing_else(tmp_path):
    task = job(network(), tmp_path)
    before = quantized(task)
    i, w, b = (before.positions[name] for name in ("x/aquant", "fine/kernel/wquant", "fine/bias/wquant"))
    assert b > i + w
    assert fine_biases(before) == {"fine/bias/wquant": i + w}
    after = agree_on_biases(before, task.config)
    assert after.positions == {**before.positions, "fine/bias/wquant": i + w}
    assert (differing_layers(before, task.config), differing_layers(after, task.config)) == (1, 0)
    assert after.deploy.node("fine/Conv2D").get("bpos") == (8, i + w)
    assert not fine_biases(after)


def test_a_network_that_agrees_is_left_alone(tmp_path):
    task = job(network(), tmp_path)
    agreed = agree_on_biases(quantized(task), task.config)
    assert agree_on_biases(agreed, task.config) is agreed


@pytest.mark.parametrize(("one", "other", "better"), [
    (Verdict(0.05, 1.0, None, 0), Verdict(0.0, 0.1, None, 1), True),  # both hold: agreement first
    (Verdict(0.5, 0.1, None, 0), Verdict(0.05, 1.0, None, 2), False),  # only the other holds
    (Verdict(0.5, 0.1, None, 3), Verdict(0.6, 0.1, None, 0), True),  # neither holds: the drop
    (Verdict(0.0, 0.1, None, 1), Verdict(0.0, 0.2, None, 1), True),
    (Verdict(None, 0.1, None, 1), Verdict(None, 0.2, None, 0), True),  # no drop is known: the noise
])
def test_what_is_better_under_a_limit_of_a_tenth(one, other, better):
    assert one.is_better(other, 0.1) is better
    assert other.is_better(one, 0.1) is not better


def read(folder):
    return json.loads((folder / record_module.FILE).read_text(encoding="utf-8"))


def measured(folder, accuracy):
    return job(network(), folder, evaluate=lambda made: accuracy, float_accuracy=0.9, max_drop=0.5)


def test_the_search_goes_on_to_a_plan_that_agrees(tmp_path):
    """The vendor's rule holds the limit, but its compilers would disagree on one layer."""
    task = measured(tmp_path, 0.9)
    made = auto(task)
    found = read(tmp_path)
    assert [(trial["plan"], trial["fine_biases"]) for trial in found["trials"]] == [("vendor", 1), (AGREED.name, 0)]
    assert found["best"] == AGREED.name
    assert not fine_biases(made)
    vendor = quantized(task)
    assert {name for name, pos in made.positions.items() if pos != vendor.positions[name]} == {"fine/bias/wquant"}
    assert auto(measured(tmp_path, 0.0)).positions == made.positions  # from the record: nothing is asked again


def test_agreement_is_not_bought_with_the_limit(tmp_path):
    """Every plan that agrees loses too much: the vendor's rule stays."""
    def evaluate(made):
        return 0.9 if fine_biases(made) else 0.5

    auto(replace(measured(tmp_path, 0.9), evaluate=evaluate))
    assert read(tmp_path)["best"] == "vendor"


