"""The page of a prediction: its intervals, lifetimes and what it says."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from dpuflow.compiler.driver import compile_graph, estimate_compiled, layer_works
from dpuflow.planning.lifetimes import lifetimes
from dpuflow.compiler.memory import INPUTS, OUTPUTS, WORKSPACE
from dpuflow.passes.as_if_quantized import as_if_quantized
from dpuflow.report.performance import render_performance
from dpuflow.target.engine_times import engine_intervals
from dpuflow.target.report import estimate_json
from dpuflow.target.select import find_target
from dpuflow.zoo import float_network

ZED, PYNQ = find_target("zedboard"), find_target("pynq-z2")


def compiled(name: str, core=PYNQ):
    return compile_graph(as_if_quantized(float_network(name, weights="zeros")), core, name)


@pytest.mark.parametrize("name", ["chars74k", "mobilenet-v2", "vgg16"])
def test_intervals_fill_the_predicted_time(name):
    network = compiled(name)
    works = layer_works(network)
    intervals, predicted = engine_intervals(works, PYNQ, 90.0), estimate_compiled(network, 90.0)
    total = sum(layer.ms for layer in predicted.layers) * 90e3
    assert max(interval.end_cycles for interval in intervals) == pytest.approx(total)
    for engine in {interval.engine for interval in intervals}:
        own = [interval for interval in intervals if interval.engine == engine]
        assert all(0 <= one.start_cycles <= one.end_cycles + 1e-6 for one in own)
        assert all(a.end_cycles <= b.start_cycles + 1e-6 for a, b in pairwise(own)), engine


def test_lifetimes_end_with_the_last_reader():
    network = compiled("squeezenet")
    (kernel,) = [kernel for kernel in network.dpu_kernels if "conv1/Relu" in kernel.nodes]
    lives = {life.tensor: life for life in lifetimes(network, kernel)}
    order = {name: index for index, name in enumerate(kernel.nodes)}
    squeeze = lives["fire2/squeeze/Relu"]
    assert (squeeze.first, squeeze.last) == (order["fire2/squeeze/Relu"], order["fire2/expand3x3/Relu"])
    assert (squeeze.register, squeeze.size_bytes) == (WORKSPACE, 56 * 56 * 16)
    assert lives["input"].register == INPUTS
    assert all(life.last == len(kernel.nodes) - 1 for life in lives.values() if life.register == OUTPUTS)


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
