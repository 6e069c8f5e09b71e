"""Networks with pools, pads, sums, concats and flattening: both written files compute the simulation's bits."""

from __future__ import annotations

import numpy as np
import pytest

from dpuflow.engines.evaluate import evaluate
from dpuflow.engines.fast import FastEngine
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.formats.deploy_import import import_deploy
from dpuflow.formats.graphdef import const_node, new_node
from dpuflow.formats.tf_builder import FrozenBuilder
from dpuflow.formats.tf_import import import_tf
from dpuflow.formats.tf_values import FLOAT, INT32
from dpuflow.passes import lower
from dpuflow.quant.quantizer import quantize_graph

from quant import small_net

DATA = np.random.default_rng(0).normal(0, 1, (6, 8, 8, 2))


class Net(FrozenBuilder):
    """Layers in the order in which they are called; every one takes the last tensor."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.rng = np.random.default_rng(seed)
        self.last = self.placeholder("x", (-1, 8, 8, 2))
        self.channels = 2

    def conv(self, name: str, outputs: int, activation: str | None = "Relu", stride: int = 1) -> str:
        kernel = self.rng.normal(0, 0.4, (3, 3, self.channels, outputs))
        x = self.bias_add(name, self.conv2d(name, self.last, kernel, stride), self.rng.normal(0, 0.3, outputs))
        self.channels = outputs
        self.last = self.unary(f"{name}/{activation}", activation, x) if activation else x
        return self.last

    def depthwise(self, name: str) -> str:
        weights = self.variable(f"{name}/depthwise_kernel", self.rng.normal(0, 0.5, (3, 3, self.channels, 1)))
        node = new_node(f"{name}/depthwise", "DepthwiseConv2dNative", (self.last, weights), T=FLOAT,
                        data_format=b"NHWC", dilations=[1, 1, 1, 1], padding=b"SAME", strides=[1, 1, 1, 1])
        x = self.bias_add(name, self.add(node), self.rng.normal(0, 0.3, self.channels))
        self.last = self.unary(f"{name}/Relu6", "Relu6", x)
        return self.last

    def pool(self, name: str, op: str, size: int, stride: int, padding: bytes = b"VALID") -> str:
        self.last = self.add(new_node(name, op, (self.last,), T=FLOAT, data_format=b"NHWC", padding=padding,
                                      ksize=[1, size, size, 1], strides=[1, stride, stride, 1]))
        return self.last

    def pad(self, name: str) -> str:
        amounts = self.add(const_node(f"{name}/paddings", np.array([[0, 0], [1, 0], [0, 1], [0, 0]], np.int32)))
        self.last = self.add(new_node(name, "Pad", (self.last, amounts), T=FLOAT, Tpaddings=INT32))
        return self.last

    def join(self, name: str, op: str, *operands: str) -> str:
        if op == "ConcatV2":
            axis = self.add(const_node(f"{name}/axis", np.array(3, np.int32)))
            node = new_node(name, op, (*operands, axis), T=FLOAT, Tidx=INT32, N=len(operands))
        else:
            node = new_node(name, op, operands, T=FLOAT)
        self.last = self.add(node)
        return self.last

    def flatten(self, name: str) -> str:
        """As ``tf.layers.flatten`` leaves it: Shape, StridedSlice, Pack, Reshape."""
        shape = self.add(new_node(f"{name}/Shape", "Shape", (self.last,), T=FLOAT, out_type=INT32))
        parts = [self.add(const_node(f"{name}/strided_slice/stack{suffix}", np.array([value], np.int32)))
                 for suffix, value in (("", 0), ("_1", 1), ("_2", 1))]
        batch = self.add(new_node(f"{name}/strided_slice", "StridedSlice", (shape, *parts), T=INT32, Index=INT32,
                                  shrink_axis_mask=1, begin_mask=0, end_mask=0, ellipsis_mask=0, new_axis_mask=0))
        rest = self.add(const_node(f"{name}/Reshape/shape/1", np.array(-1, np.int32)))
        target = self.add(new_node(f"{name}/Reshape/shape", "Pack", (batch, rest), T=INT32, N=2, axis=0))
        self.last = self.add(new_node(f"{name}/Reshape", "Reshape", (self.last, target), T=FLOAT, Tshape=INT32))
        return self.last

    def head(self, inputs: int) -> FrozenBuilder:
        self.last = self.bias_add("fc", self.dense("fc", self.last, self.rng.normal(0, 0.3, (inputs, 4))),
                                  self.rng.normal(0, 0.1, 4))
        return self


def lenet() -> FrozenBuilder:
    net = Net(1)
    net.conv("c1", 6)
    net.pool("p1", "MaxPool", 2, 2)
    net.conv("c2", 5)
    net.flatten("flat")
    return net.head(4 * 4 * 5)


def averages() -> FrozenBuilder:
    net = Net(2)
    net.conv("c1", 4)
    net.pool("p1", "AvgPool", 3, 1)
    net.pool("p2", "AvgPool", 2, 2)
    net.conv("c2", 4)
    net.last = net.mean("m", net.last, keep_dims=True)
    net.flatten("flat")
    return net.head(4)


def residual() -> FrozenBuilder:
    net = Net(3)
    first = net.conv("c1", 4)
    net.pad("pad")
    net.pool("p", "MaxPool", 2, 1)
    branch = net.conv("c2", 4, activation=None)
    net.join("sum", "Add", first, branch)
    net.unary("sum/Relu", "Relu", "sum")
    net.last = "sum/Relu"
    net.conv("c3", 3)
    net.last = net.mean("m", net.last)
    return net.head(3)


def branches() -> FrozenBuilder:
    net = Net(4)
    stem = net.conv("stem", 4)
    left = net.conv("left", 3)
    net.last, net.channels = stem, 4
    right = net.depthwise("right")
    net.join("cat", "ConcatV2", left, right)
    net.channels = 7
    net.conv("c3", 3, stride=2)
    net.last = net.mean("m", net.last)
    return net.head(3)


NETWORKS = {"lenet": lenet, "averages": averages, "residual": residual, "branches": branches}


@pytest.mark.parametrize("name", NETWORKS)
def test_simulation_and_both_files_agree(name):
    graph = NETWORKS[name]().graph(name)
    config = small_net.config(graph)
    rng = np.random.default_rng(5)
    data = [rng.normal(0, 1, (6, 8, 8, 2)).astype(np.float32) for _ in range(3)]
    result = quantize_graph(graph, config, ({"x": batch} for batch in data))
    simulated = import_tf(result.evaluation, [node.name for node in result.evaluation.sinks])
    x = rng.normal(0, 1, (32, 8, 8, 2)).astype(np.float32)
    expected = evaluate(simulated, {"x": x})[simulated.outputs[0]]
    error = expected - evaluate(import_tf(graph, config.output_nodes), {"x": x})["fc/BiasAdd"]
    assert np.median(np.abs(error)) < 0.2
    for network in (lower(simulated), import_deploy(result.deploy)):
        output = network.outputs[0]
        assert np.array_equal(ReferenceEngine(network).run(x)[output], expected)
        assert np.array_equal(FastEngine(network, threads=1).run(x)[output], expected)
    assert not [node.op for node in result.deploy.nodes if node.op in ("Const", "Shape", "Pack", "StridedSlice")]


def test_concat_aligns_its_inputs():
    graph = branches().graph()
    result = quantize_graph(graph, small_net.config(graph), [{"x": DATA}])
    at = result.positions
    assert at["left/Relu/aquant"] == at["right/Relu6/aquant"] == at["cat/aquant"]
    assert result.evaluation.node("right/depthwise_kernel/wquant").get("mode") == 2


def test_average_pools_get_the_dpus_factor():
    graph = averages().graph()
    result = quantize_graph(graph, small_net.config(graph), [{"x": DATA}])
    scale = result.evaluation.node("p1/scale_value").tensor()
    assert scale == np.float32(9 * 7 / 64)
    assert "p2/mul" not in result.evaluation.by_name  # 2 x 2: exact, and not among the early kernels
    deploy = result.deploy.by_name
    assert deploy["p1"].get("opos") == (8, result.positions["p1/mul/aquant"])
    assert deploy["m"].op == "AvgPool"  # a mean that keeps its dimensions
    assert deploy["flat/Reshape"].tensor("shape").tolist() == [1, 4]
