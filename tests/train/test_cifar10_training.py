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


def test_a_stopped_training_goes_on(tmp_path):
    from cifar10 import train
    from cifar10_config import load_cifar_config

    config = load_cifar_config("mobilenet_cifar10", {"width": 0.125, "epochs": 2.0, "batch": 20})
    checkpoint = tmp_path / "c.keras"
    model = train(config, small(), small(10), checkpoint, False)
    again = train(config, small(), small(10), checkpoint, True)  # nothing left to do
    for first, second in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)
