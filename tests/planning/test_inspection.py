"""The inspector and the compiler are one rule set; every reason has its number, every cost its assumption."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpuflow.compiler.driver import compile_graph
from dpuflow.compiler.xmodel import to_xir
from dpuflow.errors import CompileError
from dpuflow.passes.as_if_quantized import as_if_quantized
from dpuflow.planning.advice import ADVICE, array_use, cores_that_fit, hint, remedy
from dpuflow.planning.estimate import estimate_compiled
from dpuflow.planning.inspection import inspect_graph
from dpuflow.planning.inspection_text import inspection_json, inspection_text
from dpuflow.target.host import MPSOC_HOST, ZYNQ_7000_HOST, cpu_ms, crossing_ms
from dpuflow.target.limits import REMEDIES
from dpuflow.target.table import named_targets
from dpuflow.target.work import ConvWork, EltwiseWork, PoolWork
from dpuflow.zoo import float_network

from engines.networks import random_network

TARGETS = named_targets()
ZED, PYNQ, ISA1 = TARGETS["zedboard"], TARGETS["pynq-z2"], TARGETS["DPUCZDX8G_ISA1_B4096"]


@given(st.integers(0, 10**6), st.sampled_from(sorted(TARGETS)))
@settings(max_examples=60)
def test_what_inspect_accepts_compile_compiles(seed, target):
    graph, core = random_network(seed, 6), TARGETS[target]
    inspection = inspect_graph(graph, core)
    if all(layer.device == "CPU" for layer in inspection.layers):
        with pytest.raises(CompileError):
            compile_graph(graph, core, "net")
        return
    compiled = compile_graph(graph, core, "net")
    by_compiler = [(node.layer, kernel.device) for kernel in compiled.kernels for node in compiled.nodes(kernel)
                   if node.op != "reshape" or compiled.graph.by_name[node.inputs[0]].layer != node.layer]
    assert by_compiler == [(layer.name, layer.device) for layer in inspection.layers]
    assert {child.get("device") for child in to_xir(compiled).root.children} >= {"DPU"}
    for layer in inspection.layers:
        assert bool(layer.reason) == (layer.device == "CPU")
        assert set(layer.limits) <= set(REMEDIES)
        assert bool(layer.remedy) or not layer.limits
    predicted = estimate_compiled(compiled, inspection.clock_mhz)
    on_dpu = sum(layer.ms for layer in inspection.layers if layer.device == "DPU")
    assert on_dpu == pytest.approx(predicted.total_ms) == pytest.approx(inspection.dpu_ms)


def planned(name: str):
    return as_if_quantized(float_network(name, weights="zeros"))


def test_depthwise_layers_without_the_unit_and_what_they_cost():
    graph = planned("mobilenet-v1")
    without, with_unit = inspect_graph(graph, ZED), inspect_graph(graph, PYNQ)
    depthwise = [layer for layer in without.layers if layer.op == "depthwise_conv2d"]
    assert len(depthwise) == 13
    for layer in depthwise:
        assert (layer.device, layer.limits) == ("CPU", ("limit_depthwise",))
        assert "plain convolution" in layer.remedy
        assert "B1152 with depthwise enabled" in layer.remedy
        assert layer.ms > 0
    assert len(without.crossings) == 2 * 13 + 1
    assert [layer.name for layer in with_unit.layers if layer.device == "CPU"] == ["softmax"]
    total = inspection_json(without)["total"]
    assert total["total_ms"] == pytest.approx(total["dpu_ms"] + total["cpu_ms"] + total["crossing_ms"])
    assert total["total_ms"] > 3 * inspection_json(with_unit)["total"]["total_ms"]
    first = without.crossings[0]
    assert (first.source, first.target, first.size_bytes) == ("DPU", "CPU", 112 * 112 * 32)
    assert first.ms == pytest.approx(112 * 112 * 32 / 300e6 * 1e3)


def test_the_large_dense_layers_of_vgg_on_a_small_core():
    layers = {layer.name: layer for layer in inspect_graph(planned("vgg16"), ZED).layers}
    assert layers["fc6/MatMul"].device == "CPU"
    assert "2107 rows, allowed 2048" in layers["fc6/MatMul"].reason
    assert "492 input channels" in layers["fc6/MatMul"].remedy
    assert layers["fc7/MatMul"].device == layers["fc8/MatMul"].device == "DPU"
    assert "split over output channels" in layers["fc7/MatMul"].rewritten
    assert "columns" in layers["fc8/MatMul"].rewritten
    assert all(layer.device == "DPU" for layer in inspect_graph(planned("vgg16"), ISA1).layers[:-1])


def test_text_and_json_say_the_same():
    inspection = inspect_graph(planned("squeezenet"), ZED)
    fields, text = inspection_json(inspection), inspection_text(inspection)
    assert json.loads(json.dumps(fields))["layers"] == fields["layers"]
    assert f"{fields['total']['dpu_layers']} of {fields['total']['layers']} layers on the DPU of zedboard" in text
    assert "assumed, not measured: Cortex-A9" in text
    assert "predicted, not run on hardware" in text
    assert text.count("\nCPU  ") == fields["total"]["cpu_layers"]
    assert fields["crossings"] == [{"tensor": "conv10/Conv2D", "from": "DPU", "to": "CPU", "bytes": 169000,
                                    "ms": pytest.approx(0.5633, abs=1e-3)}]


def conv(**changes) -> ConvWork:
    return ConvWork(**{"name": "c", "input": (28, 28, 24), "output": (28, 28, 24), "kernel": (3, 3),
                       "pads": (1, 1, 1, 1), "shift_cut": 5, **changes})


@pytest.mark.parametrize(("limit", "work", "core", "said"), [
    ("limit_depthwise", conv(depthwise=True), ZED,
     r"plain convolution .* in 0\.08 ms .* with 5 kB of weights; a B1152 with depthwise enabled \(\S+\): 0\.0"),
    ("limit_groups", conv(groups=2), ZED, r"plain convolution with zero weights.*; 2 convolutions side by side: 0\.0"),
    ("limit_conv_kernel", conv(kernel=(20, 3)), ZED, r"a 16 x 3 kernel and a 5 x 1 kernel one behind the other"),
    ("limit_weight_depth", conv(kernel=(7, 7), input=(7, 7, 512)), ZED, r"at most 492 input channels with a 7 x 7"),
    ("limit_dilation", conv(dilation=(4, 4), input=(28, 28, 800)), ZED, r"at most 768 input channels with dilation 4"),
    ("limit_pool_kernel", PoolWork("p", (14, 14, 8), (1, 1, 8), (14, 14), kind="avg"), ZED,
     r"a 7 x 7 pool of the same stride and a 2 x 2 pool behind it"),
    ("limit_pool_kernel", PoolWork("p", (13, 13, 8), (1, 1, 8), (13, 13), kind="avg"), ZED, "it fits DPUCZDX8G_ISA1"),
    ("limit_conv_nonlinear", conv(nonlinear="leaky_relu"), ZED, "use relu or relu6.*; it fits pynq-z2"),
    ("limit_eltwise_kind", EltwiseWork("e", (8, 8, 4), (8, 8, 4), "mul"), ZED, "it fits DPUCZDX8G_ISA1_B1152"),
    ("limit_shift_cut", conv(shift_cut=17), ZED, "--adjust_shift_cut 1"),
])
def test_advice_has_numbers(limit, work, core, said):
    import re

    assert re.search(said, remedy(limit, work, core, 90.0)), remedy(limit, work, core, 90.0)


def test_advice_is_for_limits_that_exist():
    assert set(ADVICE) <= set(REMEDIES)


def test_cores_that_fit_name_those_of_the_same_size_first():
    assert cores_that_fit(conv(nonlinear="leaky_relu"), ZED).split(", ")[0] == "pynq-z2"
    assert cores_that_fit(conv(kernel=(17, 1)), ZED) == ""


def test_hints_for_layers_that_use_little_of_the_array():
    poor = conv(output=(28, 28, 13))
    assert array_use(poor, ZED) == pytest.approx(13 / 24)
    assert hint(poor, ZED) == ""
    assert hint(conv(output=(28, 28, 2)), ZED).startswith("17 % of the array in use: 2 output channels on 12 lanes")
    assert "5 rows of the map on 4 lanes" not in hint(conv(output=(5, 28, 24)), ZED)
    assert hint(conv(output=(1, 1, 24), input=(1, 1, 24), kernel=(1, 1)), ZED) == "", "a dense layer"


def test_assumptions_of_the_host():
    assert cpu_ms(400_000, 0, ZYNQ_7000_HOST) == pytest.approx(1.0)
    assert cpu_ms(0, 60_000, ZYNQ_7000_HOST) == pytest.approx(1.0)
    assert crossing_ms(1_000_000, MPSOC_HOST) == pytest.approx(1.0)
