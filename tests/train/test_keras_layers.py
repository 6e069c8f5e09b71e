"""Tests of Keras models with LSTM layers: frozen layer by layer, or refused with the layer's name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")
kl = keras.layers

from dpuflow.compiler.driver import compile_graph  # noqa: E402
from dpuflow.engines.evaluate import evaluate  # noqa: E402
from dpuflow.errors import UnsupportedOp  # noqa: E402
from dpuflow.formats.keras_freeze import freeze_file  # noqa: E402
from dpuflow.formats.tf_import import import_tf  # noqa: E402
from dpuflow.passes.as_if_quantized import as_if_quantized  # noqa: E402
from dpuflow.quant.nodes import quantize_nodes  # noqa: E402
from dpuflow.target.select import find_target  # noqa: E402

pytestmark = pytest.mark.train


def chain(*layers):
    """A model of a picture 12 x 8 and some layers; biases and statistics are not those of the start."""
    keras.utils.set_random_seed(5)
    x = entry = keras.Input((12, 8, 1), name="picture")
    for layer in layers:
        x = layer(x)
    model = keras.Model(entry, x)
    for variable in model.variables:
        if variable.name in ("bias", "beta", "moving_mean", "moving_variance"):
            variable.assign(np.asarray(variable) + np.float32(0.25))
    return model


def saved(model, folder: Path) -> Path:
    model.save(folder / "model.keras")
    return folder / "model.keras"


def test_a_network_in_the_manner_of_the_example(tmp_path: Path) -> None:
    model = chain(kl.Conv2D(4, 3, padding="same", activation="relu"), kl.MaxPooling2D(2),
                  kl.Conv2D(5, 3, strides=(1, 2), padding="same", use_bias=False), kl.BatchNormalization(), kl.ReLU(),
                  kl.Reshape((6, 10)), kl.Dense(7, activation="relu"), kl.Dropout(0.2),
                  kl.Bidirectional(kl.LSTM(3, return_sequences=True)), kl.Dense(4, activation="softmax"))
    graph = freeze_file(saved(model, tmp_path))
    network = import_tf(graph, [node.name for node in graph.sinks])
    x = np.random.default_rng(1).normal(0, 1, (3, 12, 8, 1)).astype(np.float32)
    expected = np.asarray(model(x, training=False))
    (got,) = evaluate(network, {"picture": x}).values()
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert quantize_nodes(graph).has_tail
    compiled = compile_graph(as_if_quantized(network), find_target("zedboard"), "example")
    assert [kernel.device for kernel in compiled.kernels] == ["DPU", "CPU"]


@pytest.mark.parametrize(("layers", "message"), [
    ((kl.Reshape((12, 8)), kl.Bidirectional(kl.LSTM(3))), "a form of LSTM"),
    ((kl.Reshape((12, 8)), kl.Bidirectional(kl.LSTM(3, return_sequences=True), merge_mode="sum")), "side by side"),
    ((kl.Reshape((12, 8)), kl.LSTM(3, return_sequences=True)), "beside LSTM layers"),
    ((kl.AveragePooling2D(2), kl.Reshape((6, 4)), kl.Bidirectional(kl.LSTM(3, return_sequences=True))),
     "beside LSTM layers"),
    ((kl.Reshape((8, 12)), kl.Bidirectional(kl.LSTM(3, return_sequences=True))), "not from a map to its steps"),
    ((kl.Conv2D(2, 3, activation="tanh"), kl.Reshape((10, 12)), kl.Bidirectional(kl.LSTM(3, return_sequences=True))),
     "an activation"),
])
def test_layers_without_a_form_are_named(tmp_path: Path, layers, message: str) -> None:
    with pytest.raises(UnsupportedOp, match=message) as caught:
        freeze_file(saved(chain(*layers), tmp_path))
    assert "layer '" in str(caught.value) and "model.keras" in str(caught.value)
