"""Random weights of the Chars74K discriminator, by the names of the train stage."""

from __future__ import annotations

import numpy as np

CHANNELS = (1, 64, 64, 64, 128, 128, 128)


def random_weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    weights = {}
    for index in range(6):
        layer = "discriminator/conv2d" + (f"_{index}" if index else "")
        shape = (3, 3, CHANNELS[index], CHANNELS[index + 1])
        weights[f"{layer}/kernel"] = rng.normal(0, (2 / np.prod(shape[:3])) ** 0.5, shape).astype(np.float32)
        weights[f"{layer}/bias"] = rng.normal(0, 0.1, shape[3]).astype(np.float32)
    for suffix, channels in (("", 64), ("_1", 128), ("_2", 128)):
        for term in ("gamma", "beta", "moving_mean", "moving_variance"):
            weights[f"discriminator/batch_normalization{suffix}/{term}"] = rng.uniform(0.5, 1.5, channels).astype(
                np.float32)
    weights["discriminator/dense/kernel"] = rng.normal(0, 0.1, (128, 63)).astype(np.float32)
    weights["discriminator/dense/bias"] = rng.normal(0, 0.1, 63).astype(np.float32)
    return weights
