"""Prove on this very CPU that the fast kernels are exact, before anybody relies on them.

Adversarial on purpose: full-range signed inputs, -128 included, ties at every output, both ends
saturated, uneven padding, a bias finer than the accumulator. Int8 kernels of CPUs without dot
product instructions have been seen to fail only on such inputs (engines specification, "Traps").
"""

from __future__ import annotations

import threading

import numpy as np

from dpuflow.engines.base import engine_unavailable
from dpuflow.engines.fast import FastEngine
from dpuflow.engines.notice import without_delegate_notice
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.ir.graph import Array, Fix, Graph, Node, const
from dpuflow.ir.verify import infer_shapes
from dpuflow.ops.base import Padding
from dpuflow.ops.conv import ConvAttrs, DenseAttrs
from dpuflow.ops.pool import MeanAttrs

_LOCK = threading.Lock()
_passed = False


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


def tie_graph(shift: int, nonlinear: str) -> Graph:
    """A dense layer with weight 1 and a bias that puts every output on a tie."""
    bias = np.full(1, 1, np.int8)  # half an output step: 2**(shift - 1) accumulator units
    nodes = (
        Node("x", "input", shape=(1, 2), fix=Fix(0)),
        const("w", np.array([[64], [1]], np.int8), Fix(shift)),
        const("b", bias, Fix(1)),
        Node("y", "dense", ("x", "w", "b"), DenseAttrs(nonlinear), fix=Fix(0)),
    )
    return infer_shapes(Graph("ties", nodes, ("y",)))


def _tie_input() -> Array:
    first, second = np.meshgrid(np.arange(-128, 128, dtype=np.int8), np.arange(-64, 64, 4, dtype=np.int8))
    return np.stack([first.reshape(-1), second.reshape(-1)], axis=1)


def first_difference(graph: Graph, x: Array) -> str | None:
    """The first tensor on which the fast and the reference engine differ, or None."""
    names = graph.outputs
    expected = ReferenceEngine(graph).run(x, names, int8=True)
    got = FastEngine(graph, threads=1).run(x, names, int8=True)
    for name in names:
        if not np.array_equal(expected[name], got[name]):
            wrong = int((expected[name] != got[name]).sum())
            return f"{graph.name}: {wrong} of {expected[name].size} values of '{name}' differ"
    return None


def failures() -> list[str]:
    """What the fast kernels get wrong on this CPU; empty if nothing."""
    found = []
    for seed, shift in ((1, 9), (2, 11)):
        x = np.random.default_rng(seed).integers(-128, 128, (2, 6, 5, 3), np.int8)
        found.append(first_difference(probe_graph(seed, shift), x))
    for shift, nonlinear in ((6, "none"), (6, "relu"), (14, "none"), (15, "relu")):
        found.append(first_difference(tie_graph(shift, nonlinear), _tie_input()))
    return [failure for failure in found if failure]


def self_test() -> None:
    """Once per process; EngineError naming the first difference if the kernels are not exact."""
    global _passed
    with _LOCK:
        if _passed:
            return
        with without_delegate_notice():
            found = failures()
        if found:
            raise engine_unavailable("fast", f"its int8 kernels are not exact on this CPU: {found[0]}")
        _passed = True
