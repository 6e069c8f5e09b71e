"""The analysis: faults put in on purpose are found where they are, and every figure against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from dpuedge import fixed
from dpuflow.analysis.bias_modes import bias_differences
from dpuflow.analysis.layers import find_layers
from dpuflow.analysis.record import affordable_images, analyse
from dpuflow.analysis.remedies import RULES, Symptoms, remedies
from dpuflow.analysis.shifts import illegal_shifts
from dpuflow.analysis.simulation import ALL, Simulation
from dpuflow.analysis.tensors import TensorStatistics
from dpuflow.calibration import CalibrationSet
from dpuflow.engines.evaluate import evaluate
from dpuflow.errors import ConfigError
from dpuflow.formats.tf_import import import_tf
from dpuflow.model import model_from_tf
from dpuflow.ops.elementwise import FixAttrs
from dpuflow.quant.positions import apply_positions
from dpuflow.quant.quantizer import quantize_graph

from quant import small_net

NETWORK = small_net.layers(2)
GRAPH = small_net.frozen(NETWORK)
CONFIG = small_net.config(GRAPH)
X = np.random.default_rng(0).normal(0, 1, (64, 8, 8, 2)).astype(np.float32)
DATA = CalibrationSet("x", lambda: iter([{"x": X}]), len(X))
RESULT = quantize_graph(GRAPH, CONFIG, DATA)


def spoiled(name: str, step: int):
    fix = f"{name}/wquant" if "kernel" in name else f"{name}/aquant"
    return apply_positions(RESULT, {name: RESULT.positions[fix] + step}, CONFIG, "test")


def test_layers_hold_every_fix_neuron_once():
    layers = find_layers(RESULT.evaluation)
    fixes = [fix for layer in layers for fix in layer.fixes]
    assert sorted(fixes) == sorted(RESULT.positions)
    conv = next(layer for layer in layers if layer.name == "net/conv1/Conv2D")
    assert conv.fixes == ("net/conv1/kernel/wquant", "net/conv1/bias/wquant", "net/conv1/Relu/aquant")
    assert conv.inputs == ("net/conv0/Relu/aquant",)


def test_all_switched_off_is_the_float_network():
    simulation = Simulation(RESULT.evaluation, CONFIG)
    got = simulation.run({"x": X}, simulation.outputs, ALL)["net/out"]
    right = evaluate(import_tf(GRAPH, ["net/out"]), {"x": X})["net/out"]
    np.testing.assert_allclose(got, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("tensor", "step", "layer"), [
    ("net/conv1/kernel", -5, "net/conv1/Conv2D"), ("net/conv0/Relu", -4, "net/conv0/Conv2D"),
    ("net/conv0/Relu", 4, "net/conv0/Conv2D")])
def test_a_spoiled_position_is_found_and_the_remedy_undoes_it(tensor, step, layer):
    analysis = analyse(spoiled(tensor, step), CONFIG, DATA, 64)
    dearest = analysis.layers[0]
    assert dearest["name"] == layer
    assert dearest["noise_share"] > 0.8
    assert max(dearest["noise_by_tensor"], key=dearest["noise_by_tensor"].get) == tensor
    move = dearest["better_position"]
    assert (move["tensor"], np.sign(move["to"] - move["from"])) == (tensor, -np.sign(step))
    assert abs(move["to"] - move["from"]) >= abs(step) - 1
    assert f'"{tensor}": {move["to"]}' in dearest["remedies"][0]


def test_cost_in_accuracy_is_the_difference_that_one_layer_makes():
    bad = spoiled("net/conv1/kernel", -5)
    simulation = Simulation(bad.evaluation, CONFIG)
    truth = evaluate(import_tf(GRAPH, ["net/out"]), {"x": X})["net/out"].argmax(axis=1)

    def measure(run):
        return float(np.mean(run(X)["net/out"].argmax(axis=1) == truth))

    analysis = analyse(bad, CONFIG, DATA, 16, measure)
    rows = {row["name"]: row for row in analysis.layers}
    off = frozenset(next(layer for layer in find_layers(bad.evaluation) if layer.name == "net/conv1/Conv2D").fixes)
    right = measure(simulation.runner(off)) - measure(simulation.runner())
    assert rows["net/conv1/Conv2D"]["cost"] == pytest.approx(right)


def test_statistics_against_plain_numpy():
    rng = np.random.default_rng(1)
    exact = rng.normal(0, 3, (50, 4)).astype(np.float32)
    exact[0, 0], exact[0, 1] = 9.0, 0.03125 * 1.5
    got = (exact + rng.normal(0.05, 0.01, exact.shape)).astype(np.float32)
    statistics = TensorStatistics("t", "activation", FixAttrs(5, 8, "half_up"))
    for at in (0, 25):
        statistics.add(exact[at:at + 25], got[at:at + 25])
    found = statistics.as_json()
    e, q = exact.astype(np.float64), got.astype(np.float64)
    assert found["saturated_share"] == np.mean((e * 32 >= 127.5) | (e * 32 < -128.5))
    assert found["saturated_share"] > 0
    assert found["tie_share"] >= 1 / 200
    assert found["sqnr_db"] == pytest.approx(10 * np.log10((e**2).sum() / ((q - e) ** 2).sum()))
    assert found["cosine"] == pytest.approx((e * q).sum() / np.linalg.norm(e) / np.linalg.norm(q))
    assert found["mean_error_share"] > 0.9  # the error is nearly all offset
    assert sum(found["histogram"]) == 200
    own = fixed.snap(exact, 5, "half_up").astype(np.float64)
    assert found["own_sqnr_db"] == pytest.approx(10 * np.log10((e**2).sum() / ((own - e) ** 2).sum()))


def test_bias_modes_are_counted_where_the_bias_is_finer():
    fine = apply_positions(RESULT, {"net/conv1/kernel": RESULT.positions["net/conv1/kernel/wquant"] - 6,
                                    "net/conv1/bias": RESULT.positions["net/conv1/bias/wquant"] + 3}, CONFIG, "test")
    graph = model_from_tf(fine.evaluation, "q").graph
    found = {difference.layer: difference for difference in bias_differences(graph, [{"x": X}])}
    difference = found["net/conv1/Conv2D"]
    at = fine.positions
    assert difference.shift_bias == (at["net/conv0/Relu/aquant"] + at["net/conv1/kernel/wquant"]
                                     - at["net/conv1/bias/wquant"]) < 0
    assert 0 < difference.different < difference.values
    assert difference.largest == 1


def test_illegal_shifts_name_layer_and_numbers():
    assert illegal_shifts(RESULT.evaluation, find_layers(RESULT.evaluation), RESULT.positions) == []
    wild = {**RESULT.positions, "net/conv1/kernel/wquant": 40}
    (line, *_) = illegal_shifts(RESULT.evaluation, find_layers(RESULT.evaluation), wild)
    assert line.startswith("net/conv1/Conv2D: shift_cut")


def test_larger_networks_are_measured_on_fewer_images():
    assert affordable_images(Simulation(RESULT.evaluation, CONFIG), 5) == 256
    assert affordable_images(Simulation(RESULT.evaluation, CONFIG), 10**9) == 4


def tensor(**changes):
    return {"name": "t", "all_zero": False, "saturated_share": 0.0, "largest_integer": 127.0, "bits": 8, "pos": 4,
            "mean_error_share": 0.0, "own_sqnr_db": 45.0, **changes}


CASES = {
    "_all_zero": {"output": tensor(all_zero=True)},
    "_uneven_channels": {"weights": tensor(), "channel_spread": 20.0},
    "_saturates": {"output": tensor(saturated_share=0.02)},
    "_unused_range": {"output": tensor(largest_integer=30.0)},
    "_mean_error": {"output": tensor(mean_error_share=0.6)},
    "_coarse_weights": {"weights": tensor(own_sqnr_db=20.0)},
    "_coarse_output": {"output": tensor(own_sqnr_db=20.0)},
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_remedy_has_its_symptom(rule):
    healthy = {"weights": tensor(), "bias": None, "output": tensor(), "channel_spread": 1.0, "depthwise": False}
    assert rule(Symptoms(**healthy)) is None
    ill = Symptoms(**{**healthy, **CASES[rule.__name__]})
    assert rule(ill)
    assert rule(ill) in remedies(ill, True)
    assert remedies(ill, False) == ([rule(ill)] if rule.__name__ == "_all_zero" else [])


def test_other_widths_are_worse_the_fewer_bits():
    from dpuflow.analysis.what_if import parse_widths, what_if

    noise = [what_if(GRAPH, CONFIG, parse_widths(text), DATA, [{"x": X}]).closeness.noise
             for text in ("weights=8", "weights=6", "weights=4", "weights=2,activations=2")]
    assert noise == sorted(noise)
    assert what_if(GRAPH, CONFIG, parse_widths("conv1=3"), DATA, [{"x": X}]).as_json()["runnable_on_dpu"] is False
    with pytest.raises(ConfigError, match="not a width"):
        parse_widths("weights")
