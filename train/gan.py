"""The two networks of the semi-supervised GAN (T. Salimans et al., 2016), in backend-neutral Keras.

The discriminator sorts 32 x 32 pictures into the 62 characters and one class for generated ones;
the probability that a picture is real is sigmoid(logsumexp(real logits) - fake logit).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers, ops

CLASSES = 63
FAKE = CLASSES - 1
NOISE = 100
EPSILON = 1e-3  # of the batch normalisation
_FILTERS = ((64, 2), (64, 2), (64, 2), (128, 1), (128, 1), (128, 1))
_FIRST_NORM, _NORMS = 2, 3


def _numbered(name: str, index: int) -> str:
    return f"{name}_{index}" if index else name


class Normalization(layers.Layer):  # type: ignore[misc]
    """Batch normalisation whose statistics come from the first pictures of a batch only.

    Generated pictures ride in the same batch as real ones: all are normalised alike, so that the
    discriminator cannot tell them by their statistics, yet only real ones move the averages.
    """

    def __init__(self, name: str, momentum: float = 0.98) -> None:
        super().__init__(name=name)
        self.momentum = momentum

    def build(self, shape: Any) -> None:
        """Four terms per channel."""
        size = (shape[-1],)
        self.gamma = self.add_weight(shape=size, initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=size, initializer="zeros", name="beta")
        self.moving_mean = self.add_weight(shape=size, initializer="zeros", trainable=False, name="moving_mean")
        self.moving_variance = self.add_weight(shape=size, initializer="ones", trainable=False,
                                               name="moving_variance")

    def call(self, x: Any, real: int | None = None) -> Any:
        """Normalise by the statistics of the first ``real`` pictures, or by the moving ones if None."""
        mean, variance = self.moving_mean, self.moving_variance
        if real is not None:
            mean, variance = ops.moments(x[:real], axes=(0, 1, 2))
            for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                average.assign(average * self.momentum + ops.stop_gradient(value) * (1 - self.momentum))
        scale = self.gamma * ops.rsqrt(variance + EPSILON)
        return x * scale + (self.beta - mean * scale)


class Discriminator(keras.Model):  # type: ignore[misc]
    """Pictures (N, 32, 32, 1) in the network's input scale to logits (N, 63) and features (N, 128).

    The features, the mean over height and width of the last convolution, are what the generator's
    loss matches.
    """

    def __init__(self, dropout: float, seed: int) -> None:
        super().__init__(name="discriminator")
        self.convs = [
            layers.Conv2D(filters, 3, strides, "valid" if index == len(_FILTERS) - 1 else "same",
                          kernel_initializer=keras.initializers.HeNormal(seed + index),
                          name=_numbered("conv2d", index))
            for index, (filters, strides) in enumerate(_FILTERS)
        ]
        self.norms = [Normalization(_numbered("batch_normalization", index)) for index in range(_NORMS)]
        self.drops = [layers.Dropout(dropout, seed=seed + 100 + index) for index in range(_NORMS)]
        self.head = layers.Dense(CLASSES, kernel_initializer=keras.initializers.GlorotUniform(seed + 50), name="dense")

    def call(self, x: Any, training: bool = False, real: int | None = None) -> tuple[Any, Any]:
        """``training`` turns dropout on; ``real`` is how many pictures give the statistics (see above)."""
        for index, conv in enumerate(self.convs):
            x = conv(x)
            if 0 <= index - _FIRST_NORM < _NORMS:
                x = self.norms[index - _FIRST_NORM](x, real=real)
            x = ops.relu(x)
            if index in (1, 3):
                x = self.drops[index // 2](x, training=training)
        features = ops.mean(x, axis=(1, 2))
        return self.head(self.drops[2](features, training=training)), features


class Generator(keras.Model):  # type: ignore[misc]
    """Noise (N, 100) to pictures (N, 32, 32, 1) from -1, black, to 1, white."""

    def __init__(self, seed: int) -> None:
        super().__init__(name="generator")
        start = keras.initializers.RandomNormal(stddev=0.05, seed=seed)
        self.stem = layers.Dense(4 * 4 * 128, use_bias=False, kernel_initializer=start, name="dense")
        self.reshape = layers.Reshape((4, 4, 128))
        self.ups = [layers.Conv2DTranspose(filters, 5, 2, "same", kernel_initializer=start,
                                           name=_numbered("conv2d_transpose", index))
                    for index, filters in enumerate((64, 32, 1))]
        self.norms = [layers.BatchNormalization(name=_numbered("batch_normalization", index)) for index in range(3)]

    def call(self, noise: Any, training: bool = False) -> Any:
        """``training`` normalises by the batch."""
        x = ops.leaky_relu(self.norms[0](self.reshape(self.stem(noise)), training=training), 0.2)
        for up, norm in zip(self.ups[:-1], self.norms[1:], strict=True):
            x = ops.leaky_relu(norm(up(x), training=training), 0.2)
        return ops.tanh(self.ups[-1](x))


def to_input_scale(pictures: Any, spec: Mapping[str, Any]) -> Any:
    """Generated pictures (-1 to 1) as the discriminator gets them: ``dpuedge.image`` made differentiable."""
    if spec["normalize"] == "unit":
        return (pictures + 1) * (255 / 512)
    if spec["normalize"] == "symmetric":
        return pictures * (255 / 256)
    low, high = spec["clip"] or (-np.inf, np.inf)
    if spec["normalize"] == "affine":
        return ops.clip(((pictures + 1) * 127.5 - spec["mean"][0]) * spec["scale"][0], low, high)
    mean = ops.mean(pictures, axis=(1, 2, 3), keepdims=True)
    centred = pictures - mean
    deviation = ops.sqrt(ops.mean(centred * centred, axis=(1, 2, 3), keepdims=True) + 1e-6)
    return ops.clip(centred / deviation, low, high)


def real_logit(logits: Any) -> Any:
    """The logit of "real": logsumexp over the real classes minus the fake logit."""
    return ops.logsumexp(logits[:, :FAKE], axis=1) - logits[:, FAKE]


def class_loss(logits: Any, labels: Any, smoothing: float) -> Any:
    """Cross-entropy over all 63 classes; the smoothing goes to the 62 real ones."""
    log_p = ops.log_softmax(logits, axis=1)
    own = ops.take_along_axis(log_p, ops.expand_dims(labels, 1), axis=1)[:, 0]
    return -ops.mean((1 - smoothing) * own + smoothing * ops.mean(log_p[:, :FAKE], axis=1))


def real_or_fake_loss(real: Any, fake: Any) -> Any:
    """-log P(real) of real pictures and -log(1 - P(real)) of generated ones, from their logits."""
    return ops.mean(ops.softplus(-real_logit(real))) + ops.mean(ops.softplus(real_logit(fake)))


def matching_loss(real: Any, fake: Any) -> Any:
    """Squared distance of the mean features of real and generated pictures."""
    gap = ops.mean(real, axis=0) - ops.mean(fake, axis=0)
    return ops.mean(gap * gap)


def export_weights(model: Discriminator) -> Mapping[str, Any]:
    """The discriminator's arrays by the names that the freeze stage expects; kernels are HWIO."""
    return {name: np.asarray(variable) for name, variable in _named(model)}


def _named(model: Discriminator) -> Iterator[tuple[str, Any]]:
    for layer in [*model.convs, model.head]:
        yield f"discriminator/{layer.name}/kernel", layer.kernel
        yield f"discriminator/{layer.name}/bias", layer.bias
    for norm in model.norms:
        for term in ("gamma", "beta", "moving_mean", "moving_variance"):
            yield f"discriminator/{norm.name}/{term}", getattr(norm, term)
