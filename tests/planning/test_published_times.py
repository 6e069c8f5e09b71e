"""Predicted times against the published ones (performance specification, section 5), one set of constants a board."""

from __future__ import annotations

import numpy as np
import pytest

from dpuflow.compiler.driver import compile_graph
from dpuflow.ir.graph import Fix, Graph, Node, const
from dpuflow.ir.verify import infer_shapes, verify
from dpuflow.ops.base import Padding
from dpuflow.ops.conv import ConvAttrs
from dpuflow.passes.as_if_quantized import as_if_quantized
from dpuflow.planning.estimate import estimate_compiled
from dpuflow.target.select import find_target
from dpuflow.zoo import float_network

B4096, ZCU102 = "DPUCZDX8G_ISA1_B4096", "zcu102"
POINTS = [
    ("resnet50", "zedboard", 90, 100.915),
    ("resnet50", B4096, 300, 12.97),
    ("vgg16", B4096, 300, 51.3),
    ("mobilenet-v1", B4096, 300, 2.58),
    ("resnet50", "ultra96", 287, 29.88),
]
# ratio to what the busiest engine of every step needs: the published goals of the schedule
RATIOS = [("resnet50", "zedboard", 1.10), ("resnet50", B4096, 1.10), ("vgg16", "zedboard", 1.10),
          ("vgg16", B4096, 1.10), ("yolov3", "pynq-z2", 1.12), ("yolov3", B4096, 1.10), ("chars74k", "zedboard", 1.5),
          ("chars74k", B4096, 1.5)]


def planned(name: str, target: str):
    return compile_graph(as_if_quantized(float_network(name, weights="zeros")), find_target(target), name)


@pytest.mark.parametrize(("name", "target", "mhz", "published_ms"), POINTS)
def test_published_networks(name, target, mhz, published_ms):
    predicted = estimate_compiled(planned(name, target), mhz).total_ms
    error = predicted / published_ms - 1
    print(f"{name} {target}: predicted {predicted:.3f} ms, published {published_ms}, {error:+.1%}")
    assert predicted == pytest.approx(published_ms, rel=0.05)


def one_layer(size: tuple[int, int, int], outputs: int, kernel: int) -> Graph:
    """A quantized network of one convolution with SAME padding."""
    pad = (kernel - 1) // 2
    weights = const("w", np.zeros((kernel, kernel, size[2], outputs), np.int8), Fix(7))
    nodes = (Node("x", "input", shape=(1, *size), fix=Fix(6)), weights, const("b", np.zeros(outputs, np.int8), Fix(6)),
             Node("c", "conv2d", ("x", "w", "b"), ConvAttrs(padding=Padding(pad, pad, pad, pad)), fix=Fix(5)))
    return verify(infer_shapes(Graph("one", nodes, ("c",))))


def one_layer_estimate(size: tuple[int, int, int], outputs: int, kernel: int):
    return estimate_compiled(compile_graph(one_layer(size, outputs, kernel), find_target(ZCU102), "one"), 281)


@pytest.mark.parametrize(("size", "outputs", "kernel", "published_ms"), [
    ((1, 1, 4096), 4096, 1, 7.485 * 16.78 / 37.8),  # 37.8 MB of weights in 7.485 ms, here 16.8 MB of them
    ((7, 7, 512), 512, 7, 4.09),  # its kernel is too deep for the next weights to be loaded beside it
])
def test_published_layers(size, outputs, kernel, published_ms):
    predicted = one_layer_estimate(size, outputs, kernel).total_ms
    print(f"{size} -> {outputs}: predicted {predicted:.3f} ms, published {published_ms:.3f}")
    assert predicted == pytest.approx(published_ms, rel=0.10)


def test_vgg_convolutions_hide_their_loads():
    """98.5 % of the padded array time is what the array itself reaches; the layer's ends come on top."""
    estimate = one_layer_estimate((56, 56, 256), 256, 3)
    (layer,) = estimate.layers
    assert layer.bound == "conv"
    assert layer.array_cycles / 0.985 / 281e3 / estimate.total_ms > 0.93


@pytest.mark.parametrize(("name", "target", "most"), RATIOS)
def test_the_schedule_comes_close_to_what_the_engines_need(name, target, most):
    estimate = estimate_compiled(planned(name, target))
    print(f"{name} {target}: {estimate.total_ms:.3f} ms, {estimate.total_ms / estimate.floors_ms['steps']:.3f} of its "
          f"floor, fixed schedule {estimate.baseline_ms:.3f} ms; {dict(estimate.floors_ms)}")
    assert estimate.total_ms <= most * estimate.floors_ms["steps"]
    assert estimate.total_ms <= estimate.baseline_ms
    assert all(estimate.total_ms >= ms for engine, ms in estimate.floors_ms.items() if engine != "steps")
