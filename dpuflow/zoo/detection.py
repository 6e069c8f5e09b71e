"""Object detectors: YOLOv3 and its tiny form (leaky relu, upsampling, concatenation)."""

from __future__ import annotations

from dpuflow.ir.graph import Graph
from dpuflow.zoo.builder import NetworkBuilder

_CLASSES = 80
_OUTPUTS = 3 * (5 + _CLASSES)  # three boxes a place, each with four coordinates, objectness and classes


def _conv(net: NetworkBuilder, x: str, channels: int, kernel: int, stride: int = 1) -> str:
    return net.conv(x, channels, kernel, stride, nonlinear="leaky_relu")


def _head(net: NetworkBuilder, x: str, name: str) -> str:
    return net.conv(x, _OUTPUTS, 1, nonlinear="none", normalized=False, name=name)


def _darknet_stage(net: NetworkBuilder, x: str, channels: int, blocks: int) -> str:
    """Half the size, then residual blocks."""
    x = _conv(net, x, channels, 3, 2)
    for _ in range(blocks):
        x = net.add(x, _conv(net, _conv(net, x, channels // 2, 1), channels, 3))
    return x


def _five(net: NetworkBuilder, x: str, channels: int) -> str:
    """1x1 and 3x3 in turn, five layers."""
    for index in range(5):
        x = _conv(net, x, channels * (1 + index % 2), 3 if index % 2 else 1)
    return x


def _up(net: NetworkBuilder, x: str, channels: int, beside: str) -> str:
    return net.concat(net.upsample(_conv(net, x, channels, 1)), beside)


def yolov3(net: NetworkBuilder) -> Graph:
    """YOLOv3 on 416x416: Darknet-53 and three scales, 80 classes."""
    x = _conv(net, net.input(416, 416, 3), 32, 3)
    stages = []
    for channels, blocks in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        x = _darknet_stage(net, x, channels, blocks)
        stages.append(x)
    outputs = []
    for scale, channels in enumerate((512, 256, 128)):
        if scale:
            x = _up(net, x, channels, stages[4 - scale])
        x = _five(net, x, channels)
        outputs.append(_head(net, _conv(net, x, 2 * channels, 3), f"scale{scale}"))
    return net.graph(*outputs)


def yolov3_tiny(net: NetworkBuilder) -> Graph:
    """YOLOv3-tiny on 416x416: two scales, 80 classes."""
    x = net.input(416, 416, 3)
    for channels in (16, 32, 64, 128):
        x = net.max_pool(_conv(net, x, channels, 3))
    beside = _conv(net, x, 256, 3)
    x = net.max_pool(_conv(net, net.max_pool(beside), 512, 3), 2, 1)
    x = _conv(net, _conv(net, x, 1024, 3), 256, 1)
    large = _head(net, _conv(net, x, 512, 3), "scale0")
    return net.graph(large, _head(net, _conv(net, _up(net, x, 128, beside), 256, 3), "scale1"))
