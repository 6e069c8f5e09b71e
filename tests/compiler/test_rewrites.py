"""Rewrites: other nodes, the same integers, and every part inside the core's limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpuflow.compiler.placement import place_all
from dpuflow.compiler.rewrites import REWRITES, fit
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.ir.graph import Fix, Graph, Node, const
from dpuflow.ir.verify import infer_shapes, verify
from dpuflow.ops.activation import LeakyAttrs
from dpuflow.ops.base import Padding
from dpuflow.ops.conv import ConvAttrs
from dpuflow.ops.movement import ConcatAttrs, ReshapeAttrs
from dpuflow.ops.pool import PoolAttrs
from dpuflow.target.select import find_target

ZED, MIN, PYNQ, ISA1, B512 = (find_target(name) for name in (
    "zedboard", "DPUCZDX8G_ISA0_B512_MIN", "pynq-z2", "DPUCZDX8G_ISA1_B4096", "DPUCZDX8G_ISA1_B512"))


def network(size: tuple[int, ...], *nodes: Node, fix: int = 4) -> Graph:
    graph = Graph("net", (Node("x", "input", shape=(1, *size), fix=Fix(fix)), *nodes), (nodes[-1].name,))
    return verify(infer_shapes(graph))


def outputs(graph: Graph, seed: int) -> np.ndarray:
    shape = graph.inputs[0].shape[1:]
    x = np.random.default_rng(seed).integers(-128, 128, (2, *shape)).astype(np.int8)
    return ReferenceEngine(graph).run({"x": x}, graph.outputs, int8=True)[graph.outputs[0]]


def check(graph: Graph, core, note: str, seed: int = 0) -> Graph:
    """The fitted graph: all on the DPU, the same values, the note on the rewritten layer."""
    fitted = fit(graph, core)
    assert note in fitted.notes[graph.outputs[0]]
    assert {placement.device for placement in place_all(fitted.graph, core)} == {"DPU"}
    assert np.array_equal(outputs(graph, seed), outputs(fitted.graph, seed))
    assert fitted.graph.node(graph.outputs[0]).layer == graph.node(graph.outputs[0]).layer
    return fitted.graph


@pytest.mark.parametrize(("channels", "core", "parts"), [
    (2049, B512, [1032, 1017]), (4096, ZED, [2052, 2044]), (6200, ZED, [2076, 2076, 2048])])
def test_too_many_output_channels(channels, core, parts):
    rng = np.random.default_rng(3)
    weights = const("w", rng.integers(-128, 128, (1, 1, 5, channels)).astype(np.int8), Fix(7))
    bias = const("b", rng.integers(-128, 128, channels).astype(np.int8), Fix(6))
    graph = network((2, 3, 5), weights, bias,
                    Node("y", "conv2d", ("x", "w", "b"), ConvAttrs(nonlinear="relu"), fix=Fix(2), label="fc"))
    fitted = check(graph, core, "split over output channels")
    convs = [node for node in fitted.nodes if node.op == "conv2d"]
    assert [node.shape[3] for node in convs] == parts
    assert [node.layer for node in convs] == [f"fc/part{index}" for index in range(len(parts))]
    assert all(part % core.output_channel_parallel == 0 for part in parts[:-1])
    assert "w" not in fitted.by_name


@given(st.integers(1, 24), st.integers(1, 24), st.integers(1, 3), st.data())
@settings(max_examples=40)
def test_large_max_pools(high, wide, stride, data):
    pads = [data.draw(st.integers(0, kernel - 1)) for kernel in (high, high, wide, wide)]
    size = (max(high, 5) + data.draw(st.integers(0, 3)), max(wide, 5))
    pool = Node("y", "max_pool", ("x",), PoolAttrs((high, wide), (stride, 1), Padding(*pads)), fix=Fix(5))
    graph = network((*size, 3), pool)
    if max(high, wide) <= 8:
        assert fit(graph, ZED).notes == {}
    else:
        fitted = check(graph, ZED, "smaller max pools", high)
        assert sum(node.op == "max_pool" for node in fitted.nodes) == -(-(max(high, wide) - 1) // 7)


@pytest.mark.parametrize(("kernel", "stride", "pads", "pos"), [
    ((14, 14), (1, 1), (0, 0, 0, 0), 4), ((13, 9), (2, 1), (3, 0, 1, 2), 5), ((9, 1), (1, 1), (4, 4, 0, 0), 3),
    ((16, 16), (3, 3), (0, 0, 0, 0), 4), ((12, 12), (1, 1), (0, 0, 0, 0), 6)])
def test_large_average_pools(kernel, stride, pads, pos):
    pool = Node("y", "avg_pool", ("x",), PoolAttrs(kernel, stride, Padding(*pads)), fix=Fix(pos))
    graph = network((16, 16, 3), pool)
    assert [node.op for node in check(graph, PYNQ, "depthwise").nodes] == ["input", "const", "depthwise_conv2d"]
    assert fit(graph, ZED).notes == {}, "no depthwise unit: the CPU"


@pytest.mark.parametrize("core", [ZED, MIN, ISA1], ids=lambda core: core.name)
@pytest.mark.parametrize("positions", [(4, 2), (3, 6), (5, 5)])
def test_concat_of_different_positions(core, positions):
    nodes = [Node(f"a{pos}", "max_pool", ("x",), PoolAttrs((1, 1)), fix=Fix(pos)) for pos in dict.fromkeys(positions)]
    joined = Node("y", "concat", tuple(f"a{pos}" for pos in positions), ConcatAttrs(3), fix=Fix(3))
    fitted = check(network((4, 4, 5), *nodes, joined), core, "requantized by a 1x1 max pool")
    assert sum(name.startswith("y/from") for name in fitted.by_name) == sum(pos != 3 for pos in positions)


@pytest.mark.parametrize("pos", [1, 6])
def test_moves_that_change_the_position(pos):
    flat = Node("f", "reshape", ("x",), ReshapeAttrs((36,)), fix=Fix(4))
    check(network((3, 4, 3), Node("y", "reshape", ("x",), ReshapeAttrs((12, 3)), fix=Fix(pos))), ZED, "requantized")
    check(network((3, 4, 3), flat, Node("y", "identity", ("f",), fix=Fix(pos))), ZED, "requantized")
    check(network((3, 4, 3), Node("y", "identity", ("x",), fix=Fix(pos))), ZED, "requantized")


@pytest.mark.parametrize("core", [ZED, MIN, ISA1], ids=lambda core: core.name)
@pytest.mark.parametrize("op", ["relu", "relu6", "leaky_relu"])
@pytest.mark.parametrize(("x", "y"), [(4, 4), (4, 1), (2, 7), (-1, -2), (0, 6)])
def test_activations_on_their_own(core, op, x, y):
    graph = network((4, 4, 5), Node("y", op, ("x",), LeakyAttrs() if op == "leaky_relu" else None, fix=Fix(y)), fix=x)
    if op in core.conv_nonlinears:
        check(graph, core, "1x1")
    else:
        assert fit(graph, core).notes == {}


def test_what_cannot_be_written_otherwise_stays():
    other_slope = Node("y", "leaky_relu", ("x",), LeakyAttrs(0.2), fix=Fix(4))
    too_fine = Node("y", "relu", ("x",), fix=Fix(11))
    flat = Node("y", "relu", ("r",), fix=Fix(4))
    weights = const("w", np.ones((17, 1, 3, 2), np.int8), Fix(4))
    long_kernel = Node("y", "conv2d", ("x", "w"), ConvAttrs(), fix=Fix(4))
    for nodes in ((other_slope,), (too_fine,), (weights, long_kernel),
                  (Node("r", "reshape", ("x",), ReshapeAttrs((180,)), fix=Fix(4)), flat)):
        graph = network((20, 3, 3), *nodes)
        fitted = fit(graph, ISA1)
        assert (fitted.graph is graph, fitted.notes) == (True, {})


def test_every_rewrite_says_what_it_does():
    assert len({rewrite.sentence for rewrite in REWRITES}) == len(REWRITES)
    assert all(rewrite.limits for rewrite in REWRITES)


def test_a_dense_layer_deeper_than_the_engine_and_wider_too():
    """Two limits, two rewrites: the channels as columns, then parts of the output channels."""
    rng = np.random.default_rng(5)
    weights = const("w", rng.integers(-128, 128, (1, 1, 4096, 3100)).astype(np.int8), Fix(7))
    graph = network((1, 1, 4096), weights, Node("y", "conv2d", ("x", "w"), ConvAttrs(), fix=Fix(-3)))
    fitted = check(graph, ZED, "columns of a map, split over output channels")
    assert [node.shape for node in fitted.nodes if node.op == "reshape"] == [(1, 1, 2, 2048)]
    assert len([node for node in fitted.nodes if node.op == "conv2d"]) == 2
    prime = const("w", np.ones((1, 1, 3083, 4), np.int8), Fix(7))
    stays = network((1, 1, 3083), prime, Node("y", "conv2d", ("x", "w"), ConvAttrs(), fix=Fix(3)))
    assert fit(stays, ZED).notes == {}
