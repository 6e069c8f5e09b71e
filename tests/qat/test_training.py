"""A Keras model becomes trainable and quantized, learns, and is exported as what it computes."""

from __future__ import annotations

import numpy as np
import pytest

from dpuedge import fixed
from dpuflow.engines import open_engine
from dpuflow.errors import UnsupportedOp
from dpuflow.model import load, model_from_tf
from dpuflow.qat import export, quantization_aware
from dpuflow.quant.positions import fix_neurons

pytestmark = pytest.mark.train


def keras_model(seed: int = 0):
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    x = entry = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, 2, "same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    branch = layers.Conv2D(8, 1, activation="relu")(x)
    x = layers.Add()([x, branch])
    x = layers.Concatenate()([x, layers.Conv2D(4, 3, padding="same")(x)])
    x = layers.MaxPooling2D(2)(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(entry, layers.Dense(4, activation="softmax")(x))
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.3, 2, 8), rng.normal(0, 0.3, 8), rng.normal(0, 0.2, 8),
                               rng.uniform(0.1, 1, 8)])
        elif layer.weights and getattr(layer, "use_bias", False):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, rng.normal(0, 0.1, bias.shape)])
    return model


def data(seed: int = 1, count: int = 96):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 0.7, (count, 8, 8, 3)).astype(np.float32)
    return x, (x[:, :4, :, 0].mean((1, 2)) > x[:, 4:, :, 1].mean((1, 2))).astype(np.int64) + 2 * (
        x[:, :, :, 2].mean((1, 2)) > 0)


def assert_emulates(made, network, x):
    own = np.asarray(network(x, training=False))
    for graph in (made.evaluation, made.deploy):
        model = model_from_tf(graph, "net")
        logits = [node.name for node in model.graph.nodes if node.op in ("dense", "conv2d") and node.fix][-1]
        for engine in ("reference", "fast"):
            got = open_engine(model.graph, engine).run(x, (logits,))[logits].reshape(own.shape)
            np.testing.assert_array_equal(got, own)


@pytest.fixture(scope="module")
def trained():
    import keras

    x, y = data()
    network = quantization_aware(keras_model(), x)
    network.compile(keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                    jit_compile=False)
    before = network.evaluate(x, y, verbose=0)
    network.fit(x, y, epochs=12, batch_size=32, verbose=0)
    return network, before, network.evaluate(x, y, verbose=0)


def test_the_export_emulates_the_trained_network_bit_for_bit(trained, tmp_path):
    network = trained[0]
    made = export(network, tmp_path)
    assert_emulates(made, network, data(9, 12)[0])
    for name in ("quantize_eval_model.pb", "deploy_model.pb"):
        assert load(tmp_path / name).quantized


def test_training_learns(trained):
    _, before, after = trained
    assert after < 0.8 * before


def test_thresholds_are_trained_too(trained):
    thresholds = [float(np.asarray(value)) % 1 for value in trained[0].thresholds.values()]
    assert sum(abs(value - 0.5) > 1e-3 for value in thresholds) > len(thresholds) // 2


def test_exported_parameters_lie_on_their_grids(trained):
    made = export(trained[0])
    checked = 0
    for name, fix in fix_neurons(made.evaluation).items():
        source = made.evaluation.node(fix.operands[0])
        if source.op == "Const":
            checked += 1
            values = source.tensor()
            np.testing.assert_array_equal(values, fixed.snap(values, made.positions[name], "half_away"))
    assert checked >= 9


def test_before_training_it_is_the_quantized_network():
    x, _ = data(3, 24)
    network = quantization_aware(keras_model(2), x, equalise=False)
    assert_emulates(export(network), network, x)


@pytest.mark.filterwarnings("ignore:.DECENT_WARNING. Shift")  # said beside the warning that is looked for
def test_thresholds_out_of_reach_are_settled():
    x, _ = data(3, 24)
    network = quantization_aware(keras_model(2), x)
    name = next(name for name in network.thresholds if "depthwise" in name and name.endswith("/wquant"))
    network.thresholds[name].assign(-25.0)
    with pytest.warns(UserWarning, match="thresholds moved"):
        made = export(network)
    assert_emulates(made, network, x)


def test_what_cannot_be_trained_is_named():
    import keras
    from keras import layers

    entry = keras.Input((4, 4, 2))
    x = layers.Conv2D(2, 1, use_bias=False)(entry)
    model = keras.Model(entry, layers.Conv2DTranspose(2, 3, 2, use_bias=False)(x))
    with pytest.raises(UnsupportedOp, match="cannot be trained"):
        quantization_aware(model, np.random.default_rng(0).normal(size=(4, 4, 4, 2)).astype(np.float32))
