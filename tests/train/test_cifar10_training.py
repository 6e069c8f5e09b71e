"""The CIFAR-10 training: configuration, split, augmentation, and a run of a few steps with resume."""

from __future__ import annotations

import numpy as np
import pytest

from dpuflow.data.cifar10 import Images
from dpuflow.errors import ConfigError

pytestmark = pytest.mark.train


def small(count=40):
    rng = np.random.default_rng(0)
    return Images(rng.integers(0, 256, (count, 32, 32, 3)).astype(np.uint8), np.arange(count) % 10)


@pytest.mark.parametrize("model", ["mobilenet_cifar10", "vgg_cifar10"])
def test_configurations_are_complete(model):
    from cifar10_config import load_cifar_config
    from cifar10_networks import NETWORKS

    assert load_cifar_config(model, {"width": 0.125}).width == 0.125
    assert load_cifar_config(model, {}).network in NETWORKS


@pytest.mark.parametrize("wrong", [{"width": 0.0}, {"widht": 1.0}, {"batch": 1.5}, {"shift": 16}])
def test_a_wrong_entry_is_named(wrong):
    from cifar10_config import load_cifar_config

    with pytest.raises(ConfigError, match=next(iter(wrong))):
        load_cifar_config("mobilenet_cifar10", wrong)


def test_validation_images_are_kept_apart():
    from cifar10 import split
    from cifar10_config import load_cifar_config

    images = Images(np.arange(30)[:, None, None, None], np.arange(30))
    data, held = split(images, load_cifar_config("mobilenet_cifar10", {"validation_images": 10}))
    assert len(held) == 10 and sorted([*data.labels, *held.labels]) == list(range(30))


def test_augmentation_moves_and_mirrors_within_the_shift():
    from cifar10 import augmented

    x = np.zeros((200, 32, 32, 3), np.uint8)
    x[:, 16, 10] = 255
    made = augmented(x, 2, np.random.default_rng(0))
    rows, columns = np.nonzero(made[..., 0])[1:]
    assert set(rows) == {14, 15, 16, 17, 18}
    assert set(columns) == {8, 9, 10, 11, 12, 19, 20, 21, 22, 23}


def tiny(width):
    """In place of the real networks: what a training needs to be one."""
    import keras

    entry = keras.Input((32, 32, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(2, 3, 4)(entry))
    return keras.Model(entry, keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x)))


def test_a_stopped_training_goes_on(tmp_path, monkeypatch):
    import cifar10_networks
    from cifar10 import train
    from cifar10_config import load_cifar_config

    monkeypatch.setitem(cifar10_networks.NETWORKS, "mobilenet", tiny)
    config = load_cifar_config("mobilenet_cifar10", {"width": 0.125, "epochs": 2.0, "batch": 20})
    checkpoint = tmp_path / "c.keras"
    model = train(config, small(), small(10), checkpoint, False)
    again = train(config, small(), small(10), checkpoint, True)  # nothing left to do
    for first, second in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_rescaled_channels_compute_the_same():
    import keras
    from cifar10_networks import mobilenet
    from rescale_channels import rescale

    keras.utils.set_random_seed(0)
    model = mobilenet(0.125)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, _, mean, variance = layer.get_weights()
            layer.set_weights([gamma, gamma * 0 + 0.5, mean, variance])
    x = np.random.default_rng(0).normal(0, 1, (6, 32, 32, 3)).astype(np.float32)
    before, kernel = np.asarray(model(x)), model.get_layer("dw3_conv").get_weights()[0]
    assert rescale(model, x, 6.0, 0) > 50
    np.testing.assert_allclose(np.asarray(model(x)), before, rtol=1e-3, atol=1e-4)
    assert np.abs(model.get_layer("dw3_conv").get_weights()[0] / kernel).max() > 16
