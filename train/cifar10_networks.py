"""Keras networks for CIFAR-10: a MobileNetV1 with depthwise convolutions, and VGG16 with batch normalisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

CLASSES = 10
# Channels and stride of each depthwise-separable block; the map shrinks to 4x4.
_MOBILENET = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1))
_VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def _channels(count: int, width: float) -> int:
    return max(int(count * width + 4) // 8 * 8, 8)


def _norm_act(x: Any, name: str, activation: str) -> Any:
    from keras import layers

    x = layers.BatchNormalization(name=f"{name}_bn", momentum=0.95)(x)
    return layers.ReLU(6.0, name=name)(x) if activation == "relu6" else layers.ReLU(name=name)(x)


def mobilenet(width: float) -> Any:
    """Depthwise-separable blocks with ReLU6, as MobileNetV1 (A. Howard and others, 2017)."""
    import keras
    from keras import layers

    x = entry = keras.Input((32, 32, 3), name="image")
    x = layers.Conv2D(_channels(32, width), 3, padding="same", use_bias=False, name="conv1_conv")(x)
    x = _norm_act(x, "conv1", "relu6")
    for index, (count, stride) in enumerate(_MOBILENET):
        x = layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=f"dw{index}_conv")(x)
        x = _norm_act(x, f"dw{index}", "relu6")
        x = layers.Conv2D(_channels(count, width), 1, use_bias=False, name=f"pw{index}_conv")(x)
        x = _norm_act(x, f"pw{index}", "relu6")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(entry, layers.Dense(CLASSES, name="logits")(x), name="mobilenet_cifar10")


def vgg16(width: float) -> Any:
    """Thirteen 3x3 convolutions in five groups (K. Simonyan, A. Zisserman, 2014), batch normalisation after each."""
    import keras
    from keras import layers

    x = entry = keras.Input((32, 32, 3), name="image")
    for group, counts in enumerate(_VGG16, 1):
        for index, count in enumerate(counts, 1):
            name = f"conv{group}_{index}"
            x = layers.Conv2D(_channels(count, width), 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
            x = _norm_act(x, name, "relu")
        x = layers.MaxPooling2D(2, name=f"pool{group}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(_channels(512, width), activation="relu", name="fc1")(x)
    return keras.Model(entry, layers.Dense(CLASSES, name="logits")(x), name="vgg16_cifar10")


NETWORKS: Mapping[str, Callable[[float], Any]] = {"mobilenet": mobilenet, "vgg16": vgg16}
