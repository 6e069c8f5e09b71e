"""Readers of characters: the project's Chars74K network and the captcha front ends."""

from __future__ import annotations

from dpuflow.ir.graph import Graph
from dpuflow.zoo.builder import NetworkBuilder

# Output channels, stride, padding, batch normalisation of each 3x3 convolution.
_CHARS74K = ((64, 2, "SAME", False), (64, 2, "SAME", False), (64, 2, "SAME", True),
             (128, 1, "SAME", True), (128, 1, "SAME", True), (128, 1, "VALID", False))


def chars74k(net: NetworkBuilder) -> Graph:
    """The project's network: 62 characters and one class for anything else."""
    x = net.input(32, 32, 1)
    for index, (channels, stride, padding, normalized) in enumerate(_CHARS74K, 1):
        x = net.conv(x, channels, 3, stride, padding=padding, normalized=normalized, name=f"conv{index}")
    return net.graph(net.softmax(net.dense(net.mean(x), 63, name="logits")))


def _captcha_trunk(net: NetworkBuilder) -> str:
    x = net.input(200, 50, 1)
    for index, channels in enumerate((32, 64), 1):
        x = net.max_pool(net.conv(x, channels, 3, normalized=False, name=f"Conv{index}"), 2, 2, "VALID",
                         name=f"pool{index}")
    return x


def captcha(net: NetworkBuilder) -> Graph:
    """Front end of the Keras captcha example: all before the recurrent layers, 64 values at each of 50 steps."""
    x = net.reshape(_captcha_trunk(net), 50, 1, 768, name="reshape")
    return net.graph(net.conv(x, 64, 1, normalized=False, name="dense1"))


def captcha_conv(net: NetworkBuilder) -> Graph:
    """The captcha front end with its dense layer as a 1x12 convolution."""
    x = _captcha_trunk(net)
    return net.graph(net.conv(x, 64, (1, 12), padding="VALID", normalized=False, name="dense1"))
