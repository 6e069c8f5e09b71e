"""The graphs that the quantizer writes: order, attributes, tensors; and their bits when emulated."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from dpuedge import fixed
from dpuflow.engines.evaluate import evaluate
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.deploy_import import import_deploy
from dpuflow.formats.graphdef import new_node, parse_graphdef, serialize_graphdef
from dpuflow.formats.tf_builder import FrozenBuilder
from dpuflow.formats.tf_import import import_tf
from dpuflow.formats.tf_values import FLOAT
from dpuflow.passes import lower
from dpuflow.quant.quantizer import OPTIMISE, prepare, quantize_graph

from quant import small_net

NETWORK = small_net.layers(3)
NETWORK[0][1].reshape(-1)[:4] = (-1e-4, 1e-4, -0.0, 0.0)  # weights that round to both zeros
GRAPH = small_net.frozen(NETWORK)
DATA = small_net.batches(NETWORK)
RESULT = quantize_graph(GRAPH, small_net.config(GRAPH), ({"x": batch} for batch in DATA))


def test_fix_neurons_follow_the_rule():
    kinds = {node.name: (node.get("mode"), node.get("method"), node.get("phase"), node.get("bit_width"))
             for node in RESULT.evaluation.nodes if node.op == "FixNeuron"}
    assert kinds == {
        "x/aquant": (1, 0, 1, 8),
        "net/conv0/kernel/wquant": (0, 1, 1, 8), "net/conv0/bias/wquant": (0, 1, 1, 8),
        "net/conv0/Relu/aquant": (1, 1, 1, 8),
        "net/conv1/kernel/wquant": (0, 1, 1, 8), "net/conv1/bias/wquant": (0, 1, 1, 8),
        "net/conv1/Relu/aquant": (1, 1, 1, 8), "net/mean2/aquant": (1, 1, 1, 8),
        "net/dense3/kernel/wquant": (0, 1, 1, 8), "net/dense3/bias/wquant": (0, 1, 1, 8),
        "net/dense3/BiasAdd/aquant": (1, 1, 1, 8),
    }
    fix = RESULT.evaluation.node("x/aquant")
    assert set(fix.attrs) == {"bit_width", "method", "mode", "phase", "quantize_pos"}
    assert RESULT.evaluation.node("net/out").inputs == ("net/dense3/BiasAdd/aquant",)


def test_node_order_is_the_vendors_stack_order():
    """Sources last to first, each followed by what it completes (quantizer specification, 3.7)."""
    assert [node.name for node in RESULT.evaluation.nodes] == [
        "x", "x/aquant", "net/dense3/bias", "net/dense3/bias/wquant", "net/dense3/kernel", "net/dense3/kernel/wquant",
        "net/mean2/reduction_indices", "net/conv1/bias", "net/conv1/bias/wquant", "net/conv1/kernel",
        "net/conv1/kernel/wquant", "net/conv0/bias", "net/conv0/bias/wquant", "net/conv0/kernel",
        "net/conv0/kernel/wquant", "net/conv0/Conv2D", "net/conv0/BiasAdd", "net/conv0/Relu", "net/conv0/Relu/aquant",
        "net/conv1/Conv2D", "net/conv1/BiasAdd", "net/conv1/Relu", "net/conv1/Relu/aquant", "net/mean2",
        "net/mean2/aquant", "net/dense3/MatMul", "net/dense3/BiasAdd", "net/dense3/BiasAdd/aquant", "net/out"]
    assert [node.name for node in RESULT.deploy.nodes] == [
        "x", "net/conv0/Conv2D", "net/conv0/Relu", "net/conv1/Conv2D", "net/conv1/Relu", "net/mean2",
        "net/dense3/MatMul", "net/out"]


def test_eval_graph_keeps_the_float_weights():
    for name in ("net/conv0/kernel", "net/dense3/bias"):
        assert RESULT.evaluation.node(name).attrs == GRAPH.node(name).attrs


def test_deploy_attributes():
    by_name = RESULT.deploy.by_name
    conv, relu, out = by_name["net/conv0/Conv2D"], by_name["net/conv0/Relu"], by_name["net/out"]
    at = RESULT.positions
    assert conv.inputs == ("x",)
    assert conv.get("wpos") == (8, at["net/conv0/kernel/wquant"])
    assert conv.get("bpos") == (8, at["net/conv0/bias/wquant"])
    assert conv.get("ipos") == (8, at["x/aquant"])
    assert conv.get("opos") == relu.get("ipos") == relu.get("opos") == (8, at["net/conv0/Relu/aquant"])
    assert set(conv.attrs) - set(GRAPH.node("net/conv0/Conv2D").attrs) == {
        "weights", "bias", "wpos", "bpos", "ipos", "opos"}
    assert out.get("ipos") == (8, at["net/dense3/BiasAdd/aquant"])
    assert "opos" not in out.attrs
    assert by_name["net/mean2"].tensor("reduction_indices").tolist() == [1, 2]
    assert by_name["x"].get("shape").dims == (1, 8, 8, 2)


def test_deploy_tensors_bit_for_bit_with_signs_of_zero():
    conv, pos = RESULT.deploy.node("net/conv0/Conv2D"), RESULT.positions["net/conv0/kernel/wquant"]
    w = NETWORK[0][1]
    magnitude = np.minimum(np.floor(np.abs(w.astype(np.float64)) * 2.0**pos + 0.5), 127 + (w < 0))
    expected = np.copysign(magnitude * 2.0**-pos, w).astype(np.float32)
    assert conv.tensor("weights").tobytes() == expected.tobytes()
    assert np.signbit(expected[expected == 0]).any()


def test_files_round_trip():
    for graph in (RESULT.evaluation, RESULT.deploy):
        data = serialize_graphdef(graph)
        assert parse_graphdef(data).nodes == graph.nodes
        assert serialize_graphdef(parse_graphdef(data)) == data


def random_data(network, seed):
    return np.random.default_rng(seed).normal(0, 1, (16, 8, 8, network[0][1].shape[2])).astype(np.float32)


@pytest.mark.parametrize("seed", range(8))
def test_simulation_eval_deploy_and_reference_agree(seed):
    """The float graph with FixNeurons, and both files as integers, give the same logits."""
    network = small_net.layers(seed, channels=(1, 6, 7, 5))
    graph = small_net.frozen(network, softmax=False)
    result = quantize_graph(graph, small_net.config(graph), ({"x": b} for b in small_net.batches(network)))
    simulated = import_tf(result.evaluation, [node.name for node in result.evaluation.sinks])
    x, name = random_data(network, seed), simulated.outputs[0]
    expected = evaluate(simulated, {"x": x})[name]
    quantized, deployed = lower(simulated), import_deploy(result.deploy)
    assert np.array_equal(ReferenceEngine(quantized).run(x)[quantized.outputs[0]], expected)
    assert np.array_equal(ReferenceEngine(deployed).run(x)[deployed.outputs[0]], expected)


def bn_graph(bias: bool = True):
    rng = np.random.default_rng(1)
    build = FrozenBuilder()
    x = build.placeholder("x", (-1, 8, 8, 2))
    x = build.conv2d("c", x, rng.normal(0, 1, (3, 3, 2, 4)))
    if bias:
        x = build.bias_add("c", x, rng.normal(0, 1, 4))
    terms = tuple(rng.uniform(0.5, 2, 4).astype(np.float32) for _ in range(4))
    x = build.batch_norm("bn", x, terms, 1e-3)
    build.unary("c/Relu", "Relu", x)
    return build.graph(), terms


@pytest.mark.parametrize("bias", [True, False])
def test_batch_norm_folds_into_the_convolution(bias):
    graph, (gamma, beta, mean, variance) = bn_graph(bias)
    config = small_net.config(graph)
    main = graph
    for step in OPTIMISE:
        main = step(main, config)
    scale = (np.float32(1) / np.sqrt(variance + np.float32(1e-3))) * gamma
    assert np.array_equal(main.node("c/kernel").tensor(), graph.node("c/kernel").tensor() * scale)
    before = graph.node("c/bias").tensor() if bias else np.float32(0)
    folded = main.node("c/bias" if bias else "c/kernel/biases").tensor()
    assert np.allclose(folded, before * scale + (beta - mean * scale), rtol=0, atol=1e-6)
    ops = sorted(node.op for node in main.nodes)
    assert ops == sorted(["Conv2D", "BiasAdd" if bias else "Add", "Const", "Const", "Placeholder", "Relu"])
    x = np.random.default_rng(0).normal(0, 1, (2, 8, 8, 2)).astype(np.float32)
    first, second = (evaluate(import_tf(g, ["c/Relu"]), {"x": x})["c/Relu"] for g in (graph, main))
    assert np.allclose(first, second, atol=1e-4)


def test_shared_constants_are_copied():
    build = FrozenBuilder()
    x = build.placeholder("x", (-1, 4, 4, 1))
    first = build.conv2d("a", x, np.ones((1, 1, 1, 1)))
    node = build.nodes[-1].replace(name="b/Conv2D", inputs=(first, build.nodes[-1].inputs[1]))
    build.add(node)
    graph = build.graph()
    prepared = prepare(graph, small_net.config(graph)).graph
    assert prepared.node("b/Conv2D").operands[1] == "a/kernel1/wquant"
    assert prepared.node("a/Conv2D").operands[1] == "a/kernel/wquant"


def test_outside_of_the_cut_survives_in_the_eval_graph_only():
    graph = small_net.frozen(NETWORK)
    config = small_net.config(graph, output_nodes=("net/dense3/BiasAdd",))
    result = quantize_graph(graph, config, ({"x": batch} for batch in DATA))
    assert result.evaluation.node("net/out").inputs == ("net/dense3/BiasAdd/aquant",)
    assert "net/out" not in result.deploy.by_name
    assert result.positions == RESULT.positions


def test_ignored_nodes_get_no_fix_neurons():
    config = small_net.config(GRAPH, ignore_nodes=("net/conv1/Conv2D",))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = quantize_graph(GRAPH, config, ({"x": batch} for batch in DATA))
    assert [str(warning.message).split(" is not")[0] for warning in said] == [
        "[DECENT_WARNING] Node net/conv1/Relu(Type: Relu)", "[DECENT_WARNING] Node net/mean2(Type: Mean)"]
    assert not [name for name in result.positions if name.startswith("net/conv1")]
    assert result.deploy.node("net/conv1/Conv2D").get("quantize_ignored") is True


@pytest.mark.parametrize(("changes", "message"), [
    ({"input_nodes": ("y",)}, "Node 'y' not found"),
    ({"output_nodes": ("net/dens3/BiasAdd",)}, "did you mean net/dense3/BiasAdd"),
    ({"ignore_nodes": ("nothing",)}, "Node 'nothing' not found"),
])
def test_unknown_nodes(changes, message):
    with pytest.raises(GraphError, match=message):
        prepare(GRAPH, small_net.config(GRAPH, **changes))


def test_unsupported_operator_is_named():
    build = FrozenBuilder()
    build.add(new_node("spectrum", "FFT2D", (build.placeholder("x", (-1, 4, 4, 1)),), T=FLOAT))
    graph = build.graph()
    with pytest.raises(UnsupportedOp, match="unsupported operator FFT2D"):
        quantize_graph(graph, small_net.config(graph), [{"x": np.ones((1, 4, 4, 1))}])


@pytest.mark.filterwarnings("ignore:.DECENT_WARNING. Shift")
def test_shift_adjustment_moves_weights_then_bias():
    from dpuflow.quant.adjust import adjust_positions
    from dpuflow.quant.insert import Group

    group = Group("net/conv0/Conv2D", "x", "net/conv0/Relu", "net/conv0/kernel", "net/conv0/bias")
    at = {"x/aquant": 4, "net/conv0/kernel/wquant": 20, "net/conv0/Relu/aquant": 3, "net/conv0/bias/wquant": 30}
    got = adjust_positions(RESULT.evaluation, (group,), at, small_net.config(GRAPH))
    assert got["net/conv0/kernel/wquant"] == 16 + 3 - 4  # shift_cut 21 -> 16
    assert got["net/conv0/bias/wquant"] == 15 + 4 - 0  # shift_bias 19 - 30 = -11 -> its minimum, 0 at shift_cut 16
    low = {**at, "net/conv0/kernel/wquant": -3, "net/conv0/bias/wquant": -30}
    got = adjust_positions(RESULT.evaluation, (group,), low, small_net.config(GRAPH))
    assert got["net/conv0/kernel/wquant"] == 0 + 3 - 4  # shift_cut -2 -> 0
    assert got["net/conv0/bias/wquant"] == -1 + 4 - 16  # shift_bias 3 + 30 -> 16


@pytest.mark.filterwarnings("ignore:.DECENT_WARNING. Shift")
def test_constant_values_of_all_zero_bias():
    network = small_net.layers(4)
    network[0] = ("conv", network[0][1], np.zeros_like(network[0][2]), network[0][3])
    graph = small_net.frozen(network)
    with pytest.warns(UserWarning, match="all values are zero in: net/conv0/bias"):
        result = quantize_graph(graph, small_net.config(graph), ({"x": batch} for batch in DATA))
    assert not fixed.snap(result.deploy.node("net/conv0/Conv2D").tensor("bias"), 0).any()
    x = random_data(network, 0)
    simulated = import_tf(result.evaluation, ["net/dense3/BiasAdd/aquant"])
    expected = evaluate(simulated, {"x": x})["net/dense3/BiasAdd/aquant"]
    for quantized in (lower(import_tf(result.evaluation, ["net/out"])), import_deploy(result.deploy)):
        tensor = quantized.node(quantized.outputs[0]).inputs[0]
        assert np.array_equal(ReferenceEngine(quantized).run(x, [tensor])[tensor], expected)
