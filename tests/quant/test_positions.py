"""Positions against a second implementation and literal tables."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpuedge import fixed
from dpuflow.errors import QuantizeError
from dpuflow.ops import conv
from dpuflow.ops.base import Padding, windows
from dpuflow.quant.calibrate import winner
from dpuflow.quant.position import find_position, saturation_error, snap_blocks, squared_error
from dpuflow.quant.quantizer import quantize_graph

from quant import small_net, tf_oracle


@given(st.integers(0, 10**6), st.floats(-8, 8), st.sampled_from([True, False]))
@settings(deadline=None)
def test_least_error_position_against_the_oracle(seed, scale, activation):
    x = (np.random.default_rng(seed).standard_t(3, 200) * 2.0**scale).astype(np.float32)
    rounding = "half_up" if activation else "half_away"
    assert find_position(x, 1, rounding) == tf_oracle.diffs(x, activation)
    assert find_position(x, 0, rounding) == tf_oracle.overflow(x)


@given(st.integers(0, 10**6), st.floats(0.5, 40), st.sampled_from([4, 8, 12]),
       st.sampled_from(["half_up", "half_away"]))
@settings(deadline=None, max_examples=60)
def test_ending_early_changes_nothing(seed, outlier, bits, rounding):
    """The search stops where saturation alone costs more than the best: all candidates give the same position."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(0, 1, 300), rng.normal(0, outlier, 3)]).astype(np.float32)
    first = find_position(x, 0, rounding, bits)
    errors = [squared_error(x, first + up, rounding, bits) for up in range(5)]
    assert find_position(x, 1, rounding, bits) == first + int(np.argmin(errors))
    floors = [saturation_error(x, first + up, bits) for up in range(5)]
    assert floors == sorted(floors)
    assert all(floor <= error * (1 + 1e-12) for floor, error in zip(floors, errors, strict=True))


@pytest.mark.parametrize("rounding", ["half_up", "half_away"])
def test_errors_are_those_of_the_rounded_values(rounding):
    x = np.random.default_rng(0).normal(0, 3, 200_000).astype(np.float32)
    for pos in (3, 5, 8):
        moved = fixed.snap(x, pos, rounding).astype(np.float64) - x
        assert squared_error(x, pos, rounding, 8) == pytest.approx(float(np.sum(moved**2)), rel=1e-6)
        assert snap_blocks(x, pos, rounding, 8).tobytes() == fixed.snap(x, pos, rounding).tobytes()


def test_zeros_and_ties_of_the_error():
    assert find_position(np.zeros(4, np.float32), 1, "half_up") == 127
    # Exact at every position tried: the smallest wins.
    assert find_position(np.array([1.0, -1.0], np.float32), 1, "half_up") == 6
    # One large value and many small ones: a finer position that saturates the large one costs less.
    skewed = np.concatenate([np.full(5000, 0.305), [1.0]]).astype(np.float32)
    assert find_position(skewed, 0, "half_up") == 6
    assert find_position(skewed, 1, "half_up") > 6


def test_depthwise_metric_is_relative():
    x = np.array([1.9, 0.011, 0.012, 0.013, 0.004], np.float32)
    chosen = find_position(x, 2, "half_away", depthwise=True)
    errors = [np.sum(np.sqrt(np.abs((tf_oracle.quant(x, pos, False) - x) / (np.abs(x) + 1e-9))))
              for pos in range(6, 11)]
    assert chosen == 6 + int(np.argmin(errors))
    assert chosen != find_position(x, 1, "half_away")
    assert find_position(x, 2, "half_away", depthwise=False) == find_position(x, 1, "half_away")


@pytest.mark.parametrize(("votes", "expected"), [({5: 3, 4: 2}, 5), ({5: 2, 4: 2, 7: 1}, 4), ({-1: 1}, -1)])
def test_vote(votes, expected):
    from collections import Counter

    assert winner(Counter(votes)) == expected


@pytest.mark.parametrize("seed", range(12))
def test_whole_networks_against_the_oracle(seed):
    network = small_net.layers(seed)
    graph = small_net.frozen(network)
    data = small_net.batches(network, seed=seed)
    got = quantize_graph(graph, small_net.config(graph), ({"x": batch} for batch in data)).positions
    expected = tf_oracle.quantize_network(network, data)
    names = {"input": "x/aquant"}
    for index, layer in enumerate(network):
        stem = f"net/{layer[0]}{index}"
        names |= {f"{index}/w": f"{stem}/kernel/wquant", f"{index}/b": f"{stem}/bias/wquant",
                  f"{index}/out": {"conv": f"{stem}/Relu/aquant", "mean": f"{stem}/aquant",
                                   "dense": f"{stem}/BiasAdd/aquant"}[layer[0]]}
    assert {name: got[names[name]] for name in expected} == expected
    assert len(got) == len(expected)


