"""The zoo's networks have the published sizes, and their made-up numbers are lively and legal."""

from __future__ import annotations

import numpy as np
import pytest

from dpuflow.compiler.driver import compile_graph, layer_works
from dpuflow.engines import open_engine
from dpuflow.errors import ConfigError, GraphError
from dpuflow.ir.graph import Graph
from dpuflow.ops import get_op
from dpuflow.passes.positions_by_formula import positions_by_formula
from dpuflow.planning.inspection import node_macs
from dpuflow.target.limits import limit_shift_bias, limit_shift_cut
from dpuflow.target.select import find_target
from dpuflow.target.work import ConvWork
from dpuflow.zoo import ZOO, float_network, quantized_network
from dpuflow.zoo.builder import NetworkBuilder

PYNQ = find_target("pynq-z2")

# Parameters of the published models, with a bias per channel where those have batch normalisation.
PARAMETERS = {
    "lenet": 431_080,  # Caffe's LeNet
    "vgg16": 138_357_544,
    "resnet18": 11_689_512 - 4_800,
    "resnet50": 25_557_032 - 26_560,
    "mobilenet-v1": 4_253_864 - 3 * 10_944 + 1_025,  # Keras, all four terms of a normalisation; 1001 classes
    "mobilenet-v2": 3_504_872 - 17_056 + 1_281,
    "squeezenet": 1_235_496,
    "inception-v1": 6_998_552,
}
# Multiplications: half of the operations that the performance specification states (section 3), and papers.
MACS = {"vgg16": 30.94e9 / 2, "resnet50": 7.716e9 / 2, "mobilenet-v1": 1.137e9 / 2, "resnet18": 1.814e9,
        "mobilenet-v2": 0.3009e9, "inception-v1": 1.583e9, "yolov3": 65.86e9 / 2, "yolov3-tiny": 5.56e9 / 2}


def parameters(graph: Graph) -> int:
    return sum(node.data.size for node in graph.nodes if node.data is not None)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_the_published_ones(name):
    assert parameters(float_network(name, weights="zeros")) == PARAMETERS[name]


@pytest.mark.parametrize("name", MACS)
def test_multiplications_are_the_published_ones(name):
    graph = float_network(name, weights="zeros")
    macs = sum(node_macs(graph, node) for node in graph.nodes)
    assert macs == pytest.approx(MACS[name], rel=0.002)


def test_products_of_each_kind_of_layer():
    net = NetworkBuilder("kinds")
    x = net.input(6, 4, 3)
    y = net.flatten(net.depthwise(net.transposed(net.conv(x, 5, (3, 2), 2), 7, 4, 2), 3, 2))
    graph = net.graph(net.dense(y, 2))
    by_op = {node.op: node_macs(graph, node) for node in graph.nodes if node_macs(graph, node)}
    assert by_op == {"conv2d": 3 * 2 * 5 * 3 * 3 * 2, "transposed_conv2d": 3 * 2 * 7 * 5 * 4 * 4,
                     "depthwise_conv2d": 3 * 2 * 7 * 9, "dense": 42 * 2}


SMALL = ("chars74k", "captcha", "captcha-conv", "lenet", "squeezenet", "mobilenet-v2")


@pytest.mark.parametrize("name", SMALL)
def test_made_up_numbers_are_lively(name):
    """No tensor all zero, hardly any value saturated: errors in any layer reach the output."""
    graph = quantized_network(name)
    x = np.random.default_rng(1).integers(-128, 128, (1, *graph.inputs[0].shape[1:])).astype(np.int8)
    names = [node.name for node in graph.nodes if node.fix and node.data is None and node.op != "input"]
    for tensor, values in open_engine(graph, "fast").run(x, names, int8=True).items():
        assert np.mean(values != 0) > 0.2, tensor
        assert np.mean(np.abs(values.astype(np.int32)) >= 127) < 0.1, tensor


@pytest.mark.parametrize("name", SMALL)
def test_shifts_are_legal_and_all_weighted_layers_run_on_the_dpu(name):
    compiled = compile_graph(quantized_network(name), PYNQ, name)
    works = [work for work in layer_works(compiled) if isinstance(work, ConvWork)]
    weighted = [n for n in compiled.graph.nodes if n.op in ("conv2d", "depthwise_conv2d")]
    assert len(works) == len(weighted) > 1
    assert all(limit_shift_cut(work, PYNQ).ok and limit_shift_bias(work, PYNQ).ok for work in works)


def test_a_seed_decides_the_weights():
    first, again, other = (quantized_network("lenet", seed=seed) for seed in (1, 1, 2))
    for a, b, c in zip(first.nodes, again.nodes, other.nodes, strict=True):
        if a.data is not None and a.data.ndim == 4:
            assert np.array_equal(a.data, b.data)
            assert not np.array_equal(a.data, c.data)


def test_batch_normalisation_folds_to_the_same_function():
    """The float network with normalisations and the folded one agree within float32's error."""
    from dpuflow.engines.evaluate import evaluate
    from dpuflow.passes.fold_batch_norm import fold_batch_norm

    graph = float_network("chars74k", batch_norm=True)
    assert sum(node.op == "batch_norm" for node in graph.nodes) == 3
    folded = fold_batch_norm(graph)
    assert all(node.op != "batch_norm" for node in folded.nodes)
    x = {"input": np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 1)).astype(np.float32)}
    (want,), (got,) = evaluate(graph, x).values(), evaluate(folded, x).values()
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    fixed_form = positions_by_formula(graph)
    assert all(node.fix for node in fixed_form.nodes if get_op(node.op).fixed)


def test_zero_weights_take_no_memory():
    graph = float_network("vgg16", weights="zeros")
    assert all(node.data.strides.count(0) == node.data.ndim for node in graph.nodes
               if node.data is not None and node.data.size > 1)


def test_an_unknown_name_is_answered_with_close_ones():
    with pytest.raises(ConfigError, match="did you mean resnet50"):
        float_network("resnet-50")


def test_two_layers_of_one_name_are_refused():
    net = NetworkBuilder("twice")
    x = net.conv(net.input(8, 8, 3), 4, name="a")
    with pytest.raises(GraphError, match=r"two layers of one name.*a/Conv2D"):
        net.conv(x, 4, name="a")


def test_every_network_is_documented():
    assert all((build.__doc__ or "").strip() for build in ZOO.values())
