"""A small convolutional network as a frozen graph, and calibration data for it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from dpuflow.formats.graphdef import TFGraph
from dpuflow.formats.tf_builder import FrozenBuilder
from dpuflow.quant.config import QuantizeConfig


def layers(seed: int, channels: tuple[int, ...] = (2, 5, 4), classes: int = 3) -> list:
    rng = np.random.default_rng(seed)
    made: list = []
    for index, (inputs, outputs) in enumerate(pairwise(channels)):
        w = rng.normal(0, 0.4, (3, 3, inputs, outputs)).astype(np.float32)
        made.append(("conv", w, rng.normal(0, 0.2, outputs).astype(np.float32), 2 - index % 2))
    made.append(("mean",))
    made.append(("dense", rng.normal(0, 0.5, (channels[-1], classes)).astype(np.float32),
                 rng.normal(0, 0.1, classes).astype(np.float32)))
    return made


def frozen(network: list, softmax: bool = True) -> TFGraph:
    build = FrozenBuilder()
    x = build.placeholder("x", (-1, 8, 8, network[0][1].shape[2]))
    for index, layer in enumerate(network):
        name = f"net/{layer[0]}{index}"
        if layer[0] == "conv":
            x = build.conv2d(name, x, layer[1], layer[3])
            x = build.unary(f"{name}/Relu", "Relu", build.bias_add(name, x, layer[2]))
        elif layer[0] == "mean":
            x = build.mean(name, x)
        else:
            x = build.bias_add(name, build.dense(name, x, layer[1]), layer[2])
    if softmax:
        build.unary("net/out", "Softmax", x)
    return build.graph("small")


def config(graph: TFGraph, **changes: object) -> QuantizeConfig:
    shape = graph.node("x").get("shape").dims
    outputs = tuple(node.name for node in graph.sinks)
    return QuantizeConfig(**{"input_nodes": ("x",), "output_nodes": outputs, "input_shapes": ((1, *shape[1:]),),
                             **changes})


def batches(network: list, count: int = 5, size: int = 4, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    channels = network[0][1].shape[2]
    # Ranges that differ from batch to batch, so that the vote decides.
    return [rng.normal(0, 0.3 + index / 4, (size, 8, 8, channels)).astype(np.float32) for index in range(count)]
