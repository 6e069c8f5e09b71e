"""Products and sums per channel behind a convolution, folded: the same values, fewer nodes."""

from __future__ import annotations

import numpy as np
import pytest

from dpuflow.engines.evaluate import evaluate
from dpuflow.ir.graph import Fix, Graph, Node, const
from dpuflow.ir.verify import infer_shapes, verify
from dpuflow.ops.base import Padding
from dpuflow.ops.conv import ConvAttrs
from dpuflow.ops.elementwise import EltwiseAttrs
from dpuflow.passes.fold_channel_arithmetic import fold_channel_arithmetic

RNG = np.random.default_rng(1)
X = RNG.normal(0, 1, (2, 5, 4, 3)).astype(np.float32)


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(1, 0.5, shape).astype(np.float32)


def network(*nodes: Node, outputs: str) -> Graph:
    entry = Node("x", "input", shape=(1, 5, 4, 3))
    return verify(infer_shapes(Graph("net", (entry, *nodes), (outputs,))))


CONV = (const("w", floats(3, 3, 3, 4)), Node("c", "conv2d", ("x", "w"), ConvAttrs(padding=Padding(1, 1, 1, 1))))
DEPTHWISE = (const("w", floats(3, 3, 3, 2)), Node("c", "depthwise_conv2d", ("x", "w"), ConvAttrs()))


def mul(name: str, *inputs: str) -> Node:
    return Node(name, "mul", inputs, EltwiseAttrs())


def add(name: str, *inputs: str) -> Node:
    return Node(name, "bias_add", inputs)


@pytest.mark.parametrize(("nodes", "left"), [
    ((*CONV, const("s", floats(4)), mul("m", "c", "s"), Node("y", "relu", ("m",))), ["conv2d", "relu"]),
    ((*CONV, const("s", floats(1, 1, 1, 4)), mul("m", "s", "c"), Node("y", "relu", ("m",))), ["conv2d", "relu"]),
    ((*CONV, const("a", floats(4)), add("b", "c", "a"), const("s", floats(4)), mul("m", "b", "s"),
      const("o", floats(4)), add("n", "m", "o"), Node("y", "relu", ("n",))), ["conv2d", "bias_add", "relu"]),
    ((*CONV, const("a", floats(4)), add("b", "c", "a"), const("s", floats()), mul("m", "b", "s"),
      Node("y", "relu", ("m",))), ["conv2d", "bias_add", "relu"]),
    ((*DEPTHWISE, const("s", floats(6)), mul("m", "c", "s"), Node("y", "relu", ("m",))), ["depthwise_conv2d", "relu"]),
])
def test_folded_networks_compute_the_same(nodes: tuple[Node, ...], left: list[str]) -> None:
    graph = network(*nodes, outputs="y")
    folded = verify(fold_channel_arithmetic(graph))
    kept = folded.replace(n for n in folded.nodes if n.data is None or folded.users[n.name])
    assert [node.op for node in kept.nodes if node.op not in ("input", "const")] == left
    np.testing.assert_allclose(evaluate(kept, {"x": X})["y"], evaluate(graph, {"x": X})["y"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("nodes", [
    (*CONV, const("s", floats(5, 4, 4)), mul("m", "c", "s"), Node("y", "relu", ("m",))),  # a value for each pixel
    (*CONV, const("s", floats(5, 1, 1)), mul("m", "c", "s"), Node("y", "relu", ("m",))),  # a value for each row
    (*CONV, const("s", floats(4)), mul("m", "c", "s"), Node("r", "relu", ("c",)),
     Node("y", "add", ("m", "r"), EltwiseAttrs())),  # the convolution has another reader
    (*CONV, Node("r", "relu", ("c",)), const("s", floats(4)), mul("m", "r", "s"), Node("y", "relu", ("m",))),
    (const("w", np.ones((1, 1, 3, 4), np.int8), Fix(3)), Node("c", "conv2d", ("x", "w"), ConvAttrs()),
     const("s", floats(4)), mul("m", "c", "s"), Node("y", "relu", ("m",))),  # integers
    (*CONV, const("s", floats(4)), mul("m", "c", "s"), Node("d", "conv2d", ("x", "w"), ConvAttrs(
        padding=Padding(1, 1, 1, 1))), Node("y", "add", ("m", "d"), EltwiseAttrs())),  # weights with another reader
])
def test_what_cannot_be_folded_stays(nodes: tuple[Node, ...]) -> None:
    graph = network(*nodes, outputs="y")
    assert fold_channel_arithmetic(graph) is graph
