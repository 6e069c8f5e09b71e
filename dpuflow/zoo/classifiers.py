"""Image classifiers: LeNet, VGG, ResNet, SqueezeNet, Inception-v1."""

from __future__ import annotations

from dpuflow.ir.graph import Graph
from dpuflow.ops.base import Padding
from dpuflow.zoo.builder import NetworkBuilder


def lenet(net: NetworkBuilder) -> Graph:
    """LeNet-5 with max pools, on 28x28 grey digits."""
    x = net.input(28, 28, 1)
    for index, channels in enumerate((20, 50), 1):
        x = net.conv(x, channels, 5, padding="VALID", normalized=False, name=f"conv{index}")
        x = net.max_pool(x, name=f"pool{index}")
    x = net.dense(net.flatten(x), 500, "relu", name="fc1")
    return net.graph(net.softmax(net.dense(x, 10, name="fc2")))


def _vgg_trunk(net: NetworkBuilder, x: str) -> str:
    for block, (channels, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        for layer in range(1, count + 1):
            x = net.conv(x, channels, 3, name=f"conv{block}_{layer}")
        x = net.max_pool(x, name=f"pool{block}")
    return x


def vgg16(net: NetworkBuilder) -> Graph:
    """VGG16 on 224x224: thirteen 3x3 convolutions and three dense layers (30.94 GOP)."""
    x = net.flatten(_vgg_trunk(net, net.input(224, 224, 3)))
    x = net.dense(net.dense(x, 4096, "relu", name="fc6"), 4096, "relu", name="fc7")
    return net.graph(net.softmax(net.dense(x, 1000, name="fc8")))


def vgg16_cifar10(net: NetworkBuilder) -> Graph:
    """VGG16 for CIFAR-10: 32x32, one dense layer of 512 and one of 10 classes."""
    x = net.flatten(_vgg_trunk(net, net.input(32, 32, 3)))
    return net.graph(net.softmax(net.dense(net.dense(x, 512, "relu", name="fc1"), 10, name="fc2")))


def _stem(net: NetworkBuilder) -> str:
    x = net.conv(net.input(224, 224, 3), 64, 7, 2, padding=Padding(3, 3, 3, 3), name="conv1")
    return net.max_pool(x, 3, 2, name="pool1")


def _head(net: NetworkBuilder, x: str, classes: int = 1000) -> Graph:
    return net.graph(net.softmax(net.dense(net.mean(x, name="pool5"), classes, name="logits")))


def _basic_block(net: NetworkBuilder, x: str, channels: int, stride: int, name: str) -> str:
    shortcut = x
    if stride > 1 or net.shape(x)[3] != channels:
        shortcut = net.conv(x, channels, 1, stride, nonlinear="none", name=f"{name}/shortcut")
    y = net.conv(x, channels, 3, stride, name=f"{name}/conv1")
    y = net.conv(y, channels, 3, nonlinear="none", name=f"{name}/conv2")
    return net.add(shortcut, y, nonlinear="relu", name=f"{name}/add")


def resnet18(net: NetworkBuilder) -> Graph:
    """ResNet-18 on 224x224."""
    x = _stem(net)
    for stage, channels in enumerate((64, 128, 256, 512), 2):
        for block in (1, 2):
            x = _basic_block(net, x, channels, 2 if stage > 2 and block == 1 else 1, f"stage{stage}/block{block}")
    return _head(net, x)


def _bottleneck(net: NetworkBuilder, x: str, width: int, stride: int, first: bool, name: str) -> str:
    shortcut = net.conv(x, 4 * width, 1, stride, nonlinear="none", name=f"{name}/shortcut") if first else x
    y = net.conv(x, width, 1, stride, name=f"{name}/conv1")
    y = net.conv(y, width, 3, name=f"{name}/conv2")
    y = net.conv(y, 4 * width, 1, nonlinear="none", name=f"{name}/conv3")
    return net.add(shortcut, y, nonlinear="relu", name=f"{name}/add")


def resnet50(net: NetworkBuilder) -> Graph:
    """ResNet-50 v1 on 224x224, strides in the first 1x1 of a block (7.716 GOP)."""
    x = _stem(net)
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 2):
        for block in range(1, blocks + 1):
            stride = 2 if stage > 2 and block == 1 else 1
            x = _bottleneck(net, x, width, stride, block == 1, f"stage{stage}/block{block}")
    return _head(net, x)


def _fire(net: NetworkBuilder, x: str, squeeze: int, expand: int, name: str) -> str:
    s = net.conv(x, squeeze, 1, normalized=False, name=f"{name}/squeeze")
    ones = net.conv(s, expand, 1, normalized=False, name=f"{name}/expand1x1")
    threes = net.conv(s, expand, 3, normalized=False, name=f"{name}/expand3x3")
    return net.concat(ones, threes, name=f"{name}/concat")


def squeezenet(net: NetworkBuilder) -> Graph:
    """SqueezeNet 1.1 on 227x227."""
    x = net.conv(net.input(227, 227, 3), 64, 3, 2, padding="VALID", normalized=False, name="conv1")
    x = net.max_pool(x, 3, 2, "VALID", name="pool1")
    fires = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
    for index, (squeeze, expand) in enumerate(fires, 2):
        x = _fire(net, x, squeeze, expand, f"fire{index}")
        if index in (3, 5):
            x = net.max_pool(x, 3, 2, "VALID", name=f"pool{index}")
    x = net.conv(x, 1000, 1, normalized=False, name="conv10")
    return net.graph(net.softmax(net.mean(x, name="pool10")))


# 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection (Szegedy et al. 2014, table 1).
_INCEPTION = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64), "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64), "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128), "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}


def _inception(net: NetworkBuilder, x: str, widths: tuple[int, ...], name: str) -> str:
    one, reduce3, three, reduce5, five, pool = widths
    branches = (
        net.conv(x, one, 1, name=f"{name}/1x1"),
        net.conv(net.conv(x, reduce3, 1, name=f"{name}/3x3_reduce"), three, 3, name=f"{name}/3x3"),
        net.conv(net.conv(x, reduce5, 1, name=f"{name}/5x5_reduce"), five, 5, name=f"{name}/5x5"),
        net.conv(net.max_pool(x, 3, 1, name=f"{name}/pool"), pool, 1, name=f"{name}/pool_proj"),
    )
    return net.concat(*branches, name=f"{name}/concat")


def inception_v1(net: NetworkBuilder) -> Graph:
    """Inception-v1 (GoogLeNet) on 224x224."""
    x = _stem(net)
    x = net.conv(net.conv(x, 64, 1, name="conv2_reduce"), 192, 3, name="conv2")
    x = net.max_pool(x, 3, 2, name="pool2")
    for module, widths in _INCEPTION.items():
        if module in ("4a", "5a"):
            x = net.max_pool(x, 3, 2, name=f"pool{int(module[0]) - 1}")
        x = _inception(net, x, widths, f"inception_{module}")
    return _head(net, x)
