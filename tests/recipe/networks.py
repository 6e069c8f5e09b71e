"""Small float networks as frozen graphs, made so that one position for all channels costs much."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dpuflow.formats.graphdef import TFGraph, const_node, new_node
from dpuflow.formats.tf_builder import FrozenBuilder
from dpuflow.formats.tf_values import FLOAT
from dpuflow.quant.job import QuantizeJob
from dpuflow.quant.network import find_config


def depthwise(build: FrozenBuilder, layer: str, x: str, kernel: np.ndarray) -> str:
    build.add(const_node(f"{layer}/kernel", kernel.astype(np.float32)))
    return build.add(new_node(f"{layer}/depthwise", "DepthwiseConv2dNative", (x, f"{layer}/kernel"), T=FLOAT,
                              data_format=b"NHWC", dilations=[1, 1, 1, 1], padding=b"SAME", strides=[1, 1, 1, 1]))


def separable(seed: int = 0, spread: float = 3.0, act: str = "Relu6", channels: int = 6) -> TFGraph:
    """conv, depthwise, pointwise, dense; the channels' scales differ by up to 2**spread, as after folding."""
    rng = np.random.default_rng(seed)
    build = FrozenBuilder()
    x = build.placeholder("x", (-1, 8, 8, 2))
    scale = 2.0 ** rng.uniform(-spread, spread, channels)
    x = build.conv2d("first", x, rng.normal(0, 0.4, (3, 3, 2, channels)) * scale / 4)
    x = build.unary("first/act", act, build.bias_add("first", x, rng.normal(0.2, 0.1, channels) * scale / 4))
    x = depthwise(build, "second", x, rng.normal(0, 0.5, (3, 3, channels, 1)) / scale[:, None])
    x = build.unary("second/act", act, build.bias_add("second", x, rng.normal(0.2, 0.1, channels)))
    x = build.conv2d("third", x, rng.normal(0, 0.5, (1, 1, channels, 5)))
    x = build.unary("third/act", act, build.bias_add("third", x, rng.normal(0, 0.1, 5)))
    x = build.mean("pool", x)
    x = build.bias_add("last", build.dense("last", x, rng.normal(0, 0.6, (5, 4))), rng.normal(0, 0.1, 4))
    return build.graph("separable")


def images(seed: int = 1, count: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.6, (count, 8, 8, 2)).astype(np.float32)


def job(graph: TFGraph, folder: Path, **changes: object) -> QuantizeJob:
    x = images()
    batches = [{"x": x[at:at + 16]} for at in range(0, len(x), 16)]
    return QuantizeJob(graph, find_config(graph), batches, folder=folder, **changes)
