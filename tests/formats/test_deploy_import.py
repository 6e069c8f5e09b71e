"""Deploy graphs: the same bits as the evaluation graph; attributes that lie."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpuflow.engines.reference import ReferenceEngine
from dpuflow.errors import DpuError, GraphError, UnsupportedOp
from dpuflow.formats.deploy_import import CONVERTERS, import_deploy, is_deploy
from dpuflow.formats.graphdef import TFGraph, parse_graphdef, serialize_graphdef
from dpuflow.formats.tf_values import TShape
from dpuflow.model import DEPLOY_GRAPH, EVALUATION_GRAPH, FLOAT_GRAPH, model_from_tf
from dpuflow.quant.quantizer import quantize_graph

from quant import small_net


@functools.cache
def quantized():
    network = small_net.layers(5)
    graph = small_net.frozen(network)
    config = small_net.config(graph)
    return quantize_graph(graph, config, [{"x": batch} for batch in small_net.batches(network)])


def deploy(name: str = "", **attrs: object) -> TFGraph:
    """The deploy graph, one node's attributes changed."""
    graph = quantized().deploy
    return graph.replace(node.with_attrs(**attrs) if node.name == name else node for node in graph.nodes)


def test_kinds_of_graphs():
    network = small_net.layers(5)
    assert model_from_tf(small_net.frozen(network), "n").kind == FLOAT_GRAPH
    assert model_from_tf(quantized().evaluation, "n").kind == EVALUATION_GRAPH
    assert model_from_tf(quantized().deploy, "n").kind == DEPLOY_GRAPH
    assert not is_deploy(quantized().evaluation)


def test_both_graphs_yield_the_same_bits():
    x = small_net.batches(small_net.layers(5), count=1)[0]
    first, second = (ReferenceEngine(model_from_tf(graph, "n").graph).run(x)
                     for graph in (quantized().evaluation, quantized().deploy))
    assert first.keys() == second.keys() == {"net/out"}
    assert np.array_equal(first["net/out"], second["net/out"])


CONV = "net/conv0/Conv2D"


@pytest.mark.parametrize(("name", "attrs", "error", "message"), [
    (CONV, {"wpos": (8, 999)}, GraphError, "impossible position"),
    (CONV, {"wpos": (0, 4)}, GraphError, "impossible position"), (CONV, {"bpos": (8,)}, GraphError, "malformed pos"),
    (CONV, {"opos": 5}, GraphError, "malformed position attribute 'opos'"),
    (CONV, {"opos": (b"8", b"4")}, GraphError, "impossible position"),
    (CONV, {"opos": (8, 127)}, GraphError, "zero in every calibration image"),
    (CONV, {"weights": np.full((3, 3, 2, 5), np.nan, np.float32)}, GraphError, "'weights' holds NaN"),
    (CONV, {"weights": 3}, GraphError, "'weights' is missing"),
    (CONV, {"weights": np.ones((3, 3), np.float32)}, GraphError, "4-D weights"),
    (CONV, {"weights": np.ones((3, 3, 7, 5), np.float32)}, GraphError, "input channels and weights differ"),
    (CONV, {"bias": np.ones(4, np.float32)}, GraphError, "bias does not fit"),
    (CONV, {"strides": (1, 0, 1, 1)}, GraphError, "unsupported strides"),
    ("x", {"shape": TShape((-1, -1, 8, 2))}, GraphError, "no static shape"),
    ("x", {"shape": TShape(None)}, GraphError, "no static shape"), ("x", {"shape": 3}, GraphError, "malformed node"),
])
def test_attributes_that_lie(name, attrs, error, message):
    with pytest.raises(error, match=message) as caught:
        import_deploy(deploy(name, **attrs))
    assert name in str(caught.value)


def test_unknown_operator_is_named():
    graph = quantized().deploy
    odd = graph.replace(node.replace(op="Warp") if node.name == CONV else node for node in graph.nodes)
    with pytest.raises(UnsupportedOp, match=f"node '{CONV}'.*Warp"):
        import_deploy(odd)


def test_weights_that_are_all_zero_have_any_position():
    graph = import_deploy(deploy(CONV, weights=np.zeros((3, 3, 2, 5), np.float32), wpos=(8, 127)))
    weights = graph.node(f"{CONV}/weights")
    assert not weights.data.any()
    assert weights.fix.pos == 0


def test_weights_between_two_steps_are_rounded_away_from_zero():
    values = np.zeros((3, 3, 2, 5), np.float32)
    values.reshape(-1)[:4] = np.array([-1.5, 1.5, -2.5, 200]) / 16
    weights = import_deploy(deploy(CONV, weights=values, wpos=(8, 4))).node(f"{CONV}/weights")
    assert weights.data.reshape(-1)[:4].tolist() == [-2, 2, -3, 127]


ODD = [0, -1, 2**40, 0.5, b"SAME", (), (8, 4), (8, 300), (1, 2, 2, 1), True, TShape(None), TShape((0, 2)),
       np.ones((3, 3, 2, 2), np.float32), np.array([np.inf], np.float32), np.array([[1, 2]], np.int32)]


@given(st.data())
@settings(max_examples=200)
def test_odd_deploy_graphs_load_or_are_typed_errors(data):
    nodes = list(quantized().deploy.nodes)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(nodes) - 1))
        node = nodes[at]
        what = data.draw(st.sampled_from(["op", "inputs", "attribute", "drop"]))
        key = data.draw(st.sampled_from(sorted(node.attrs) or ["opos"]))
        if what == "op":
            node = node.replace(op=data.draw(st.sampled_from(sorted(CONVERTERS))))
        elif what == "inputs":
            node = node.replace(inputs=tuple(data.draw(st.lists(st.sampled_from([n.name for n in nodes]), max_size=3))))
        elif what == "attribute":
            node = node.with_attrs(**{key: data.draw(st.sampled_from(ODD))})
        else:
            node = node.with_attrs(drop=[key])
        nodes[at] = node
    try:
        graph = parse_graphdef(serialize_graphdef(TFGraph(tuple(nodes))), "odd.pb")
        model = model_from_tf(graph, "odd")
    except DpuError:
        return
    assert model.graph.outputs
