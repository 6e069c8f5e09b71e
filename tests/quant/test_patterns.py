"""Every quantized pattern, on graphs that TensorFlow built: FixNeurons, positions, both files, golden texts."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pytest

from dpuflow.engines.evaluate import evaluate
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.formats.graphdef import TFGraph, TFNode, parse_graphdef, serialize_graphdef
from dpuflow.formats.tf_import import import_tf
from dpuflow.model import model_from_tf
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.quantizer import Quantized, prepare, quantize_graph

from quant import tf_calibration, tf_graphs

tf = pytest.importorskip("tensorflow")
pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore:.*Padded average pool")]

RNG = np.random.default_rng(3)
BATCHES = [RNG.normal(0, 0.4 + index / 3, (tf_graphs.BATCH, 8, 8, 2)).astype(np.float32) for index in range(3)]
_SKIPPED = ("_class", "_output_shapes", "T", "Tidx", "Tshape", "Tpaddings", "dtype", "data_format", "N", "U", "Index",
            "use_cudnn_on_gpu", "explicit_paddings", "exponential_avg_factor", "is_training", "phase", "DstT",
            "SrcT", "method")


def config_for(output: str, **options: object) -> QuantizeConfig:
    return QuantizeConfig(**{"input_nodes": ("x",), "output_nodes": (output,), "input_shapes": ((1, 8, 8, 2),),
                             **options})


def value_text(value: object) -> str:
    if isinstance(value, np.ndarray):
        shape = "x".join(map(str, value.shape)) or "scalar"
        return str(value.reshape(-1).tolist()) if value.size <= 6 and value.dtype != np.float32 else (
            f"{value.dtype}[{shape}]")
    return value.decode() if isinstance(value, bytes) else str(getattr(value, "dims", value))


# Of the steps in between only the nodes are compared, of these two also the attributes.
_IN_FULL = ("quantize_evaluation_model", "deployed")


def node_text(node: TFNode, full: bool) -> str:
    attrs = " ".join(f"{key}={value_text(node.get(key))}".replace(", ", ",") for key in sorted(node.attrs)
                     if full and key not in _SKIPPED)
    return f"{node.name} = {node.op}({', '.join(node.inputs)}) {attrs}".rstrip()


def graph_text(graph: TFGraph, full: bool) -> str:
    return "".join(f"  {node_text(node, full)}\n" for node in graph.nodes)


@functools.cache
def quantized(name: str) -> tuple[TFGraph, str, Quantized, dict[str, TFGraph]]:
    """A network, quantized once: graph, output, result and the stages on the way."""
    graph, output = tf_graphs.frozen(tf, name)
    stages: dict[str, TFGraph] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = quantize_graph(graph, config_for(output), [{"x": batch} for batch in BATCHES], stages.__setitem__)
    return graph, output, result, stages


@pytest.mark.parametrize("name", tf_graphs.NETWORKS)
def test_positions_are_those_that_tensorflow_calibrates(name):
    graph, output, _, _ = quantized(name)
    options = {"adjust_shift_cut": 0, "adjust_shift_bias": 0, "align_concat": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = quantize_graph(graph, config_for(output, **options), [{"x": batch} for batch in BATCHES])
    prepared = prepare(graph, config_for(output, **options)).graph
    assert result.positions == tf_calibration.calibrate(tf, prepared, BATCHES)


@pytest.mark.parametrize("name", tf_graphs.NETWORKS)
def test_every_stage(golden, name):
    """The graph after every step, down to the deploy graph; only what a step changed is printed again."""
    parts, before = [], ""
    for stage, graph in quantized(name)[3].items():
        text = graph_text(graph, stage in _IN_FULL)
        if text != before and stage != "aux_graph":
            parts.append(f"{stage}\n{text}")
        before = text
    golden(f"quantize_{name}.txt", "\n".join(parts))


@pytest.mark.parametrize("name", tf_graphs.NETWORKS)
def test_files_are_what_tensorflow_would_write(name):
    """TensorFlow parses both files and serialises every attribute to the same bytes; nothing but nodes."""
    result = quantized(name)[2]
    for graph in (result.evaluation, result.deploy):
        message = tf.compat.v1.GraphDef.FromString(serialize_graphdef(graph))
        assert not message.HasField("versions")
        assert not message.HasField("library")
        for node, ours in zip(message.node, graph.nodes, strict=True):
            assert node.device == ""
            assert {key: value.SerializeToString(deterministic=True) for key, value in node.attr.items()} == ours.attrs
        assert parse_graphdef(message.SerializeToString()).nodes == graph.nodes


@pytest.mark.parametrize("name", tf_graphs.NETWORKS)
def test_deployed_tensors_are_on_their_grids(name):
    """Weights, biases and slopes: tensor_content encoding, whole numbers at their position, 8 bits."""
    for node in quantized(name)[2].deploy.nodes:
        for tensor, position in (("weights", "wpos"), ("bias", "bpos")):
            if tensor in node.attrs:
                bits, pos = node.get(position)
                values = np.ldexp(node.tensor(tensor).astype(np.float64), pos)
                assert bits == 8
                assert np.array_equal(values, np.rint(values)) and -128 <= values.min() <= values.max() <= 127
                message = tf.compat.v1.AttrValue.FromString(node.attrs[tensor]).tensor
                assert len(message.tensor_content) == 4 * values.size
                assert not message.float_val


def test_written_constants_are_encoded_as_tensorflow_encodes_them():
    from dpuflow.formats.graphdef import const_node

    for data in (np.float32(0.1015625), np.arange(6, dtype=np.float32).reshape(2, 3), np.array([1, 2], np.int32)):
        ours = tf.compat.v1.AttrValue.FromString(const_node("c", np.asarray(data)).attrs["value"])
        theirs = tf.compat.v1.AttrValue()
        theirs.tensor.CopyFrom(tf.make_tensor_proto(np.asarray(data)))
        assert ours.tensor.tensor_shape.SerializeToString() == theirs.tensor.tensor_shape.SerializeToString()
        assert ours.tensor.HasField("tensor_shape")
        assert np.array_equal(tf.make_ndarray(ours.tensor), tf.make_ndarray(theirs.tensor))


@pytest.mark.parametrize("name", [name for name in tf_graphs.NETWORKS if name != "residual"])
def test_both_files_emulate_the_simulation(name):
    """All but a padded average pool, which the DPU divides by its whole kernel at the border."""
    _, output, result, _ = quantized(name)
    last = f"{output}/aquant"
    network = import_tf(result.evaluation, [last if last in result.evaluation.by_name else output])
    expected = evaluate(network, {"x": BATCHES[1]})[network.outputs[0]]
    for graph in (result.evaluation, result.deploy):
        model = model_from_tf(graph, name, {"x": (1, 8, 8, 2)}).graph
        got = ReferenceEngine(model).run(BATCHES[1], [model.outputs[-1]])[model.outputs[-1]]
        assert np.array_equal(got, expected)
