"""Small networks on which int8 kernels fail if they are not exact.

Adversarial on purpose: full-range signed inputs, -128 included, ties at every output, both ends
saturated, uneven padding, a bias finer than the accumulator. Int8 kernels of CPUs without dot
product instructions have been seen to fail only on such inputs (engines specification, "Traps").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.ir.graph import Array, Fix, Graph, Node, Shape, const
from dpuflow.ir.verify import infer_shapes
from dpuflow.ops.base import Padding
from dpuflow.ops.conv import ConvAttrs, DenseAttrs
from dpuflow.ops.elementwise import EltwiseAttrs
from dpuflow.ops.movement import ConcatAttrs, ReshapeAttrs
from dpuflow.ops.pool import MeanAttrs, PoolAttrs
from dpuflow.ops.resize import ResizeAttrs
from dpuflow.ops.transposed import TransposedAttrs


def full_range(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """int8 numbers, both ends often among them."""
    values: Array = rng.integers(-128, 128, shape, np.int8)
    values.reshape(-1)[::7] = -128
    values.reshape(-1)[::5] = 127
    return values


def probe_graph(seed: int, shift: int) -> Graph:
    """A small network that meets every kernel; ``shift`` sets how deep the ties lie."""
    rng = np.random.default_rng(seed)
    nodes = [
        Node("x", "input", shape=(1, 6, 5, 3), fix=Fix(4)),
        const("w1", full_range(rng, (3, 3, 3, 8)), Fix(6)), const("b1", full_range(rng, (8,)), Fix(12)),
        Node("c1", "conv2d", ("x", "w1", "b1"), ConvAttrs((2, 1), Padding(1, 1, 0, 2), nonlinear="none"),
             fix=Fix(10 - shift)),
        const("w2", full_range(rng, (3, 3, 8, 8)), Fix(7)), const("b2", full_range(rng, (8,)), Fix(7)),
        Node("c2", "conv2d", ("c1", "w2", "b2"), ConvAttrs((1, 1), Padding(1, 1, 1, 1), nonlinear="relu"),
             fix=Fix(17 - 2 * shift)),
        const("w3", full_range(rng, (2, 2, 8, 1)), Fix(5)),
        Node("d3", "depthwise_conv2d", ("c2", "w3"), ConvAttrs(), fix=Fix(22 - 3 * shift + 1)),
        Node("m4", "mean", ("d3",), MeanAttrs(), fix=Fix(22 - 3 * shift + 1)),
        const("w5", full_range(rng, (8, 12)), Fix(3)), const("b5", full_range(rng, (12,)), Fix(9)),
        Node("f5", "dense", ("m4", "w5", "b5"), DenseAttrs(), fix=Fix(26 - 4 * shift)),
        Node("f6", "dense", ("m4", "w5", "b5"), DenseAttrs("relu"), fix=Fix(26 - 4 * shift)),
    ]
    return infer_shapes(Graph("probe", tuple(nodes), ("c1", "c2", "d3", "m4", "f5", "f6")))


def tie_graph(*cases: tuple[int, str]) -> Graph:
    """Dense layers with weight 1 and a bias that puts every output on a tie; one for each (shift, nonlinearity)."""
    nodes = [Node("x", "input", shape=(1, 2), fix=Fix(0))]
    for shift, nonlinear in cases:
        name = f"{nonlinear} at shift {shift}"
        nodes += [const(f"{name}/w", np.array([[64], [1]], np.int8), Fix(shift)),
                  const(f"{name}/b", np.full(1, 1, np.int8), Fix(1)),  # half an output step
                  Node(name, "dense", ("x", f"{name}/w", f"{name}/b"), DenseAttrs(nonlinear), fix=Fix(0))]
    return infer_shapes(Graph("ties", tuple(nodes), tuple(node.name for node in nodes if node.op == "dense")))


def tie_input() -> Array:
    """What puts :func:`tie_graph` on its ties."""
    first, second = np.meshgrid(np.arange(-128, 128, dtype=np.int8), np.arange(-64, 64, 4, dtype=np.int8))
    return np.stack([first.reshape(-1), second.reshape(-1)], axis=1)


_SHAPE = (1, 6, 5, 4)


def _alone(op: str, attrs: object, pos: int, weights: tuple[int, ...] = (), inputs: tuple[int, ...] = (4,),
           shape: Shape = _SHAPE, name: str | None = None) -> Graph:
    """One layer over full-range inputs at the given positions."""
    rng = np.random.default_rng(len(op))
    nodes = [Node(f"x{index}", "input", shape=shape, fix=Fix(at)) for index, at in enumerate(inputs)]
    if weights:
        outputs = {"transposed_conv2d": weights[2], "depthwise_conv2d": weights[2] * weights[3]}.get(op, weights[3])
        nodes += [const("w", full_range(rng, weights), Fix(5)), const("b", full_range(rng, (outputs,)), Fix(5))]
    layer = Node("y", op, tuple(node.name for node in nodes), attrs, fix=Fix(pos))
    return infer_shapes(Graph(name or op, (*nodes, layer), ("y",)))


def joined_graph() -> Graph:
    """A signed map, whose zero point is its own, added to and put beside one that is not."""
    rng = np.random.default_rng(7)
    nodes = [
        Node("x0", "input", shape=_SHAPE, fix=Fix(4)), const("w", full_range(rng, (1, 1, 4, 4)), Fix(5)),
        Node("c", "conv2d", ("x0", "w"), ConvAttrs(nonlinear="none"), fix=Fix(1)),
        Node("r", "conv2d", ("x0", "w"), ConvAttrs(nonlinear="relu"), fix=Fix(1)),
        Node("s", "add", ("c", "r"), EltwiseAttrs(), fix=Fix(0)),
        Node("t", "add", ("c", "r"), EltwiseAttrs("relu"), fix=Fix(2)),
        Node("j", "concat", ("c", "r"), ConcatAttrs(3), fix=Fix(1)),
    ]
    return infer_shapes(Graph("joined", tuple(nodes), ("s", "t", "j")))


def leaky_graph(shift: int) -> Graph:
    """A dense layer that reaches every accumulator: 96 weights of 127 and one of 1."""
    weights = np.array([[127]] * 96 + [[1]], np.int8)
    nodes = (Node("x", "input", shape=(1, 97), fix=Fix(0)), const("w", weights, Fix(shift)),
             Node("y", "dense", ("x", "w"), DenseAttrs("leaky_relu"), fix=Fix(0)))
    return infer_shapes(Graph(f"leaky at shift {shift}", nodes, ("y",)))


def leaky_input(shift: int) -> Array:
    """What puts :func:`leaky_graph` on every tie of both sides, next to it, and on ends that saturate."""
    halves = np.arange(1, 260, 2, dtype=np.int64)
    ties = np.concatenate([-(halves * 2 ** (shift + 6) // 13), halves * 2**shift // 2])
    wanted = np.unique(ties[:, None] + [-2, -1, 0, 1])
    return spread(wanted, 96)


_WIDE = 264  # weights of 127 that reach 127.5 steps at shift 15


def byte_tie_graph(*cases: tuple[int, str]) -> Graph:
    """Dense layers behind a ReLU, weights of 127 or -127 and one of 1; two for each (shift, nonlinearity)."""
    nodes = [Node("x", "input", shape=(1, 1, 1, _WIDE + 1), fix=Fix(0)),
             const("one", np.ones((1, 1, _WIDE + 1, 1), np.int8), Fix(0)),
             Node("bytes", "depthwise_conv2d", ("x", "one"), ConvAttrs(nonlinear="relu"), fix=Fix(0)),
             Node("row", "reshape", ("bytes",), ReshapeAttrs((_WIDE + 1,)), fix=Fix(0))]
    for (shift, nonlinear), sign in ((case, sign) for case in cases for sign in (1, -1)):
        name = f"{nonlinear} at shift {shift}, {sign:+}"
        column = np.array([[127 * sign]] * _WIDE + [[sign]], np.int8)
        nodes += [const(f"{name}/w", column, Fix(shift)),
                  Node(name, "dense", ("row", f"{name}/w"), DenseAttrs(nonlinear), fix=Fix(0))]
    return infer_shapes(Graph("ties of bytes", tuple(nodes), tuple(n.name for n in nodes if n.op == "dense")))


def byte_tie_input(shifts: tuple[int, ...]) -> Array:
    """What puts :func:`byte_tie_graph` on every tie of these shifts, next to it, and on the end that saturates."""
    ties = np.concatenate([np.arange(1, 260, 2, dtype=np.int64) * 2**shift // 2 for shift in shifts])
    return spread(np.unique(ties[:, None] + [-2, -1, 0, 1]), _WIDE)[:, None, None]


def spread(sums: Array, count: int) -> Array:
    """(N, count + 1) int8: times 127 each and 1 the last, their sum is the wanted one or the end on its side."""
    most, rest = np.divmod(np.clip(sums, -count * 127 * 128, count * 127 * 127), 127)
    used = np.where(most[:, None] < 0, 128, 127) * np.arange(count)
    steps = np.sign(most)[:, None] * np.clip(np.abs(most)[:, None] - used, 0, np.where(most < 0, 128, 127)[:, None])
    return fixed.to_int8(np.concatenate([steps, rest[:, None]], axis=1))


_NARROW = 103  # twice what it may be times 127 + 32 fits 16 bits


def bent(graph: Graph) -> Graph:
    """The network with a leaky ReLU behind every input, and weights that bytes a little below zero allow."""
    nodes = [node if node.data is None or node.data.ndim < 2 else
             node.replace(data=np.clip(node.data, -_NARROW, _NARROW)) for node in graph.nodes]
    return rectified(Graph(graph.name, tuple(nodes), graph.outputs), "leaky_relu")


def rectified(graph: Graph, nonlinear: str = "relu") -> Graph:
    """The network with a ReLU behind every input, so that its layers meet bytes."""
    nodes, renamed = list[Node](), dict[str, str]()
    for node in graph.nodes:
        if node.op != "input":
            nodes.append(node.replace(inputs=tuple(renamed.get(name, name) for name in node.inputs)))
            continue
        one, name = f"{node.name}/one", f"{node.name}/bytes"
        nodes += [node, const(one, np.ones((1, 1, node.shape[3], 1), np.int8), Fix(0)),
                  Node(name, "depthwise_conv2d", (node.name, one), ConvAttrs(nonlinear=nonlinear), fix=node.fix)]
        renamed[node.name] = name
    return infer_shapes(Graph(f"{graph.name} behind {nonlinear}", tuple(nodes), graph.outputs))


def channels_graph() -> Graph:
    """Convolutions of many channels: pairs of numbers at one end meet pairs of weights there."""
    rng = np.random.default_rng(11)
    nodes = [Node("x", "input", shape=(1, 7, 9, 32), fix=Fix(0))]
    for kernel in (1, 3):
        name = f"{kernel}x{kernel}"
        nodes += [const(f"{name}/w", full_range(rng, (kernel, kernel, 32, 40)), Fix(8 + kernel)),
                  Node(name, "conv2d", ("x", f"{name}/w"), ConvAttrs(padding=Padding(*(kernel // 2,) * 4)),
                       fix=Fix(0))]
    return infer_shapes(Graph("convolutions", tuple(nodes), ("1x1", "3x3")))


@dataclass(frozen=True)
class Probe:
    """A network and its input; without one, full-range numbers."""

    make: Callable[[], Graph]
    data: Callable[[], Array] | None = None


def _layer(op: str, attrs: object, pos: int, weights: tuple[int, ...] = (), **more: Any) -> Probe:
    return Probe(partial(_alone, op, attrs, pos, weights, **more))


_STRIDE = TransposedAttrs((12, 10), (2, 2), Padding(0, 1, 0, 1))
_ODD = Padding(1, 0, 0, 2)
_TIES = ((6, "none"), (6, "relu"), (14, "none"), (15, "relu"))
_EVERY = (Probe(partial(probe_graph, 1, 9)), Probe(partial(probe_graph, 2, 11)))

# What every network asks, and what it asks of libraries with kernels apart for bytes.
ALWAYS = (*_EVERY, Probe(partial(tie_graph, *_TIES), tie_input))
ON_BYTES = (Probe(channels_graph), Probe(lambda: rectified(channels_graph())), Probe(lambda: bent(channels_graph())),
            Probe(partial(tie_graph, (15, "none"), (16, "relu")), tie_input),
            Probe(partial(byte_tie_graph, *_TIES, (1, "none"), (15, "none")), partial(byte_tie_input, (1, 6, 14, 15))))

# What operators, nonlinearities and forms of convolution ask besides.
BY_KIND: Mapping[str, tuple[Probe, ...]] = {
    "add": (Probe(joined_graph), *(_layer("add", EltwiseAttrs(), 4, inputs=positions)
                                   for positions in ((4, 4), (5, 4), (2, 7), (9, 10)))),
    "concat": (Probe(joined_graph),),
    "leaky_relu": tuple(Probe(partial(leaky_graph, shift), partial(leaky_input, shift)) for shift in (8, 9, 10)),
    "max_pool": (_layer("max_pool", PoolAttrs((3, 2), (2, 1), _ODD), 4),
                 _layer("max_pool", PoolAttrs((2, 2), (2, 2), Padding(0, 0, 0, 1)), 4)),
    "avg_pool": (_layer("avg_pool", PoolAttrs((3, 3), (1, 1), Padding(1, 1, 1, 1)), 5),),
    "mean": (_layer("mean", MeanAttrs(True), 5),),
    "relu6": (_layer("conv2d", ConvAttrs(nonlinear="relu6"), 3, (2, 2, 4, 8), name="relu6"),),
    "dilation": (_layer("conv2d", ConvAttrs(padding=_ODD, dilation=(2, 2)), 1, (2, 2, 4, 8), name="dilation"),),
    "groups": (_layer("conv2d", ConvAttrs(groups=2), 1, (2, 2, 2, 8), name="groups"),),
    "transposed_conv2d": (_layer("transposed_conv2d", _STRIDE, 2, (3, 3, 8, 4)),),
    "reshape": (_layer("reshape", ReshapeAttrs((15, 8)), 4),),
    "resize_nearest": (_layer("resize_nearest", ResizeAttrs((12, 15)), 4),),
}


def kinds(graph: Graph) -> frozenset[str]:
    """What of a network asks for probes beyond those that every network needs."""
    found = set()
    for node in graph.nodes:
        found |= {node.op, getattr(node.attrs, "nonlinear", "none")}
        if isinstance(node.attrs, ConvAttrs):
            found |= {"groups"} if node.attrs.groups > 1 else set()
            found |= {"dilation"} if node.attrs.dilation != (1, 1) else set()
    return frozenset(found & set(BY_KIND))


def cases(wanted: Iterable[str], bytes_apart: bool) -> Iterator[tuple[Graph, Array | Mapping[str, Array]]]:
    """Networks with inputs: those that every network asks for, then those of further ``kinds``."""
    for probe in (*ALWAYS, *(ON_BYTES if bytes_apart else ())):
        yield _case(probe.make(), probe.data)
    for probe in (probe for kind in sorted(wanted) for probe in BY_KIND[kind]):
        graph = probe.make()
        yield _case(graph, probe.data)
        if bytes_apart and probe.data is None:
            yield from (_case(changed(graph), None) for changed in (rectified, bent))


def _case(graph: Graph, data: Callable[[], Array] | None) -> tuple[Graph, Array | Mapping[str, Array]]:
    rng = np.random.default_rng(3)
    return graph, data() if data else {node.name: full_range(rng, (2, *node.shape[1:])) for node in graph.inputs}
