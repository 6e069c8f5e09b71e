"""Networks too large for a small core: streaming rings, halos, column tiles, blocks, maps kept on the chip."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpuflow.compiler.driver import compile_graph
from dpuflow.engines.fast import FastEngine
from dpuflow.engines.program import ProgramEngine, run_program
from dpuflow.errors import CompileError
from dpuflow.ir.graph import Fix, Node
from dpuflow.ops.base import Padding
from dpuflow.ops.conv import ConvAttrs
from dpuflow.ops.movement import ConcatAttrs
from dpuflow.ops.resize import ResizeAttrs
from dpuflow.ops.transposed import TransposedAttrs
from dpuflow.program.schedule import baseline, schedule_kernel
from dpuflow.program.verify import verify_program
from dpuflow.target.select import find_target

from engines.networks import RandomNetwork, full_range_input

CORES = ("DPUCZDX8G_ISA0_B512_MIN", "DPUCZDX8G_ISA1_B512", "zedboard", "pynq-z2", "DPUCZDX8G_ISA1_B1600",
         "DPUCZDX8G_ISA1_B4096")
RUNS = int(os.environ.get("DPUFLOW_PROGRAM_RUNS", "150"))  # thousands in a long run


class WideNetwork(RandomNetwork):
    """Larger maps and more channels, with the operators that place, join, repeat and spread."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed + 1)
        size = int(rng.integers(5, 60)), int(rng.integers(3, 50)), int(rng.choice([1, 3, 8, 17, 40]))
        super().__init__(seed, size)
        self.depth = 0

    def kernel(self) -> tuple[int, int]:
        return int(self.rng.integers(1, 8)), int(self.rng.integers(1, 6))

    def conv(self, name: str) -> None:
        kernel, outputs = self.kernel(), int(self.rng.choice([1, 8, 13, 24, 60, 130]))
        attrs = self.conv_attrs(kernel)
        if self.rng.random() < 0.2:
            reach = Padding(kernel[0] - 1, kernel[0] - 1, kernel[1] - 1, kernel[1] - 1)
            attrs = dataclasses.replace(attrs, stride=(1, 1), dilation=(2, 2), padding=reach)
        self.weighted(name, "conv2d", attrs, (*kernel, self.last.shape[3], outputs), outputs)

    def extra(self, name: str) -> None:
        kinds = (self.joined, self.repeated, self.spread, self.copied)
        kinds[self.rng.integers(len(kinds))](name)

    def joined(self, name: str) -> None:
        """Two branches side by side, one of them the map itself."""
        first = self.last
        for branch in ("a", "b"):
            self.last = first
            outputs = int(self.rng.integers(1, 30))
            self.weighted(f"{name}/{branch}", "conv2d", ConvAttrs(), (1, 1, first.shape[3], outputs), outputs)
            self.nodes[-1] = self.nodes[-1].replace(fix=first.fix)
        names = [first.name, f"{name}/a", f"{name}/b"]
        chosen = tuple(names[at] for at in self.rng.permutation(3)[:int(self.rng.integers(2, 4))])
        self.add(Node(name, "concat", chosen, ConcatAttrs(3), fix=first.fix))

    def repeated(self, name: str) -> None:
        h, w = self.last.shape[1:3]
        if h * w < 900:
            factor = int(self.rng.integers(1, 4)), int(self.rng.integers(1, 4))
            self.add(Node(name, "resize_nearest", (self.last.name,), ResizeAttrs((h * factor[0], w * factor[1])),
                          fix=self.last.fix))

    def spread(self, name: str) -> None:
        h, w, channels = self.last.shape[1:]
        if h * w > 900:
            return
        stride = int(self.rng.integers(1, 4)), int(self.rng.integers(1, 4))
        kernel = tuple(int(s + self.rng.integers(0, 3)) for s in stride)
        pads = tuple(int(self.rng.integers(0, (k - s) // 2 + 1)) for k, s in zip(kernel, stride, strict=True))
        size = tuple((n - 1) * s + k - 2 * p for n, s, k, p in zip((h, w), stride, kernel, pads, strict=True))
        outputs = int(self.rng.integers(1, 20))
        attrs = TransposedAttrs(size, stride, Padding(pads[0], pads[0], pads[1], pads[1]))
        self.weighted(name, "transposed_conv2d", attrs, (*kernel, outputs, channels), outputs)

    def copied(self, name: str) -> None:
        """The same map twice in a sum, and in a product where the core has one."""
        op = "add" if self.rng.random() < 0.7 else "mul"
        from dpuflow.ops.elementwise import EltwiseAttrs
        pos = self.last.fix.pos - 1 if op == "add" else 2 * self.last.fix.pos - 7
        self.add(Node(name, op, (self.last.name, self.last.name), EltwiseAttrs("none"), fix=Fix(pos)))

    def grown(self, layers: int):
        self.extra("e0")
        for index in range(layers):
            kinds = (self.conv, self.conv, self.depthwise, self.max_pool, self.avg_pool, self.residual, self.extra)
            kinds[self.rng.integers(len(kinds))](f"n{index}")
        from dpuflow.ir.graph import Graph
        from dpuflow.ir.verify import infer_shapes, verify
        return verify(infer_shapes(Graph("wide", tuple(self.nodes), (self.last.name,))))


def compiled_or_none(seed: int, target: str):
    graph = WideNetwork(seed).grown(4)
    try:
        compiled = compile_graph(graph, find_target(target), "wide")
    except CompileError:  # nothing of it runs on the DPU
        return None, graph
    return compiled, graph


def check(seed: int, target: str) -> int:
    """What is accepted is scheduled, verified and gives the fast engine's bits; how many kernels there were."""
    compiled, graph = compiled_or_none(seed, target)
    if compiled is None:
        return 0
    x = full_range_input(graph, seed, 1)
    engine, wanted = ProgramEngine(graph, find_target(target)), graph.outputs
    got, expected = engine.run(x, wanted, int8=True), FastEngine(graph).run(x, wanted, int8=True)
    for name in wanted:
        np.testing.assert_array_equal(got[name], expected[name])
    return len(compiled.dpu_kernels)


@given(st.integers(0, 10**6), st.sampled_from(CORES))
@settings(max_examples=RUNS)
def test_wide_networks_give_the_same_bits(seed, target):
    check(seed, target)


def test_the_networks_of_this_test_do_tile():
    """Over some seeds: wrapped rings, column tiles, both orders, maps on the chip, copies, all four queues."""
    seen = set()
    for seed in range(60):
        compiled, _ = compiled_or_none(seed, CORES[seed % len(CORES)])
        for kernel in compiled.dpu_kernels if compiled else ():
            program = schedule_kernel(compiled, kernel)
            for i in program.instructions:
                f = i.fields
                seen |= {i.queue} | {"wraps" for prefix in ("", "in_", "out_") if f.get(f"{prefix}wrap_after")}
            for choice in program.choices:
                if not hasattr(choice, "plan"):
                    seen.add("copies")
                    continue
                height, width, channels = choice.step.last.output
                seen |= {"on chip"} if choice.buffers.on_chip else set()
                seen |= {"columns"} if choice.plan.cols < width else set()
                seen |= {"rows"} if choice.plan.rows < height else set()
                seen |= {choice.plan.order} if choice.plan.block < channels else set()
                seen |= {"fused"} if len(choice.step.stages) > 1 else set()
    assert seen >= {"LOAD", "CONV", "ALU", "SAVE", "wraps", "copies", "on chip", "columns", "rows", "weights",
                    "features", "fused"}


@pytest.mark.parametrize("seed", range(12))
def test_the_baseline_is_right_too(seed):
    compiled, graph = compiled_or_none(seed, CORES[seed % len(CORES)])
    if compiled is None:
        return
    expected = FastEngine(compiled.graph)
    x = full_range_input(graph, seed, 1)
    names = [name for kernel in compiled.dpu_kernels for name in (*kernel.inputs, *kernel.outputs)]
    values = expected.run(x, tuple(dict.fromkeys(names)), int8=True)
    for kernel in compiled.dpu_kernels:
        program = verify_program(baseline(compiled, kernel))
        for name, made in run_program(program, compiled.graph, values, kernel.outputs).items():
            np.testing.assert_array_equal(made, values[name])


@pytest.mark.parametrize("seed", [4, 9, 21])
def test_maps_inside_a_kernel_can_be_asked_for(seed):
    compiled, graph = compiled_or_none(seed, "DPUCZDX8G_ISA1_B1600")
    if compiled is None:
        return
    names = tuple(name for kernel in compiled.dpu_kernels for name in kernel.nodes)
    x = full_range_input(graph, seed, 1)
    engine = ProgramEngine(graph, compiled.core)
    got, expected = (one.run(x, names, int8=True) for one in (engine, FastEngine(compiled.graph)))
    assert len(names) > 2
    for name in names:
        np.testing.assert_array_equal(got[name], expected[name])
