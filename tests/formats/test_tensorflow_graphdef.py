"""GraphDef files that TensorFlow wrote: read without it, and written back so that it reads the same."""

from __future__ import annotations

import numpy as np
import pytest

from dpuflow.formats.graphdef import parse_graphdef, serialize_graphdef

pytestmark = pytest.mark.train

VALUES = {
    "scalar": np.float32(0.1), "vector": np.arange(5, dtype=np.float32), "same": np.full((7, 3), -2.5, np.float32),
    "tail": np.array([1, 2, 3, 3, 3, 3, 3, 3], np.float32), "double": np.array([0.1, 0.2]),
    "int32": np.array([[1, -2], [3, 4]], np.int32), "int64": np.array([2**40, -1], np.int64),
    "int64_scalar": np.int64(-7), "bool": np.array([True, False, False]), "half": np.array([1, -0.5], np.float16),
    "half_scalar": np.float16(3), "uint8": np.array([0, 255], np.uint8), "int8": np.array([-128, 127], np.int8),
    "empty": np.zeros((0, 3), np.float32), "zeros": np.zeros((4, 4), np.float32),
}


@pytest.fixture(scope="module")
def graph_def():
    tf = pytest.importorskip("tensorflow")
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (None, 8, 8, 2), "x")
        for name, value in VALUES.items():
            tf.constant(value, name=f"values/{name}")
        y = tf.nn.conv2d(x, np.ones((3, 3, 2, 4), np.float32), [1, 2, 1, 1], "SAME", name="conv")
        tf.nn.softmax(tf.reshape(tf.nn.max_pool2d(tf.nn.relu(y), 2, 2, "VALID"), (-1, 4 * 2 * 4)), name="out")
        with tf.control_dependencies([y]):
            tf.constant("text", name="text")
        return graph.as_graph_def()


def test_the_file_comes_back_as_tensorflow_reads_it(graph_def):
    import tensorflow as tf

    graph = parse_graphdef(graph_def.SerializeToString(), "tf.pb")
    again = tf.compat.v1.GraphDef.FromString(serialize_graphdef(graph))
    assert list(again.node) == list(graph_def.node)
    assert serialize_graphdef(parse_graphdef(serialize_graphdef(graph))) == serialize_graphdef(graph)


@pytest.mark.parametrize("name", VALUES)
def test_every_encoding_that_tensorflow_uses(graph_def, name):
    graph = parse_graphdef(graph_def.SerializeToString(), "tf.pb")
    got, expected = graph.node(f"values/{name}").tensor(), np.asarray(VALUES[name])
    assert got.dtype == expected.dtype
    assert np.array_equal(got, expected)
    assert got.shape == expected.shape


def test_attributes(graph_def):
    graph = parse_graphdef(graph_def.SerializeToString(), "tf.pb")
    conv = graph.node("conv")
    assert conv.get("strides") == (1, 2, 1, 1)
    assert conv.get("padding") == b"SAME"
    assert graph.node("x").get("shape").dims == (-1, 8, 8, 2)
    assert graph.node("text").inputs == ("^conv",)
    assert [node.name for node in graph.sinks] == ["out"]
