"""Networks with depthwise convolutions: MobileNet v1 and v2."""

from __future__ import annotations

from dpuflow.ir.graph import Graph
from dpuflow.zoo.builder import NetworkBuilder

# Output channels and stride of each separable block.
_V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
# Expansion, output channels, repetitions, stride (Sandler et al. 2018, table 2).
_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def mobilenet_v1(net: NetworkBuilder) -> Graph:
    """MobileNet v1 1.0 on 224x224, 1001 classes (1.137 GOP)."""
    x = net.conv(net.input(224, 224, 3), 32, 3, 2, nonlinear="relu6", name="conv0")
    for index, (channels, stride) in enumerate(_V1, 1):
        x = net.depthwise(x, 3, stride, nonlinear="relu6", name=f"conv{index}/dw")
        x = net.conv(x, channels, 1, nonlinear="relu6", name=f"conv{index}/pw")
    return net.graph(net.softmax(net.dense(net.mean(x), 1001, name="logits")))


def _inverted_residual(net: NetworkBuilder, x: str, expansion: int, channels: int, stride: int, name: str) -> str:
    inputs = net.shape(x)[3]
    y = net.conv(x, inputs * expansion, 1, nonlinear="relu6", name=f"{name}/expand") if expansion > 1 else x
    y = net.depthwise(y, 3, stride, nonlinear="relu6", name=f"{name}/dw")
    y = net.conv(y, channels, 1, nonlinear="none", name=f"{name}/project")
    return net.add(x, y, name=f"{name}/add") if stride == 1 and inputs == channels else y


def mobilenet_v2(net: NetworkBuilder) -> Graph:
    """MobileNet v2 1.0 on 224x224, 1001 classes."""
    x = net.conv(net.input(224, 224, 3), 32, 3, 2, nonlinear="relu6", name="conv0")
    index = 0
    for expansion, channels, count, stride in _V2:
        for repeat in range(count):
            index += 1
            x = _inverted_residual(net, x, expansion, channels, stride if repeat == 0 else 1, f"block{index}")
    x = net.conv(x, 1280, 1, nonlinear="relu6", name="conv_last")
    return net.graph(net.softmax(net.dense(net.mean(x), 1001, name="logits")))
