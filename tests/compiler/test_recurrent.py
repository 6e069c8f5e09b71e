"""A small network with an LSTM from the frozen graph to the board: one crossing, its position, the tail."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import dpuflow
from dpuedge import fixed, manifest, tail, tasks
from dpuedge.recurrent import lstm
from dpuflow.cli.compile import write_compiled
from dpuflow.engines.evaluate import evaluate
from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.graphdef import TFGraph, const_node, new_node, write_graphdef
from dpuflow.formats.tf_builder import FrozenBuilder
from dpuflow.formats.tf_import import import_tf
from dpuflow.formats.tf_values import FLOAT
from dpuflow.model import load, model_from_tf
from dpuflow.quant.boundary import choose_boundary, fix_chain, legal_positions, with_boundary
from dpuflow.quant.nodes import quantize_nodes

STEPS, WIDTH, CHANNELS, UNITS, CLASSES = 6, 4, 5, 3, 4
SPEC = {"id": "steps6x4-v1", "height": STEPS, "width": WIDTH, "channels": 1, "fit": "stretch", "normalize": "unit",
        "clip": None}


def weights(rng: np.random.Generator, inputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(rng.normal(0, 0.7, size).astype(np.float32)
                 for size in ((inputs, 4 * UNITS), (UNITS, 4 * UNITS), (4 * UNITS,)))


def frozen(seed: int = 1) -> TFGraph:
    rng = np.random.default_rng(seed)
    build = FrozenBuilder()
    x = build.placeholder("image", (-1, STEPS, WIDTH, 1))
    x = build.conv2d("conv", x, rng.normal(0, 1, (3, 3, 1, 4)).astype(np.float32))
    x = build.unary("conv/Relu", "Relu", x)
    x = build.conv2d("step", x, rng.normal(0, 1, (1, WIDTH, 4, CHANNELS)).astype(np.float32), padding="VALID")
    x = build.bias_add("step", x, rng.normal(0, 1, CHANNELS).astype(np.float32))
    x = build.unary("step/Relu", "Relu", x)
    x = build.reshape("steps", x, (-1, STEPS, CHANNELS))
    x = build.bidirectional_lstm("both", x, weights(rng, CHANNELS), weights(rng, CHANNELS), STEPS)
    x = build.reshape("map", x, (-1, STEPS, 1, 2 * UNITS))
    x = build.conv2d("scores", x, rng.normal(0, 1, (1, 1, 2 * UNITS, CLASSES)).astype(np.float32), padding="VALID")
    x = build.bias_add("scores", x, rng.normal(0, 1, CLASSES).astype(np.float32))
    build.unary("out", "Softmax", x)
    return build.graph("recurrent")


IMAGES = np.random.default_rng(7).normal(0, 1, (16, STEPS, WIDTH, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def quantized():
    graph = frozen()
    return dpuflow.quantize(model_from_tf(graph, "recurrent"), IMAGES, batch=8,
                            output_nodes=quantize_nodes(graph).outputs)


def test_both_directions_against_the_equations() -> None:
    graph = import_tf(frozen(), ["out"])
    directions = [node for node in graph.nodes if node.op == "lstm"]
    assert [node.attrs.reverse for node in directions] == [False, True]
    values = evaluate(graph, {"image": IMAGES}, ("steps", *(node.name for node in directions)))
    for node in directions:
        parts = [graph.by_name[name].data for name in node.inputs[1:]]
        np.testing.assert_allclose(values[node.name], lstm(values["steps"], *parts, node.attrs.reverse), atol=1e-6)
    turned = lstm(values["steps"][:, ::-1], *(graph.by_name[name].data for name in directions[1].inputs[1:]))[:, ::-1]
    np.testing.assert_allclose(values[directions[1].name], turned, atol=1e-6)


def test_one_crossing_found_by_the_partition(quantized) -> None:
    compiled = dpuflow.compile(quantized, target="zedboard", name="recurrent")
    assert [kernel.device for kernel in compiled.kernels] == ["DPU", "CPU"]
    assert compiled.kernels[0].outputs == ("steps",) == compiled.kernels[1].inputs
    on_cpu = [compiled.graph.by_name[name].op for name in compiled.kernels[1].nodes]
    assert on_cpu == ["lstm", "lstm", "concat", "reshape", "conv2d", "softmax"]
    assert quantize_nodes(frozen()).outputs == ("steps",)


def test_the_board_computes_what_the_engines_do(quantized, tmp_path: Path) -> None:
    compiled = dpuflow.compile(quantized, target="zedboard", name="recurrent")
    info = {"preprocessing": SPEC, "labels": ["a", "b", "c"], "fake_class": None, "task": "ctc", "blank": 3}
    write_compiled(compiled, tmp_path / "recurrent.xmodel", info)
    expected = dpuflow.run(compiled, IMAGES, engine="reference")["out"]
    again = load(tmp_path / "recurrent.xmodel").graph
    assert (dpuflow.run(load(tmp_path / "recurrent.xmodel"), IMAGES)["out"] == expected).all()
    assert [node.op for node in again.nodes if node.op == "lstm"] == ["lstm", "lstm"]
    model = manifest.load(str(tmp_path))
    name = model.outputs[0].name
    output = dpuflow.run(compiled, IMAGES, tensors=[name])[name]
    scores = tail.scores(model, output)
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    np.testing.assert_allclose(powers / powers.sum(axis=-1, keepdims=True), expected, atol=1e-6)
    assert tasks.steps_of(model, output).shape == (len(IMAGES), STEPS, CLASSES)
    recorded = json.loads((tmp_path / "recurrent.json").read_text())
    assert [step["op"] for step in recorded["cpu_tail"]] == ["lstm", "lstm", "concat", "reshape", "dense", "softmax"]
    assert set(recorded["files"]) == {"recurrent.xmodel", "recurrent.tail.npz"}


def test_the_boundarys_position_is_the_best_of_its_neighbours(quantized) -> None:
    evaluation = quantized.result.evaluation
    choice = choose_boundary(evaluation, frozen(), "steps", {"image": IMAGES})
    chain = fix_chain(evaluation, "steps")
    assert len(chain) >= 1 and choice.by_rule in choice.errors
    wanted = evaluate(import_tf(frozen(), ["out"]), {"image": IMAGES})["out"].astype(np.float64)
    for pos, error in choice.errors.items():
        moved = model_from_tf(with_boundary(evaluation, chain, pos), "moved")
        assert moved.graph.node("steps").fix.pos == moved.graph.node("step/Relu").fix.pos == pos
        got = dpuflow.run(moved, IMAGES, engine="reference")["out"]
        assert float(np.mean((got - wanted) ** 2)) == pytest.approx(error, rel=1e-3)
    assert choice.errors[choice.position] == min(choice.errors.values())
    assert choice.as_json()["fix_point"] == choice.position
    deploy = model_from_tf(with_boundary(quantized.result.deploy, chain, choice.position), "deploy").graph
    assert deploy.outputs == ("steps",)
    assert deploy.node("steps").fix.pos == choice.position
    compiled = dpuflow.compile(model_from_tf(with_boundary(evaluation, chain, choice.position), "m"))
    name = compiled.kernels[0].outputs[0]
    assert (dpuflow.run(compiled, IMAGES, tensors=[name], int8=True)[name].reshape(-1)
            == dpuflow.run(deploy_model(deploy), IMAGES, int8=True)["steps"].reshape(-1)).all()


def deploy_model(graph):
    from dpuflow.model import DEPLOY_GRAPH, Model

    return Model("deploy", DEPLOY_GRAPH, graph, True)


def test_legal_positions_are_those_of_the_shifts(quantized) -> None:
    graph = quantized.model.graph
    conv = graph.node("step/Relu")
    i, w, b = (operand.fix.pos for operand in graph.operands(conv))
    found = legal_positions(graph, "steps")
    for o in range(-30, 40):
        cut = i + w - o
        assert (o in found) == (0 <= cut <= 16 and i + w - b >= min(0, -(24 - (8 + cut))))
    assert fixed.int_range(8) == (-128, 127)


# -- what cannot be read -------------------------------------------------------------------------------------

def with_node(name: str, **changes: object) -> TFGraph:
    graph = frozen()
    return graph.replace(node.with_attrs(**changes) if node.name == name else node for node in graph.nodes)


@pytest.mark.parametrize(("graph", "message"), [
    (with_node("both/forward", use_peephole=True), "peepholes or a clipped cell"),
    (with_node("both/forward", cell_clip=3.0), "peepholes or a clipped cell"),
    (with_node("both/order", value=np.array([0, 2, 1], np.int32)), "not a sequence with time first"),
    (with_node("both/time_axis", value=np.array([1], np.int32)), "another axis than time"),
    (with_node("both/forward/zero", value=np.array(1, np.float32)), "first state is not zero"),
])
def test_forms_of_lstm_that_are_refused(graph: TFGraph, message: str) -> None:
    with pytest.raises(UnsupportedOp, match=message):
        import_tf(graph, ["out"])


def test_a_forget_bias_goes_into_the_bias() -> None:
    plain, biased = import_tf(frozen(), ["out"]), import_tf(with_node("both/forward", forget_bias=1.0), ["out"])
    name = next(node.inputs[3] for node in plain.nodes if node.op == "lstm")
    difference = biased.by_name[name].data - plain.by_name[name].data
    assert difference.tolist() == pytest.approx([0] * UNITS + [1] * UNITS + [0] * 2 * UNITS)


def test_sequences_are_used_as_sequences_only(tmp_path: Path) -> None:
    graph = frozen()
    time_first = graph.replace([*graph.nodes, new_node("y", "Relu", ("both/forward:6",), T=FLOAT)])
    with pytest.raises(UnsupportedOp, match="time first is used as a batch"):
        import_tf(time_first, ["y"])
    other = graph.replace([*graph.nodes, new_node("y", "Relu", ("both/forward:1",), T=FLOAT)])
    with pytest.raises(UnsupportedOp, match="second output"):
        import_tf(other, ["y"])
    backwards = graph.replace([*graph.nodes, new_node("y", "Transpose", ("both/backward:6", "both/order"), T=FLOAT)])
    with pytest.raises(UnsupportedOp, match="runs backwards"):
        import_tf(backwards, ["y"])
    batch = graph.replace([*graph.nodes, new_node("y", "ReverseV2", ("steps", "both/time_axis"), T=FLOAT)])
    with pytest.raises(UnsupportedOp, match="not a sequence with time first"):
        import_tf(batch, ["y"])
    wide = graph.replace(const_node(node.name, np.zeros(8, np.float32)) if node.name == "both/forward/biases" else node
                         for node in graph.nodes)
    with pytest.raises(GraphError, match="weights"):
        import_tf(wide, ["out"])
    write_graphdef(graph, tmp_path / "x.pb")
    assert load(tmp_path / "x.pb").kind == "frozen float graph"
