"""What-if questions: channels worked through the network, cores, clocks and memory rates."""

from __future__ import annotations

import math

import pytest

from dpuflow.compiler.driver import compile_graph
from dpuflow.errors import ConfigError, GraphError
from dpuflow.ir.graph import Graph
from dpuflow.passes.as_if_quantized import as_if_quantized
from dpuflow.passes.with_channels import adjustable, with_channels
from dpuflow.planning.estimate import estimate_compiled
from dpuflow.planning.scenario import answers, parse_scenario
from dpuflow.target.select import find_target
from dpuflow.zoo import ZOO, float_network
from dpuflow.zoo.builder import NetworkBuilder

PYNQ, ZCU104 = find_target("pynq-z2"), find_target("zcu104")


def planned(name: str) -> Graph:
    return as_if_quantized(float_network(name, weights="zeros"))


def test_halves_of_a_map_keep_their_channels():
    """LightCNN takes the larger of two halves of its channels: the error names the layer that cuts them."""
    with pytest.raises(GraphError, match="conv1/mfm/half1"):
        with_channels(planned("lightcnn9"), lambda node: math.ceil(node.shape[-1] / 2))


@pytest.mark.parametrize("name", sorted(set(ZOO) - {"lightcnn9"}))
def test_half_the_channels_of_every_network(name):
    graph = planned(name)
    half = with_channels(graph, lambda node: math.ceil(node.shape[-1] / 2))
    assert [half.by_name[x].shape for x in half.outputs] == [graph.by_name[x].shape for x in graph.outputs]
    changed = adjustable(graph)
    for layer, node in changed.items():
        made = next(x for x in half.nodes if x.layer == layer and x.op == node.op)
        assert made.shape == (*node.shape[:-1], math.ceil(node.shape[-1] / 2))
    weighted = sum(node.op in ("conv2d", "transposed_conv2d", "dense") for node in graph.nodes)
    assert len(changed) == weighted - len(graph.outputs)  # the last layers stay
    same = with_channels(graph, lambda node: node.shape[-1])
    assert [node.shape for node in same.nodes if node.data is None] == [
        node.shape for node in graph.nodes if node.data is None]


def test_pruned_vgg_has_the_published_size():
    """Halving conv1 and conv8 to conv13 leaves 34.2 % fewer products and 64.0 % fewer parameters
    (arXiv 1608.08710, one dense layer of 512)."""
    names = ["conv1_1", *(f"conv{block}_{layer}" for block in (4, 5) for layer in (1, 2, 3))]
    asked, pruned = answers(planned("vgg16-cifar10"), PYNQ, None, [parse_scenario(",".join(
        f"channels:{name}/Conv2D={32 if name == 'conv1_1' else 256}" for name in names))])
    assert 1 - pruned.macs / asked.macs == pytest.approx(0.342, abs=2e-3)
    assert 1 - pruned.parameter_bytes / asked.parameter_bytes == pytest.approx(0.640, abs=2e-3)
    assert pruned.speedup > 1.2


def test_cores_clocks_and_rates():
    graph = planned("chars74k")
    base, core, clock, both, rate = answers(graph, PYNQ, 90, [
        parse_scenario(text) for text in ("core=zcu104", "mhz=180", "core=zcu104,mhz=100", "bandwidth=0.05")])
    assert (base.estimate.clock_mhz, core.estimate.clock_mhz, clock.estimate.clock_mhz) == (90, 300, 180)
    assert (core.core.name, both.estimate.clock_mhz) == ("zcu104", 100)
    direct = estimate_compiled(compile_graph(graph, ZCU104, "n"), 100)
    assert both.estimate.total_ms == pytest.approx(direct.total_ms)
    assert both.speedup == pytest.approx(base.estimate.total_ms / direct.total_ms)
    assert rate.speedup < 0.5, "a slow memory bounds it"
    assert base.speedup == 1.0


@pytest.mark.parametrize(("text", "message"), [
    ("", "not a question"), ("mhz", "not a question"), ("mhz=", "not a question"), ("=3", "not a question"),
    ("speed=3", "not a question"), ("mhz=fast", "not a number that can be"), ("mhz=-1", "not a number that can be"),
    ("mhz=nan", "not a number"), ("channels=0", "not a number"), ("bandwidth=inf", "not a number"),
    ("core=nothing", "unknown target"), ("channels:conv1=1e9", "not a number"), ("mhz=90,,core=zedboard", "question"),
])
def test_questions_that_are_none(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_scenario(text)


def test_layers_that_cannot_change():
    graph = planned("chars74k")
    with pytest.raises(ConfigError, match=r"did you mean conv1/Conv2D"):
        answers(graph, PYNQ, None, [parse_scenario("channels:conv1=3")])
    with pytest.raises(ConfigError, match="no layer of that name"):
        answers(graph, PYNQ, None, [parse_scenario("channels:logits/MatMul=3")])


def test_layers_that_meet_in_a_sum_change_together():
    net = NetworkBuilder("sum", weights="zeros")
    x = net.input(8, 8, 3)
    a, b = net.conv(x, 8, name="a"), net.conv(x, 8, name="b")
    graph = as_if_quantized(net.graph(net.conv(net.add(a, b, name="s"), 4, name="c")))
    with pytest.raises(GraphError, match=r"layer 's'.*give all layers that meet in a sum the same channels"):
        answers(graph, PYNQ, None, [parse_scenario("channels:a/Conv2D=6")])
    _, both = answers(graph, PYNQ, None, [parse_scenario("channels:a/Conv2D=6,channels:b/Conv2D=6")])
    assert both.macs == 64 * 9 * (2 * 3 * 6 + 6 * 4)
