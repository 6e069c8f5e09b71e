"""The page of a prediction: its intervals, lifetimes and what it says."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import combinations, pairwise

import pytest

from dpuflow.compiler.driver import compile_graph
from dpuflow.compiler.memory import INPUTS, OUTPUTS, WORKSPACE
from dpuflow.passes.as_if_quantized import as_if_quantized
from dpuflow.planning.estimate import estimate_compiled, programs_of
from dpuflow.planning.lifetimes import lifetimes
from dpuflow.planning.timeline import engine_intervals
from dpuflow.report.performance import render_performance
from dpuflow.target.report import estimate_json
from dpuflow.target.select import find_target
from dpuflow.zoo import float_network

ZED, PYNQ = find_target("zedboard"), find_target("pynq-z2")


def compiled(name: str, core=PYNQ):
    return compile_graph(as_if_quantized(float_network(name, weights="zeros")), core, name)


@pytest.mark.parametrize("name", ["chars74k", "mobilenet-v2", "vgg16"])
def test_intervals_fill_the_predicted_time(name):
    network = compiled(name)
    intervals, predicted = engine_intervals(programs_of(network, 90.0)), estimate_compiled(network, 90.0)
    total = sum(layer.ms for layer in predicted.layers) * 90e3
    assert total == pytest.approx(predicted.total_ms * 90e3)
    assert max(interval.end_cycles for interval in intervals) == pytest.approx(total)
    for engine in {interval.engine for interval in intervals}:
        own = [interval for interval in intervals if interval.engine == engine]
        assert all(0 <= one.start_cycles <= one.end_cycles + 1e-6 for one in own)
        assert all(a.end_cycles <= b.start_cycles + 1e-6 for a, b in pairwise(own)), engine


def test_maps_share_memory_only_when_not_both_are_needed():
    (program,) = programs_of(compiled("mobilenet-v2"), 90.0)
    lives = lifetimes(program)
    assert {life.register for life in lives} == {WORKSPACE, INPUTS, OUTPUTS}
    end = len(program.choices) - 1
    assert all(life.last == end for life in lives if life.register == OUTPUTS)
    assert all(life.first == 0 for life in lives if life.register == INPUTS)
    arena = [life for life in lives if life.register == WORKSPACE]
    for a, b in combinations(arena, 2):
        together = a.first <= b.last and b.first <= a.last
        assert not together or a.offset + a.size_bytes <= b.offset or b.offset + b.size_bytes <= a.offset
    assert sum(life.size_bytes for life in arena) > program.ddr.sizes_bytes[WORKSPACE], "nothing is shared"


def page(name: str, core, questions=()) -> str:
    network = compiled(name, core)
    return render_performance(network, estimate_json(estimate_compiled(network), core), questions)


def test_the_page_stands_alone_and_says_what_it_is():
    rows = [{"what": "a <question>", "target": "t", "clock_mhz": 90.0, "total_ms": 1.0, "fps": 2.0, "speedup": 3.0,
             "macs": 4, "parameter_bytes": 5}]
    text = page("mobilenet-v1", ZED, rows)
    assert not re.search(r'(?:src|href)="(?!#|data:)', text)
    assert "times predicted, not run on hardware" in text
    assert "14 layers on the CPU: times assumed" in text
    assert "a &lt;question&gt;" in text
    assert text.count("<figure>") == 2 + 3
    assert "11 more kernels are not drawn" in text
    for drawing in re.findall(r"<svg.*?</svg>", text, re.S):
        ET.fromstring(drawing.replace("xlink:href", "href"))
    assert 'aria-label="Timeline of' in text
    assert page("mobilenet-v1", ZED, rows) == text


def test_a_network_that_is_all_on_the_dpu_has_no_table_of_others():
    text = page("captcha-conv", PYNQ)
    assert "0 tensors cross between the devices" in text
    assert "on the CPU</th>" not in text
    assert "What if</a>" not in text
