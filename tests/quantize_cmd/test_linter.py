"""The calibration linter: each fault is found by its own data, and good data are not accused."""

from __future__ import annotations

import numpy as np
import pytest

from dpuflow.calibration import CalibrationSet
from dpuflow.calibration.linter import lint
from dpuflow.formats.tf_builder import FrozenBuilder
from dpuflow.formats.tf_import import import_tf

RNG = np.random.default_rng(3)


def network(batch_norm: bool = True, channels: int = 3, padding: str = "SAME"):
    """A convolution trained on pictures of 0..1 whose channels differ, with the statistics of those."""
    build = FrozenBuilder()
    kernel = RNG.normal(0, 0.3, (3, 3, channels, 8)).astype(np.float32)
    x = build.conv2d("c", build.placeholder("x", (-1, 8, 8, channels)), kernel, padding=padding)
    if batch_norm:
        graph = import_tf(build.graph(), ["c/Conv2D"])
        from dpuflow.engines.evaluate import evaluate

        out = evaluate(graph, {"x": pictures(256, channels)})["c/Conv2D"].reshape(-1, 8)
        terms = (np.ones(8), np.zeros(8), out.mean(axis=0), out.var(axis=0))
        x = build.batch_norm("bn", x, tuple(term.astype(np.float32) for term in terms), 1e-3)
    x = build.mean("mean", build.unary("relu", "Relu", x))
    x = build.dense("d", x, RNG.normal(0, 1, (8, 4)).astype(np.float32))
    return import_tf(build.graph(), [x])


def pictures(count: int, channels: int = 3) -> np.ndarray:
    means = np.array([0.2, 0.5, 0.8])[:channels]
    return np.clip(RNG.normal(means, 0.15, (count, 8, 8, channels)), 0, 1).astype(np.float32)


def data(x: np.ndarray, labels: np.ndarray | None = None) -> CalibrationSet:
    return CalibrationSet("test", lambda: iter({"x": x[at:at + 50]} for at in range(0, len(x), 50)), len(x), labels)


NETWORK = network()
GOOD = pictures(200)


def codes(x, labels=None, net=NETWORK) -> dict[str, float]:
    return {found.code: found.value for found in lint(data(x, labels), net)}


def test_good_data_are_not_accused():
    assert not codes(GOOD)


def test_few_images():
    assert codes(GOOD[:20]) == {"few-images": 20}


def test_constant_images_and_copies():
    x = GOOD.copy()
    x[:7] = 0.5
    found = codes(x)
    assert found["constant-images"] == 7
    assert found["duplicates"] == 6


@pytest.mark.parametrize(("x", "factor"), [(GOOD * 255, 255), (GOOD / 255, 1 / 255), (GOOD * 4, 4)])
def test_scale_by_the_first_batch_norm(x, factor):
    assert codes(x)["scale"] == pytest.approx(factor, rel=0.25)


def test_offset_and_channel_order():
    assert codes(GOOD - 0.5, net=network(padding="VALID")).keys() == {"offset"}
    assert "channel-order" in codes(GOOD[..., ::-1].copy())


def test_raw_pixels_without_batch_norm():
    plain = network(batch_norm=False)
    pixels = np.trunc(GOOD * 255).astype(np.float32)
    assert codes(pixels, net=plain)["scale"] == pixels.max()
    assert "scale" not in codes(GOOD, net=plain)
    assert codes(GOOD / 255, net=plain)["scale"] < 0.02


def test_missing_classes():
    assert codes(GOOD, np.arange(200) % 3)["missing-classes"] == 1


def test_one_answer_for_all():
    same = GOOD[:1] + RNG.normal(0, 1e-3, GOOD.shape).astype(np.float32)
    assert codes(same, net=network(batch_norm=False))["one-answer"] == 1.0


def test_a_source_that_changes_is_named():
    rng = np.random.default_rng(0)
    changing = CalibrationSet("random", lambda: iter([{"x": rng.random((120, 8, 8, 3), np.float32)}]))
    assert "not-repeatable" in {found.code for found in lint(changing, NETWORK)}
