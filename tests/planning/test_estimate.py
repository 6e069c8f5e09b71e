"""An estimate is its program's clock, its array cycles are the specification's formula."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpuflow.compiler.driver import compile_graph, layer_works
from dpuflow.passes.as_if_quantized import as_if_quantized
from dpuflow.planning.estimate import estimate_compiled, floors, programs_of
from dpuflow.target.board import MPSOC, ULTRA96, ZYNQ_7000, board_timing
from dpuflow.target.performance import compute_cycles, conv_cycles
from dpuflow.target.report import estimate_json, predicted_table
from dpuflow.target.select import find_target
from dpuflow.target.table import named_targets
from dpuflow.target.work import ConvWork
from dpuflow.zoo import float_network

from engines.networks import random_network

ZED, PYNQ, B4096 = (find_target(name) for name in ("zedboard", "pynq-z2", "DPUCZDX8G_ISA1_B4096"))


def _needed(compiled, work: ConvWork) -> ConvWork:
    """The layer without outputs that the pool behind it drops: a step does not compute them."""
    (node,) = [node for node in compiled.graph.nodes if node.layer == work.name and node.op == "conv2d"]
    user = compiled.graph.by_name[(*compiled.graph.users[node.name], node.name)[0]]
    if user.op != "max_pool":
        return work
    attrs, height_width = user.attrs, user.shape[1:3]
    spans = [(n - 1) * s + k - before for n, s, k, before in zip(
        height_width, attrs.stride, attrs.kernel, (attrs.padding.top, attrs.padding.left), strict=True)]
    return dataclasses.replace(work, output=(*map(min, work.output[:2], spans), work.output[2]))


def planned(name: str, core):
    return compile_graph(as_if_quantized(float_network(name, weights="zeros")), core, name)


@pytest.mark.parametrize("core", [PYNQ, B4096], ids=lambda core: core.name)
@pytest.mark.parametrize("name", ["chars74k", "captcha-conv", "vgg16-cifar10", "mobilenet-v2", "squeezenet",
                                  "resnet18"])
def test_array_cycles_are_the_formula_s(name, core):
    """Tiles in whole strips and whole chunks of output channels add nothing to the layer's own cycles."""
    compiled = planned(name, core)
    rows = {row.name: row for row in estimate_compiled(compiled).layers}
    works = [work for work in layer_works(compiled) if isinstance(work, ConvWork) and not work.depthwise]
    assert len(works) > 2
    needed = {work.name: _needed(compiled, work) for work in works}
    for work in works:
        assert rows[work.name].array_cycles == conv_cycles(needed[work.name], core), work.name
    for work in layer_works(compiled):
        if work.name not in needed:
            assert rows[work.name].array_cycles >= compute_cycles(work, core)[1]


@given(st.integers(0, 10**6), st.sampled_from(sorted(named_targets())))
@settings(max_examples=40)
def test_the_estimate_is_the_program_s_clock(seed, target):
    compiled = compile_graph(random_network(seed), find_target(target), "net")
    programs, estimate = programs_of(compiled), estimate_compiled(compiled)
    cycles = sum(program.timeline.total_cycles for program in programs)
    assert estimate.total_ms == pytest.approx(cycles / estimate.clock_mhz / 1e3)
    assert sum(layer.ms for layer in estimate.layers) == pytest.approx(estimate.total_ms)
    assert all(program.timeline.total_cycles <= program.baseline_cycles for program in programs)
    assert estimate.total_ms >= max(ms for engine, ms in floors(programs).items() if engine != "steps")
    moved = sum(layer.bytes for layer in estimate.layers)
    assert moved >= sum(len(program.ddr.parameters) for program in programs)


def test_more_bandwidth_or_a_higher_clock_never_cost_time():
    compiled = planned("squeezenet", ZED)
    base = estimate_compiled(compiled, 90).total_ms
    assert estimate_compiled(compiled, 180).total_ms < base
    slow = dataclasses.replace(ZYNQ_7000, ddr_bytes_per_second=0.3e9)
    starved = estimate_compiled(compiled, 90, slow)
    assert starved.total_ms > base
    assert starved.floors_ms["ddr"] > 3 * estimate_compiled(compiled, 90).floors_ms["ddr"]


def test_boards():
    ultra96, zcu102 = find_target("ultra96"), find_target("zcu102")
    assert [board_timing(core) for core in (ZED, PYNQ, ultra96, zcu102, B4096)] == [
        ZYNQ_7000, ZYNQ_7000, ULTRA96, MPSOC, MPSOC]
    assert estimate_compiled(planned("lenet", ZED)).clock_mhz == 90


def test_report_of_an_estimate():
    result = estimate_compiled(planned("lenet", ZED))
    fields = estimate_json(result, ZED)
    assert (fields["target"], fields["core"], fields["clock_mhz"]) == ("zedboard", "B1152", 90.0)
    assert set(fields["floors_ms"]) == {"array", "alu", "load", "save", "ddr", "steps"}
    assert fields["baseline_ms"] > fields["total_ms"] == pytest.approx(result.total_ms)
    text = predicted_table(fields)
    assert "predicted, not run on hardware: zedboard (B1152) at 90 MHz" in text
    assert "the simple fixed schedule takes" in text
    assert "error +-" in text
