"""Remedies change what they promise and nothing else; their results are ordinary quantized graphs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dpuedge import fixed
from dpuflow.analysis.layers import find_layers
from dpuflow.analysis.shifts import illegal_shifts
from dpuflow.analysis.simulation import ALL, Simulation
from dpuflow.engines import open_engine
from dpuflow.model import model_from_tf
from dpuflow.quant.positions import fix_neurons
from dpuflow.quant.quantizer import quantize_graph
from dpuflow.recipe.draft import draft_of
from dpuflow.recipe.equalise import Equalisation, equalise, find_links
from dpuflow.recipe.judge import Judge
from dpuflow.recipe.plan import Plan, carry_out, sample_of
from dpuflow.recipe.search import DEFAULT, PLANS
from recipe.networks import images, job, separable


def outputs(draft, x):
    simulation = draft.float_network
    return simulation.run({"x": x}, simulation.judged, ALL)["last/BiasAdd/aquant"]


def channel_spread(draft, name):
    weights = np.abs(draft.constant(name))
    tops = weights.reshape(-1, weights.shape[-1]).max(axis=0) if weights.shape[-1] > 1 else weights.max(axis=(0, 1, 3))
    return tops.max() / tops.min()


@pytest.mark.parametrize("act", ["Relu", "Relu6"])
@pytest.mark.parametrize("activations", [0.0, 0.5])
def test_equalisation_keeps_the_float_function(act, activations, tmp_path):
    draft = draft_of(job(separable(act=act), tmp_path))
    made = equalise(draft, {"x": images()}, Equalisation(activations))
    np.testing.assert_allclose(outputs(made, images()), outputs(draft, images()), rtol=1e-4, atol=1e-5)


def test_equalisation_brings_the_channels_together(tmp_path):
    draft = draft_of(job(separable(act="Relu"), tmp_path))
    made = equalise(draft, {"x": images()})
    assert len(list(find_links(draft))) == 3  # conv-depthwise, depthwise-pointwise, pointwise-dense over the mean
    for name in ("first/kernel", "second/kernel"):
        assert channel_spread(made, name) < 0.5 * channel_spread(draft, name)


def test_a_channel_clipped_by_relu6_is_not_scaled(tmp_path):
    graph = separable(act="Relu6")
    bias = graph.node("first/bias").tensor().copy()
    bias[2] = 40.0  # always at the limit
    graph = graph.replace(node.with_attrs(value=bias) if node.name == "first/bias" else node for node in graph.nodes)
    draft = draft_of(job(graph, tmp_path))
    made = equalise(draft, {"x": images()})
    assert made.scales["first/act"][2] == 1
    others = np.delete(made.scales["first/act"], 2)
    assert others.max() > 4 * others.min()
    np.testing.assert_allclose(outputs(made, images()), outputs(draft, images()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("plan", [plan for plan in PLANS if plan.weights != "vendor"], ids=lambda plan: plan.name)
def test_every_plan_gives_the_same_integers_in_both_graphs_and_engines(plan, tmp_path):
    task = job(separable(2), tmp_path)
    made = carry_out(task, plan, sample_of(task))
    for name, fix in fix_neurons(made.evaluation).items():
        source = made.evaluation.node(fix.operands[0])
        if source.op == "Const":
            values = source.tensor()
            snapped = fixed.snap(values, made.positions[name], "half_away")
            np.testing.assert_array_equal(values, snapped, err_msg=name)
    deployed = {node.name: node for node in made.deploy.nodes}
    np.testing.assert_array_equal(deployed["second/depthwise"].tensor("weights"),
                                  made.evaluation.node("second/kernel").tensor())
    np.testing.assert_array_equal(deployed["first/Conv2D"].tensor("bias"), made.evaluation.node("first/bias").tensor())
    assert illegal_shifts(made.evaluation, find_layers(made.evaluation), made.positions) == []
    assert_emulated_alike(task, made)


def assert_emulated_alike(task, made):
    x = images(7, 5)
    simulated = Simulation(made.evaluation, task.config).run({"x": x}, ("last/BiasAdd/aquant",))["last/BiasAdd/aquant"]
    for graph in (made.evaluation, made.deploy):
        model = model_from_tf(graph, "net", task.config.shapes)
        for engine in ("reference", "fast"):
            got = open_engine(model.graph, engine).run(x)
            np.testing.assert_array_equal(next(iter(got.values())), simulated)


def test_no_bias_is_finer_than_its_accumulator_after_a_recipe(tmp_path):
    task = job(separable(2), tmp_path)
    made = carry_out(task, DEFAULT, sample_of(task))
    for group in draft_of(task).groups:
        total = made.positions[f"{group.input}/aquant"] + made.positions[f"{group.weights}/wquant"]
        assert made.positions[f"{group.biases}/wquant"] <= total


def test_the_default_repairs_what_the_vendor_rule_breaks(tmp_path):
    task = job(separable(2, spread=4.0), tmp_path)
    sample = sample_of(task)
    judge = Judge(task, sample)
    vendor = judge(carry_out(task, Plan("vendor"), sample)).noise
    assert judge(carry_out(task, DEFAULT, sample)).noise < 0.3 * vendor


def test_bias_correction_takes_the_mean_error_away(tmp_path):
    task = job(separable(2, spread=4.0), tmp_path)
    sample = sample_of(task)
    exact = outputs(draft_of(task), sample.fit["x"]).mean(axis=0)

    def mean_error(plan):
        simulation = Simulation(carry_out(task, plan, sample).evaluation, task.config)
        made = simulation.run(sample.fit, ("last/BiasAdd/aquant",))["last/BiasAdd/aquant"].mean(axis=0)
        return float(np.abs(made - exact).max())

    assert mean_error(Plan("b", "correct_bias")) < 0.3 * mean_error(Plan("v"))


def test_the_vendor_plan_is_the_vendors_rule(tmp_path):
    task = job(separable(2), tmp_path)
    made = carry_out(task, Plan("vendor"), sample_of(task))
    assert made.positions == quantize_graph(task.graph, task.config, task.batches).positions


def test_a_single_image_is_enough_to_run(tmp_path):
    task = replace(job(separable(2), tmp_path), batches=[{"x": images(3, 1)}])
    made = carry_out(task, DEFAULT, sample_of(task))
    assert_emulated_alike(task, made)
