"""Graphs frozen by TensorFlow itself: our reader computes what TensorFlow computes."""

from __future__ import annotations

import numpy as np
import pytest

from dpuflow.engines.evaluate import evaluate
from dpuflow.formats.graphdef import parse_graphdef
from dpuflow.formats.tf_import import import_tf
from dpuflow.quant.quantizer import quantize_graph

from quant import small_net

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.train


def build(v1, x, rng):
    """A network with every float operator that the importer knows."""
    def variable(shape, scale=0.4):
        return tf.constant(rng.normal(0, scale, shape).astype(np.float32))

    y = tf.nn.conv2d(x, variable((3, 3, 2, 6)), [1, 2, 1, 1], "SAME")
    y = tf.nn.bias_add(y, variable((6,)))
    y = v1.nn.fused_batch_norm(y, *(tf.constant(rng.uniform(0.2, 1, 6).astype(np.float32)) for _ in range(4)),
                               epsilon=1e-3, is_training=False)[0]
    y = tf.nn.relu6(y)
    y = tf.nn.depthwise_conv2d(y, variable((3, 2, 6, 1)), [1, 1, 1, 1], "SAME") + variable((6,))
    y = tf.nn.leaky_relu(y, 0.1)
    y = tf.concat([tf.nn.max_pool2d(y, 3, 2, "SAME"), tf.nn.avg_pool2d(y, 3, 2, "SAME")], 3)
    z = tf.nn.conv2d(y, variable((1, 1, 12, 12)), 1, "VALID", dilations=1)
    y = y + z
    y = tf.maximum(0.1 * y, y)
    y = tf.pad(y, [[0, 0], [1, 0], [0, 2], [0, 0]])
    y = tf.nn.conv2d(y, variable((3, 3, 12, 4)), 1, "VALID", dilations=[1, 1, 1, 1])
    y = tf.reshape(y, [-1, int(np.prod(y.shape[1:]))])
    return tf.nn.softmax(tf.matmul(y, variable((int(y.shape[1]), 5))), name="out")


@pytest.fixture(scope="module")
def frozen():
    v1 = tf.compat.v1
    rng = np.random.default_rng(0)
    graph = tf.Graph()
    with graph.as_default():
        x = v1.placeholder(tf.float32, (None, 8, 8, 2), name="x")
        build(v1, x, rng)
        data = rng.normal(0, 1, (5, 8, 8, 2)).astype(np.float32)
        with v1.Session(graph=graph) as session:
            expected = session.run("out:0", {"x:0": data})
    return graph.as_graph_def().SerializeToString(), data, expected


def test_reader_computes_what_tensorflow_computes(frozen):
    data, x, expected = frozen
    graph = import_tf(parse_graphdef(data), ["out"])
    got = evaluate(graph, {"x": x})["out"]
    assert np.allclose(got, expected, atol=1e-5)
    assert got.argmax(1).tolist() == expected.argmax(1).tolist()


@pytest.mark.filterwarnings("ignore:.*Padded average pool")
def test_eval_graph_loads_into_tensorflow_and_the_quantizer_keeps_decisions(frozen):
    data, x, expected = frozen
    graph = parse_graphdef(data)
    result = quantize_graph(graph, small_net.config(graph), [{"x": x}])
    simulated = evaluate(import_tf(result.evaluation, ["out"]), {"x": x})["out"]
    assert np.abs(simulated - expected).max() < 0.15
    assert len([node for node in result.evaluation.nodes if node.op == "FixNeuron"]) > 15
