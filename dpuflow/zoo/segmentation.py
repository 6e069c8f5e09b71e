"""Segmentation: a U-Net with transposed convolutions."""

from __future__ import annotations

from dpuflow.ir.graph import Graph
from dpuflow.zoo.builder import NetworkBuilder

_WIDTHS = (32, 64, 128, 256)


def _twice(net: NetworkBuilder, x: str, channels: int, name: str) -> str:
    return net.conv(net.conv(x, channels, 3, name=f"{name}/conv1"), channels, 3, name=f"{name}/conv2")


def unet(net: NetworkBuilder) -> Graph:
    """A U-Net of width 32 on 256x256 with transposed convolutions, 21 classes a pixel."""
    x, beside = net.input(256, 256, 3), []
    for level, channels in enumerate(_WIDTHS):
        x = _twice(net, x, channels, f"down{level}")
        beside.append(x)
        x = net.max_pool(x)
    x = _twice(net, x, 2 * _WIDTHS[-1], "bottom")
    for level, channels in reversed(list(enumerate(_WIDTHS))):
        x = net.transposed(x, channels, 2, 2, nonlinear="none", name=f"up{level}/transposed")
        x = _twice(net, net.concat(beside[level], x), channels, f"up{level}")
    return net.graph(net.conv(x, 21, 1, nonlinear="none", normalized=False, name="classes"))
