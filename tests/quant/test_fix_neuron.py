"""FixNeurons in TensorFlow: every tensor of an evaluation graph has the bits that the library computes."""

from __future__ import annotations

import numpy as np
import pytest

from dpuedge import fixed
from dpuflow.engines.evaluate import evaluate
from dpuflow.formats.graphdef import TFGraph, new_node, serialize_graphdef, write_graphdef
from dpuflow.formats.tf_import import import_tf
from dpuflow.formats.tf_values import FLOAT, TShape
from dpuflow.quant.quantizer import quantize_graph
from dpuflow.tensorflow.expand import expand_fix_neurons

from quant import small_net
from quant.test_operators import NETWORKS

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.train

TIES = np.array([0.0, -0.0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 0.49999997, -0.49999997, -0.3, 126.5, 127.49, 200, -128.5,
                 -129, 1e30, -1e30, np.inf, -np.inf, np.nan], np.float32)


def run(graph: TFGraph, fetches: list[str], feeds: dict) -> list[np.ndarray]:
    v1 = tf.compat.v1
    graph_def = v1.GraphDef()
    graph_def.ParseFromString(serialize_graphdef(graph))
    with tf.Graph().as_default() as loaded:
        tf.graph_util.import_graph_def(graph_def, name="")
        with v1.Session(graph=loaded) as session:
            return session.run([f"{name}:0" for name in fetches], {f"{name}:0": x for name, x in feeds.items()})


def single(pos: int, mode: int, bits: int) -> TFGraph:
    return TFGraph((new_node("x", "Placeholder", dtype=FLOAT, shape=TShape((-1,))),
                    new_node("x/fix", "FixNeuron", ("x",), bit_width=bits, method=1, mode=mode, phase=1,
                             quantize_pos=pos)))


@pytest.mark.parametrize(("pos", "mode", "bits"), [(0, 1, 8), (0, 0, 8), (0, 2, 8), (3, 1, 8), (-2, 0, 8), (5, 0, 4)])
def test_one_fix_neuron_on_ties_bounds_and_signs(pos, mode, bits):
    x = np.ldexp(TIES, -pos).astype(np.float32)
    (got,) = run(expand_fix_neurons(single(pos, mode, bits)), ["x/fix"], {"x": x})
    expected = fixed.snap(x, pos, "half_up" if mode == 1 else "half_away", bits)
    assert got.tobytes() == expected.tobytes()


def test_an_all_zero_tensor_stays_zero():
    (got,) = run(expand_fix_neurons(single(127, 0, 8)), ["x/fix"], {"x": np.zeros(3, np.float32)})
    assert not got.any()


@pytest.mark.parametrize("name", NETWORKS)
def test_evaluation_graph_in_tensorflow(name):
    graph = NETWORKS[name]().graph(name)
    data = np.random.default_rng(1).normal(0, 1, (6, 8, 8, 2)).astype(np.float32)
    evaluation = quantize_graph(graph, small_net.config(graph), [{"x": data}]).evaluation
    fixes = [node.name for node in evaluation.nodes if node.op == "FixNeuron"]
    ours = evaluate(import_tf(evaluation, fixes), {"x": data}, fixes)
    theirs = run(expand_fix_neurons(evaluation), fixes, {"x": data})
    assert [fix for fix, got in zip(fixes, theirs, strict=True) if not np.array_equal(got, ours[fix])] == []


@pytest.fixture
def registered():
    from dpuflow.tensorflow import fix_neuron

    fix_neuron.register()
    fix_neuron.register()
    yield fix_neuron
    fix_neuron.unregister()


def test_registration_makes_import_graph_def_take_fix_neurons(registered):
    x = np.array([0.3, -0.7], np.float32)
    assert run(single(1, 1, 8), ["x/fix"], {"x": x})[0].tolist() == [0.5, -0.5]
    registered.unregister()
    with pytest.raises(tf.errors.NotFoundError, match="FixNeuron"):
        run(single(1, 1, 8), ["x/fix"], {"x": x})


def test_import_from_a_file(tmp_path, registered):
    write_graphdef(single(1, 1, 8), tmp_path / "quantize_eval_model.pb")
    with tf.Graph().as_default() as graph:
        (tensor,) = registered.import_evaluation_graph(tmp_path / "quantize_eval_model.pb", ["x/fix:0"])
        assert tensor.graph is graph
    plain = expand_fix_neurons(single(1, 1, 8))
    graph_def = tf.compat.v1.GraphDef.FromString(serialize_graphdef(plain))
    assert registered.expand_graph_def(graph_def) is graph_def
