"""Freezing: the Chars74K graph's names and values, SavedModels and .keras files, bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dpuflow.artifact import write_stage
from dpuflow.engines.evaluate import evaluate
from dpuflow.formats.graphdef import read_graphdef
from dpuflow.formats.tf_import import import_tf
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.quantizer import quantize_graph

from chars74k_weights import random_weights

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "train" / "freeze.py"


def freeze(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def trained(tmp_path):
    with write_stage(tmp_path / "train", "train", {}) as stage:
        np.savez(stage.path("weights.npz"), **random_weights())
        stage.info.update(epsilon=1e-3, labels=["a", "b"], fake_class=2)
    return tmp_path / "train"


def test_chars74k_has_the_promised_names(trained, tmp_path):
    done = freeze("--train", trained, "--out", tmp_path / "freeze")
    assert done.returncode == 0, done.stderr
    graph = read_graphdef(tmp_path / "freeze" / "frozen_model.pb")
    names = set(graph.by_name)
    layers = ["discriminator/conv2d" + (f"_{index}" if index else "") for index in range(6)]
    expected = {f"{layer}/{part}" for layer in layers for part in ("Conv2D", "BiasAdd", "Relu")}
    expected |= {f"discriminator/batch_normalization{s}/FusedBatchNorm" for s in ("", "_1", "_2")}
    expected |= {"input_real", "discriminator/Mean", "discriminator/dense/MatMul", "discriminator/dense/BiasAdd",
                 "discriminator/out"}
    assert expected <= names
    assert [node.name for node in graph.sinks] == ["discriminator/out"]
    shapes = {node.name: node.shape for node in import_tf(graph, ["discriminator/out"]).nodes}
    assert shapes["discriminator/conv2d_2/Relu"] == (1, 4, 4, 64)
    assert shapes["discriminator/conv2d_5/Relu"] == (1, 2, 2, 128)
    assert shapes["discriminator/out"] == (1, 63)
    assert "discriminator/out Softmax discriminator/dense/BiasAdd" in (
        tmp_path / "freeze" / "nodes.txt").read_text().splitlines()
    info = json.loads((tmp_path / "freeze" / "manifest.json").read_text())["info"]
    assert info["labels"] == ["a", "b"]
    assert "up to date" in freeze("--train", trained, "--out", tmp_path / "freeze").stdout


def test_a_changed_weight_freezes_again(trained, tmp_path):
    freeze("--train", trained, "--out", tmp_path / "freeze")
    before = (tmp_path / "freeze" / "frozen_model.pb").read_bytes()
    weights = random_weights()
    weights["discriminator/dense/bias"][0] += 1
    with write_stage(trained, "train", {"again": True}) as stage:
        np.savez(stage.path("weights.npz"), **weights)
    assert "up to date" not in freeze("--train", trained, "--out", tmp_path / "freeze").stdout
    assert (tmp_path / "freeze" / "frozen_model.pb").read_bytes() != before


@pytest.mark.parametrize(("arguments", "message"), [
    (("--train", "missing", "--out", "o"), "the stage has not been run"),
    (("--out", "o"), "give either --train or --from"),
    (("--from", "missing.keras", "--out", "o"), "no such file or folder"),
])
def test_bad_input(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = freeze(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "o").exists()


def test_missing_weight_is_named(trained, tmp_path):
    weights = random_weights()
    del weights["discriminator/conv2d_3/bias"]
    with write_stage(trained, "train", {}) as stage:
        np.savez(stage.path("weights.npz"), **weights)
    done = freeze("--train", trained, "--out", tmp_path / "freeze")
    assert done.returncode == 1
    assert "expected discriminator/conv2d_3/bias" in done.stderr


@pytest.mark.train
@pytest.mark.parametrize("kind", ["keras", "saved_model"])
def test_keras_and_saved_model(tmp_path, kind):
    """A Keras network, frozen from both containers, computes and quantizes as TensorFlow's does."""
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential([
        keras.Input((12, 12, 2), name="pixels"), layers.Conv2D(6, 3, padding="same", use_bias=False),
        layers.BatchNormalization(), layers.ReLU(), layers.MaxPooling2D(), layers.DepthwiseConv2D(3, padding="same"),
        layers.ReLU(6.0), layers.Conv2D(4, 3, strides=2, activation="relu"), layers.Flatten(),
        layers.Dense(5), layers.Softmax()])
    x = np.random.default_rng(0).normal(0, 1, (4, 12, 12, 2)).astype(np.float32)
    rng = np.random.default_rng(1)
    model.set_weights([value + rng.uniform(0.01, 0.2, value.shape) for value in model.get_weights()])
    expected = np.asarray(model(x))
    if kind == "keras":
        model.save(tmp_path / "model.keras")
        source = tmp_path / "model.keras"
    else:
        model.export(tmp_path / "model", verbose=False)
        source = tmp_path / "model"
    done = freeze("--from", source, "--out", tmp_path / "freeze")
    assert done.returncode == 0, done.stderr
    graph = read_graphdef(tmp_path / "freeze" / "frozen_model.pb")
    (inputs,), (output,) = graph.placeholders, graph.sinks
    network = import_tf(graph, [output.name])
    assert np.allclose(evaluate(network, {inputs.name: x})[network.outputs[0]], expected, atol=1e-5)
    config = QuantizeConfig((inputs.name,), (output.name,), ((1, 12, 12, 2),))
    result = quantize_graph(graph, config, [{inputs.name: x}])
    simulated = import_tf(result.evaluation, [node.name for node in result.evaluation.sinks])
    assert np.abs(evaluate(simulated, {inputs.name: x})[simulated.outputs[0]] - expected).max() < 0.1
    kernels = [name for name in result.positions if name.endswith("wquant")]
    assert len(kernels) == 8  # four layers' weights and biases: batch norm was folded
