"""Prove on this very CPU that the fast kernels are exact, before anybody relies on them.

Adversarial on purpose: full-range signed inputs, -128 included, ties at every output, both ends
saturated, uneven padding, a bias finer than the accumulator. Int8 kernels of CPUs without dot
product instructions have been seen to fail only on such inputs (engines specification, "Traps").
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import numpy as np

from dpuedge import fixed
from dpuflow.engines.base import engine_unavailable
from dpuflow.engines.fast import FastEngine
from dpuflow.engines.notice import without_delegate_notice
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.ir.graph import Array, Fix, Graph, Node, Shape, const
from dpuflow.ir.verify import infer_shapes
from dpuflow.ops.base import Padding
from dpuflow.ops.conv import ConvAttrs, DenseAttrs
from dpuflow.ops.elementwise import EltwiseAttrs
from dpuflow.ops.movement import ConcatAttrs, ReshapeAttrs
from dpuflow.ops.pool import MeanAttrs, PoolAttrs
from dpuflow.ops.transposed import TransposedAttrs

_LOCK = threading.Lock()
_passed: set[str] = set()  # the kinds of layers found exact, and "always"


def _weights(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    values: Array = rng.integers(-128, 128, shape, np.int8)
    values.reshape(-1)[::7] = -128
    values.reshape(-1)[::5] = 127
    return values


def probe_graph(seed: int, shift: int) -> Graph:
    """A small network that meets every kernel; ``shift`` sets how deep the ties lie."""
    rng = np.random.default_rng(seed)
    nodes = [
        Node("x", "input", shape=(1, 6, 5, 3), fix=Fix(4)),
        const("w1", _weights(rng, (3, 3, 3, 8)), Fix(6)), const("b1", _weights(rng, (8,)), Fix(12)),
        Node("c1", "conv2d", ("x", "w1", "b1"), ConvAttrs((2, 1), Padding(1, 1, 0, 2), nonlinear="none"),
             fix=Fix(10 - shift)),
        const("w2", _weights(rng, (3, 3, 8, 8)), Fix(7)), const("b2", _weights(rng, (8,)), Fix(7)),
        Node("c2", "conv2d", ("c1", "w2", "b2"), ConvAttrs((1, 1), Padding(1, 1, 1, 1), nonlinear="relu"),
             fix=Fix(17 - 2 * shift)),
        const("w3", _weights(rng, (2, 2, 8, 1)), Fix(5)),
        Node("d3", "depthwise_conv2d", ("c2", "w3"), ConvAttrs(), fix=Fix(22 - 3 * shift + 1)),
        Node("m4", "mean", ("d3",), MeanAttrs(), fix=Fix(22 - 3 * shift + 1)),
        const("w5", _weights(rng, (8, 12)), Fix(3)), const("b5", _weights(rng, (12,)), Fix(9)),
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


def _tie_input() -> Array:
    first, second = np.meshgrid(np.arange(-128, 128, dtype=np.int8), np.arange(-64, 64, 4, dtype=np.int8))
    return np.stack([first.reshape(-1), second.reshape(-1)], axis=1)


def first_difference(graph: Graph, x: Array | Mapping[str, Array]) -> str | None:
    """The first tensor on which the fast and the reference engine differ, or None."""
    names = graph.outputs
    expected = ReferenceEngine(graph).run(x, names, int8=True)
    got = FastEngine(graph, threads=1).run(x, names, int8=True)
    for name in names:
        if not np.array_equal(expected[name], got[name]):
            wrong = int((expected[name] != got[name]).sum())
            return f"{graph.name}: {wrong} of {expected[name].size} values of '{name}' differ"
    return None


def kinds(graph: Graph) -> frozenset[str]:
    """What of a network asks for probes beyond those that every network needs."""
    found = set()
    for node in graph.nodes:
        found |= {node.op, getattr(node.attrs, "nonlinear", "none")}
        if isinstance(node.attrs, ConvAttrs):
            found |= {"groups"} if node.attrs.groups > 1 else set()
            found |= {"dilation"} if node.attrs.dilation != (1, 1) else set()
    return frozenset(found & set(PROBES))


_SHAPE = (1, 6, 5, 4)


def _alone(op: str, attrs: object, pos: int, weights: tuple[int, ...] = (), inputs: tuple[int, ...] = (4,),
           shape: Shape = _SHAPE, name: str | None = None) -> Graph:
    """One layer over full-range inputs at the given positions."""
    rng = np.random.default_rng(len(op))
    nodes = [Node(f"x{index}", "input", shape=shape, fix=Fix(at)) for index, at in enumerate(inputs)]
    if weights:
        outputs = weights[2] if op == "transposed_conv2d" else weights[3]
        nodes += [const("w", _weights(rng, weights), Fix(5)), const("b", _weights(rng, (outputs,)), Fix(5))]
    layer = Node("y", op, tuple(node.name for node in nodes), attrs, fix=Fix(pos))
    return infer_shapes(Graph(name or op, (*nodes, layer), ("y",)))


def _joined() -> Graph:
    """A signed map, whose zero point is its own, added to and put beside one that is not."""
    rng = np.random.default_rng(7)
    nodes = [
        Node("x0", "input", shape=_SHAPE, fix=Fix(4)), const("w", _weights(rng, (1, 1, 4, 4)), Fix(5)),
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
    most, rest = np.divmod(np.clip(wanted, -96 * 127 * 128, 96 * 127 * 127), 127)
    used = np.where(most[:, None] < 0, 128, 127) * np.arange(96)
    steps = np.sign(most)[:, None] * np.clip(np.abs(most)[:, None] - used, 0, np.where(most < 0, 128, 127)[:, None])
    return fixed.to_int8(np.concatenate([steps, rest[:, None]], axis=1))


Probe = tuple[Callable[[], Graph], Callable[[], Array] | None]
_STRIDE = TransposedAttrs((12, 10), (2, 2), Padding(0, 1, 0, 1))
_ODD = Padding(1, 0, 0, 2)
PROBES: Mapping[str, tuple[Probe, ...]] = {
    "add": ((_joined, None), *((partial(_alone, "add", EltwiseAttrs(), 4, inputs=positions), None)
                               for positions in ((4, 4), (5, 4), (2, 7), (9, 10)))),
    "concat": ((_joined, None),),
    "leaky_relu": tuple((partial(leaky_graph, shift), partial(leaky_input, shift)) for shift in (8, 9)),
    "max_pool": ((partial(_alone, "max_pool", PoolAttrs((3, 2), (2, 1), _ODD), 4), None),
                 (partial(_alone, "max_pool", PoolAttrs((2, 2), (2, 2), Padding(0, 0, 0, 1)), 4), None)),
    "avg_pool": ((partial(_alone, "avg_pool", PoolAttrs((3, 3), (1, 1), Padding(1, 1, 1, 1)), 5), None),),
    "relu6": ((partial(_alone, "conv2d", ConvAttrs(nonlinear="relu6"), 3, (2, 2, 4, 8), name="relu6"), None),),
    "dilation": ((partial(_alone, "conv2d", ConvAttrs(padding=_ODD, dilation=(2, 2)), 1, (2, 2, 4, 8), name="dilation"),
                  None),),
    "groups": ((partial(_alone, "conv2d", ConvAttrs(groups=2), 1, (2, 2, 2, 8), name="groups"), None),),
    "transposed_conv2d": ((partial(_alone, "transposed_conv2d", _STRIDE, 2, (3, 3, 8, 4)), None),),
    "reshape": ((partial(_alone, "reshape", ReshapeAttrs((15, 8)), 4), None),),
}


def failures(wanted: Iterable[str] = ()) -> list[str]:
    """What the fast kernels get wrong on this CPU, those of further ``kinds`` too; empty if nothing."""
    found = []
    for seed, shift in ((1, 9), (2, 11)):
        x = np.random.default_rng(seed).integers(-128, 128, (2, 6, 5, 3), np.int8)
        found.append(first_difference(probe_graph(seed, shift), x))
    found.append(first_difference(tie_graph((6, "none"), (6, "relu"), (14, "none"), (15, "relu")), _tie_input()))
    for kind in sorted(wanted):
        for make, data in PROBES[kind]:
            graph = make()
            found.append(first_difference(graph, data() if data else _full_range(graph)))
    return [failure for failure in found if failure]


def _full_range(graph: Graph) -> dict[str, Array]:
    rng = np.random.default_rng(3)
    return {node.name: _weights(rng, (2, *node.shape[1:])) for node in graph.inputs}


def self_test(graph: Graph) -> None:
    """Once per process and kind of layer; EngineError naming the first difference if the kernels are not exact."""
    wanted = kinds(graph)
    with _LOCK:
        if _passed and wanted <= _passed:
            return
        with without_delegate_notice():
            found = failures(wanted - _passed)
        if found:
            raise engine_unavailable("fast", f"its int8 kernels are not exact on this CPU: {found[0]}")
        _passed.update(wanted, ("always",))
