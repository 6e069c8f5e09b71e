"""Face recognition: LightCNN, whose activation is the larger of two halves of the channels."""

from __future__ import annotations

from dpuflow.ir.graph import Graph
from dpuflow.zoo.builder import NetworkBuilder


def _mfm(net: NetworkBuilder, x: str, channels: int, kernel: int, name: str) -> str:
    y = net.conv(x, 2 * channels, kernel, nonlinear="none", normalized=False, name=name)
    return net.max_feature_map(y, f"{name}/mfm")


def lightcnn9(net: NetworkBuilder) -> Graph:
    """LightCNN-9 on 128x128 grey faces, features of 256; split and maximum fall to the CPU."""
    x = net.max_pool(_mfm(net, net.input(128, 128, 1), 48, 5, "conv1"), name="pool1")
    for index, (reduced, channels) in enumerate(((48, 96), (96, 192), (192, 128), (128, 128)), 2):
        x = _mfm(net, x, reduced, 1, f"conv{index}a")
        x = _mfm(net, x, channels, 3, f"conv{index}")
        if index != 4:
            x = net.max_pool(x, name=f"pool{index}")
    x = net.dense(net.flatten(x), 512, name="fc1")
    return net.graph(net.max_feature_map(x, "fc1/mfm"))