@pytest.mark.parametrize("seed", range(4))
def test_taking_values_and_images_in_parts_changes_nothing(seed, monkeypatch):
    """Blocks for the cache, against whole tensors at once: the same positions, in every network."""
    network = small_net.layers(seed)
    graph, config = small_net.frozen(network), small_net.config(small_net.frozen(network))
    data = small_net.batches(network, seed=seed)

    def positions(column_values: int, block: int) -> dict[str, int]:
        monkeypatch.setattr("dpuflow.ops.conv._COLUMN_VALUES", column_values)
        monkeypatch.setattr("dpuflow.quant.position._BLOCK", block)
        return dict(quantize_graph(graph, config, ({"x": batch} for batch in data)).positions)

    assert positions(1, 37) == positions(1 << 40, 1 << 40)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_image_by_image_is_the_whole_one(groups, monkeypatch):
    """On grids, as in calibration, float32 sums are exact: in whatever parts they are taken."""
    rng = np.random.default_rng(groups)
    x = fixed.snap(rng.normal(0, 1, (5, 7, 6, 4)).astype(np.float32), 6)
    weights = fixed.snap(rng.normal(0, 0.3, (3, 3, 4 // groups, 6)).astype(np.float32), 7, "half_away")
    attrs = conv.ConvAttrs(padding=Padding(1, 1, 1, 1), groups=groups)
    whole = conv.conv_sums(x, weights, attrs)
    monkeypatch.setattr("dpuflow.ops.conv._COLUMN_VALUES", 1)
    assert conv.conv_sums(x, weights, attrs).tobytes() == whole.tobytes()
    exact = conv.conv_sums(fixed.quantize(x, 6), fixed.quantize(weights, 7, "half_away"), attrs)
    assert np.array_equal(whole.astype(np.float64) * 2.0**13, exact)


@pytest.mark.parametrize("multiplier", [1, 3])
@pytest.mark.parametrize("kind", [np.float32, np.int8])
def test_a_depthwise_convolution_tap_by_tap_is_the_sum_over_its_windows(multiplier, kind, monkeypatch):
    rng = np.random.default_rng(multiplier)
    x = rng.integers(-128, 128, (3, 9, 8, 4)).astype(kind)
    weights = rng.integers(-128, 128, (3, 2, 4, multiplier)).astype(kind)
    attrs = conv.ConvAttrs(stride=(2, 1), padding=Padding(1, 1, 0, 1), dilation=(1, 2))
    exact = np.einsum("nyxhwc,hwcm->nyxcm", windows(x, (3, 2), (2, 1), attrs.padding, (1, 2)).astype(np.int64),
                      weights.astype(np.int64))
    monkeypatch.setattr("dpuflow.ops.conv._MAP_VALUES", 1)
    got = conv.depthwise_sums(x, weights, attrs)
    assert got.dtype == (np.float32 if kind == np.float32 else np.int64)
    assert np.array_equal(got, exact.reshape(*exact.shape[:3], -1))


def test_batches_are_let_go_one_by_one():
    """Calibration data larger than memory: no more than the batch before is still there when the next is read."""
    network = small_net.layers(1)
    alive, most = set(), 0

    def batches():
        nonlocal most
        for index, batch in enumerate(small_net.batches(network, seed=1) * 4):
            made = batch.copy()
            alive.add(index)
            weakref.finalize(made, alive.discard, index)
            most = max(most, len(alive))
            yield {"x": made}
            del made

    graph = small_net.frozen(network)
    quantize_graph(graph, small_net.config(graph), batches())
    assert most <= 2


BAD_BATCHES = [
    (["no dict"], "must return a dict"),
    ([{"y": np.zeros((1, 8, 8, 2))}], "does not fit the graph's placeholders"),
    ([{"x": np.zeros((1, 8, 8, 2)), "z": 1}], "does not fit the graph's placeholders"),
    ([{"x": np.full((1, 8, 8, 2), np.nan)}], "NaN or infinity"),
    ([{"x": np.full((1, 8, 8, 2), np.inf)}], "NaN or infinity"),
    ([{"x": np.zeros((0, 8, 8, 2))}], "an empty batch"),
    ([{"x": "pixels"}], "not an array of numbers"),
    ([{"x": np.full((2, 8, 8, 2), 0.5)}], "every calibration image is constant"),
    ([], "no calibration data"),
]


@pytest.mark.parametrize(("data", "message"), BAD_BATCHES)
def test_bad_calibration_data(data, message):
    graph = small_net.frozen(small_net.layers(0))
    with pytest.raises(QuantizeError, match=message):
        quantize_graph(graph, small_net.config(graph), data)


def test_a_batch_of_the_wrong_shape_names_both_sides():
    from dpuflow.errors import GraphError

    graph = small_net.frozen(small_net.layers(0))
    with pytest.raises(GraphError, match=r"input 'x'.*8, 8, 2.*4, 4, 2"):
        quantize_graph(graph, small_net.config(graph), [{"x": np.ones((1, 4, 4, 2))}])
