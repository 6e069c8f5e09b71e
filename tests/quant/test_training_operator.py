"""FixNeurons that train, in TensorFlow: position, value, gradient; and a network from training to the deploy graph."""

from __future__ import annotations

import numpy as np
import pytest

from dpuedge import fixed
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.errors import DataError, QuantizeError
from dpuflow.formats.graphdef import TFGraph, new_node, read_graphdef, serialize_graphdef
from dpuflow.formats.tf_values import FLOAT, TShape
from dpuflow.model import model_from_tf
from dpuflow.quant.position import find_position
from dpuflow.quant.training_graph import position_file

from quant.test_training_graph import EVAL_META, TRAIN_META, made, run

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.train
RNG = np.random.default_rng(0)
TENSORS = {"normal": RNG.normal(0, 1, (7, 5)), "outlier": np.append(RNG.normal(0, 0.1, 200), 40.0),
           "whole": np.array([8.0, -4.0, 2.0]), "tiny": RNG.normal(0, 1e-6, 30), "large": RNG.normal(0, 1e5, 30),
           "ties": np.arange(-20, 21) / 2, "zeros": np.zeros(4)}


def trained_fix(mode: int, method: int, bits: int) -> TFGraph:
    fix = new_node("x/fix", "FixNeuron", ("x",), bit_width=bits, method=method, mode=mode, phase=2, quantize_pos=0)
    return TFGraph((new_node("x", "Placeholder", dtype=FLOAT, shape=TShape(None)), fix))


def run_in_tensorflow(graph: TFGraph, x: np.ndarray) -> tuple[np.ndarray, int, np.ndarray]:
    """Value, position and gradient of a sum with weights 1, 2, 3, ..."""
    from dpuflow.tensorflow.expand import expand_fix_neurons

    v1 = tf.compat.v1
    message = v1.GraphDef.FromString(serialize_graphdef(expand_fix_neurons(graph)))
    with tf.Graph().as_default() as loaded, v1.Session(graph=loaded) as session:
        tf.graph_util.import_graph_def(message, name="")
        source, value = (loaded.get_tensor_by_name(f"{name}:0") for name in ("x", "x/fix"))
        weights = np.arange(1, x.size + 1, dtype=np.float32).reshape(x.shape)
        (slope,) = v1.gradients(tf.reduce_sum(value * weights), source)
        return session.run((value, loaded.get_tensor_by_name("x/fix/found_position:0"), slope), {source: x})


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize(("mode", "method", "bits"), [(1, 1, 8), (0, 1, 8), (1, 0, 8), (2, 2, 8), (0, 2, 8), (1, 1, 5)])
def test_a_fix_neuron_that_trains(name, mode, method, bits):
    x = TENSORS[name].astype(np.float32)
    rounding = "half_up" if mode == 1 else "half_away"
    value, position, slope = run_in_tensorflow(trained_fix(mode, method, bits), x)
    assert position == find_position(x, method, rounding, bits, mode == 2)
    expected = np.zeros_like(x) if position == 127 else fixed.snap(x, position, rounding, bits)
    assert np.array_equal(value, expected)
    assert np.array_equal(slope.reshape(-1), np.arange(1, x.size + 1))


def trained(folder) -> tuple[list[float], dict[str, int]]:
    """Losses of some steps on a made-up task, and the positions left behind; a checkpoint ``after``."""
    from dpuflow.tensorflow import training

    v1, rng = tf.compat.v1, np.random.default_rng(2)
    batches = [rng.normal(0, 1, (16, 8, 8, 2)).astype(np.float32) for _ in range(3)]
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        saver = training.import_training_graph(TRAIN_META)
        saver.restore(session, str(folder / "net"))
        out, x = (graph.get_tensor_by_name(name) for name in ("fc/BiasAdd/aquant:0", "x:0"))
        wanted = v1.placeholder(tf.float32, (None, 3))
        loss = tf.reduce_mean(tf.square(out - wanted))
        step = v1.train.GradientDescentOptimizer(0.2).minimize(loss)
        losses = []
        for turn in range(12):
            batch = batches[turn % 3]
            answer = np.stack([batch.mean((1, 2, 3)), batch[:, 0, 0, 0] * 0, batch[:, 0, 0, 0] * 0 + 1], axis=1)
            losses.append(session.run((loss, step), {x: batch, wanted: answer})[0])
        saver.save(session, str(folder / "after"))
        return losses, training.leave_positions(session, "o", ({x: batch} for batch in batches))


def test_a_network_trains_and_is_deployed(tmp_path, monkeypatch):
    """TensorFlow's evaluation graph with the trained checkpoint and our emulation of the deploy graph: every bit."""
    from dpuflow.tensorflow import training

    monkeypatch.chdir(tmp_path)
    made(tmp_path, True)
    assert run("quantize", mode="train") == 0
    losses, positions = trained(tmp_path)
    assert losses[-1] < losses[0] / 2
    assert position_file(tmp_path / "o", "x/aquant").read_text() == f"x/aquant 8 {positions['x/aquant']}\n"
    assert run("quantize", mode="eval", input_meta_graph=TRAIN_META) == 0
    assert run("deploy", input_meta_graph=EVAL_META, input_checkpoint="after") == 0
    x, v1 = np.random.default_rng(3).normal(0, 1, (4, 8, 8, 2)).astype(np.float32), tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        training.import_training_graph(EVAL_META).restore(session, str(tmp_path / "after"))
        expected = session.run("fc/BiasAdd/aquant:0", {"x:0": x})
    network = model_from_tf(read_graphdef("o/deploy/deploy_model.pb"), "trained", {"x": (1, 8, 8, 2)}).graph
    assert np.array_equal(ReferenceEngine(network).run(x)[network.outputs[0]], expected)


def test_what_can_be_wrong(tmp_path, monkeypatch):
    from dpuflow.tensorflow import training

    monkeypatch.chdir(tmp_path)
    made(tmp_path, False)
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        training.import_training_graph("net.meta").restore(session, "net")
        with pytest.raises(QuantizeError, match="no FixNeuron that trains"):
            training.leave_positions(session, "o", [])
    assert run("quantize", mode="train") == 0
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        training.import_training_graph(TRAIN_META).restore(session, "net")
        with pytest.raises(DataError, match="no batches"):
            training.leave_positions(session, "o", [])
