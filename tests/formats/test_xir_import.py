"""Compiled xmodels come back with the same bits; files that lie are refused by operator."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpuflow.compiler.driver import compile_graph
from dpuflow.compiler.xmodel import check_sizes, to_xir
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.errors import DpuError, EngineError, GraphError
from dpuflow.formats.xir import XGraph, XOp, XTensor, XValue, parse_xmodel, read_xmodel, serialize_xmodel
from dpuflow.formats.xir_import import CONVERTERS, import_xir, parameter_arrays
from dpuflow.ir.graph import Graph
from dpuflow.target.select import find_target

from engines.networks import full_range_input, random_network

# The MIN core has no average pool, no depthwise unit and no leaky relu: those layers go to the CPU.
TARGETS = ("zedboard", "DPUCZDX8G_ISA1_B4096", "DPUCZDX8G_ISA0_B512_MIN")


def compiled_bytes(graph: Graph, target: str) -> bytes:
    return serialize_xmodel(to_xir(compile_graph(graph, find_target(target), "net")))


@given(st.integers(0, 10**6), st.sampled_from(TARGETS))
@settings(max_examples=60)
def test_compiled_networks_come_back_with_the_same_bits(seed, target):
    graph = random_network(seed)
    again = import_xir(parse_xmodel(compiled_bytes(graph, target)))
    x = full_range_input(graph, seed)
    shared = [node.name for node in graph.nodes if node.name in again.by_name and node.data is None]
    assert {"x", "logits", "probabilities"} <= set(shared)
    assert again.outputs == graph.outputs
    expected, got = (ReferenceEngine(g).run(x, shared, int8=True) for g in (graph, again))
    for name in shared:
        assert np.array_equal(expected[name], got[name]), name
        assert graph.node(name).fix == again.node(name).fix


def test_the_random_networks_reach_both_devices():
    kernels = [compile_graph(random_network(seed), find_target(target), "net").kernels
               for seed in range(12) for target in TARGETS]
    assert max(len(made) for made in kernels) > 4
    assert min(len(made) for made in kernels) == 2


@pytest.mark.parametrize("target", TARGETS)
def test_equal_networks_give_equal_files(target):
    assert compiled_bytes(random_network(7), target) == compiled_bytes(random_network(7), target)


# -- files that lie -----------------------------------------------------------------------------------------

WHOLE = to_xir(compile_graph(random_network(3), find_target("zedboard"), "net"))


def first(kind: str) -> XOp:
    on_dpu = (op for op in WHOLE.ops if op.type == kind and op.get("device") == "DPU")
    return next(on_dpu, next(op for op in WHOLE.ops if op.type == kind))


def changed(op: XOp, **changes: object) -> XGraph:
    ops = tuple(dataclasses.replace(op, **changes) if each is op else each for each in WHOLE.ops)
    return dataclasses.replace(WHOLE, ops=ops)


def with_attr(kind: str, key: str, value: XValue) -> XGraph:
    op = first(kind)
    return changed(op, attrs={**op.attrs, key: value})


def with_tensor(kind: str, **changes: object) -> XGraph:
    op = first(kind)
    return changed(op, tensor=dataclasses.replace(op.tensor, **changes))


def with_tensor_attr(kind: str, key: str, value: XValue | None) -> XGraph:
    attrs = {name: old for name, old in first(kind).tensor.attrs.items() if name != key}
    return with_tensor(kind, attrs=attrs if value is None else {**attrs, key: value})


def with_subgraph(key: str, value: XValue) -> XGraph:
    children = tuple(dataclasses.replace(child, attrs={**child.attrs, key: value}) if child.get("device") == "DPU"
                     else child for child in WHOLE.root.children)
    return dataclasses.replace(WHOLE, root=dataclasses.replace(WHOLE.root, children=children))


I32, I32V, TEXT = (lambda v: XValue("int32", v)), (lambda v: XValue("int32_vec", v)), (lambda v: XValue("string", v))
CASES = [
    (with_tensor_attr("const-fix", "ddr_addr", I32(10**6)), "outside its parameter register"),
    (with_tensor_attr("const-fix", "ddr_addr", I32(-1)), "outside its parameter register"),
    (with_tensor_attr("const-fix", "ddr_addr", TEXT("0")), "outside its parameter register"),
    (with_tensor_attr("const-fix", "reg_id", I32(9)), "outside its parameter register"),
    (with_tensor_attr("const-fix", "ddr_addr", None), "without data and without an address"),
    (with_attr("const-fix", "data", XValue("bytes", b"abc")), "do not fit its shape"),
    (with_attr("const-fix", "data", I32(10**9)), "data are no bytes"),
    (with_tensor("const-fix", dims=(2**31, 2**31, 2**31)), "outside its parameter register"),
    (with_tensor("const-fix", dims=(2**32 - 1, 2**32 - 1, 2, 2**31)), "outside its parameter register"),
    (with_tensor("const-fix", bits=4), "unsupported type"),
    (with_tensor_attr("conv2d-fix", "fix_point", None), "without fix_point"),
    (with_tensor_attr("conv2d-fix", "fix_point", I32(1000)), "impossible position"),
    (with_tensor_attr("conv2d-fix", "fix_point", TEXT("4")), "impossible position"),
    (with_tensor_attr("conv2d-fix", "if_signed", XValue("bool", False)), "unsigned"),
    (with_tensor("data-fix", data_type="XUINT"), "unsigned"),
    (with_tensor("conv2d-fix", dims=(1, 99, 99, 1)), "recorded output shape"),
    (with_tensor("data-fix", dims=(1, 0, 7, 3)), "without a static shape"), (with_tensor("data-fix", dims=()), "shape"),
    (with_tensor("upload", dims=(1, 1, 1, 1)), "a copy changes its tensor"),
    (with_tensor_attr("download", "fix_point", I32(40)), "a copy changes its tensor"),
    (with_attr("fix2float", "fix_point", I32(40)), "a copy changes its tensor"),
    (with_attr("conv2d-fix", "kernel", I32V((9, 9))), "kernel and weights differ"),
    (with_attr("conv2d-fix", "kernel", XValue("float_vec", (1.5, 1.5))), "malformed attribute 'kernel'"),
    (with_attr("conv2d-fix", "stride", I32V((0, 1))), "malformed attribute 'stride'"),
    (with_attr("conv2d-fix", "stride", I32(1)), "malformed attribute 'stride'"),
    (with_attr("conv2d-fix", "pad", I32V((-1, 0, 0, 0))), "impossible padding"),
    (with_attr("conv2d-fix", "pad", I32V((0, 0, 2**30, 0))), "impossible padding"),
    (with_attr("conv2d-fix", "pad", I32V((1,))), "malformed operator"),
    (with_attr("conv2d-fix", "pad_mode", TEXT("SIDEWAYS")), "unsupported pad_mode"),
    (with_attr("conv2d-fix", "nonlinear", TEXT("GELU")), "unsupported nonlinearity"),
    (with_attr("conv2d-fix", "nonlinear", XValue("map_string_2_int32", {})), "malformed operator"),
    (with_attr("conv2d-fix", "group", I32(0)), "input channels and weights"),
    (with_attr("softmax", "axis", I32(7)), "impossible axis"),
    (with_subgraph("reg_id_to_parameter_value", TEXT("none")), "impossible type"),
    (with_subgraph("reg_id_to_parameter_value", XValue("map_string_2_bytes", {"REG_0": b"short"})), "outside"),
    (changed(first("conv2d-fix"), type="hard-softmax"), "unsupported operator type 'hard-softmax'"),
    (changed(first("conv2d-fix"), args={}), "operand 'input' is missing"),
    (changed(first("conv2d-fix"), args={"input": ("x",)}), "operand 'weights' is missing"),
    (changed(first("conv2d-fix"), args={"input": ("x",), "weights": ("x",)}), "not a 4-D constant"),
]


@pytest.mark.parametrize(("graph", "message"), CASES, ids=[message for _, message in CASES])
def test_files_that_lie(graph, message):
    with pytest.raises(GraphError, match=message) as caught:
        import_xir(parse_xmodel(serialize_xmodel(graph)))
    assert re.search("(operator|subgraph|node) '", str(caught.value))


ODD = [I32(-1), I32(0), I32(2**31 - 1), TEXT(""), TEXT("AVG"), TEXT("SAME"), TEXT("CEIL"), I32V(()), I32V((1, 1)),
       I32V((0, 0)), I32V((-1, 3, 0, 0)), XValue("bool", True), XValue("bytes", b""), XValue("bytes", b"\x01" * 9),
       XValue("float_vec", (1.0, 2.0)), XValue("map_string_2_bytes", {"REG_0": b""}), XValue("none", None)]


@pytest.mark.filterwarnings("ignore:.*made by release 1.x")
@given(st.data())
@settings(max_examples=250)
def test_odd_graphs_load_and_run_or_are_typed_errors(data):
    ops = list(WHOLE.ops)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(ops) - 1))
        op, odd = ops[at], data.draw(st.sampled_from(ODD))
        what = data.draw(st.sampled_from(["type", "attr", "tensor", "dims", "args"]))
        if what == "type":
            op = dataclasses.replace(op, type=data.draw(st.sampled_from(sorted(CONVERTERS))))
        elif what == "attr":
            op = dataclasses.replace(op, attrs={**op.attrs, data.draw(st.sampled_from(sorted(op.attrs))): odd})
        elif what == "tensor" and op.tensor.attrs:
            key = data.draw(st.sampled_from(sorted(op.tensor.attrs)))
            op = dataclasses.replace(op, tensor=dataclasses.replace(op.tensor, attrs={**op.tensor.attrs, key: odd}))
        elif what == "args":
            names = data.draw(st.lists(st.sampled_from([before.name for before in ops[:at]] or [""]), max_size=3))
            op = dataclasses.replace(op, args={"input": tuple(filter(None, names))})
        else:
            dims = tuple(data.draw(st.lists(st.sampled_from([0, 1, 2, 7, 2**31]), max_size=4)))
            op = dataclasses.replace(op, tensor=dataclasses.replace(op.tensor, dims=dims))
        ops[at] = op
    try:
        graph = import_xir(parse_xmodel(serialize_xmodel(dataclasses.replace(WHOLE, ops=tuple(ops)))))
        ReferenceEngine(graph).run({node.name: np.zeros(node.shape, np.float32) for node in graph.inputs})
    except DpuError:
        return
    assert graph.nodes


# -- forms that this compiler does not write ------------------------------------------------------------------

def fixed(name: str, dims: tuple[int, ...], pos: int = 4) -> XTensor:
    return XTensor(f"{name}/t", dims, "XINT", 8, {"fix_point": I32(pos)})


def window_graph(kind: str, size: tuple[int, int], dims: tuple[int, ...], **attrs: XValue) -> XGraph:
    x = XOp("x", "data-fix", {}, {}, fixed("x", (1, *size, 1)))
    return XGraph("g", (x, XOp("y", kind, {"input": ("x",)}, attrs, fixed("y", dims))))


@pytest.mark.parametrize(("mode", "size", "dims"), [
    ("VALID", (5, 4), (1, 2, 1, 1)), ("FLOOR", (5, 4), (1, 2, 1, 1)), ("CEIL", (5, 4), (1, 3, 2, 1)),
    ("SAME", (5, 4), (1, 3, 2, 1)),
])
def test_pad_modes(mode, size, dims):
    """Kernel {W, H} = {3, 2}, stride 2: two lists in the file's order against one in ours."""
    graph = import_xir(window_graph("pool-fix", size, dims, type=TEXT("MAX"), kernel=I32V((3, 2)), stride=I32V((2, 2)),
                                    pad_mode=TEXT(mode)))
    assert (graph.node("y").attrs.kernel, graph.node("y").shape) == ((2, 3), dims)


def test_pads_are_left_right_top_bottom():
    graph = import_xir(window_graph("pool-fix", (4, 4), (1, 4, 6, 1), type=TEXT("MAX"), kernel=I32V((2, 4)),
                                    stride=I32V((1, 1)), pad=I32V((1, 2, 3, 0))))
    assert tuple(graph.node("y").attrs.padding) == (3, 0, 1, 2)


def test_constants_may_carry_their_own_data():
    bias = XOp("b", "const-fix", {}, {"data": XValue("bytes", bytes([1, 255]))}, fixed("b", (2,)))
    assert parameter_arrays(XGraph("g", (bias,)))["b"].tolist() == [1, -1]
    floats = XOp("f", "const", {}, {"data": XValue("bytes", np.array([0.5], "<f4").tobytes())},
                 XTensor("f", (1,), "FLOAT", 32))
    assert parameter_arrays(XGraph("g", (floats,)))["f"].tolist() == [0.5]


def test_constants_come_in_this_library_s_order_under_their_own_names():
    graph = import_xir(WHOLE)
    conv = graph.node(first("conv2d-fix").name)
    assert conv.inputs[1] == first("conv2d-fix").args["weights"][0]
    raw = parameter_arrays(WHOLE)[conv.inputs[1]]
    assert np.array_equal(graph.node(conv.inputs[1]).data.transpose(3, 0, 1, 2), raw)


def test_a_constant_with_two_orders_stands_twice():
    """Weights that something else reads too stay as they are; our own name gives way to one of the file's."""
    weights = first("conv2d-fix").args["weights"][0]
    source = next(op for op in WHOLE.ops if op.name == weights)
    at = WHOLE.ops.index(source) + 1
    reader = XOp(f"{weights}/1230", "identity", {"input": (weights,)}, {}, dataclasses.replace(
        source.tensor, name="other"))
    graph = import_xir(dataclasses.replace(WHOLE, ops=(*WHOLE.ops[:at], reader, *WHOLE.ops[at:])))
    assert graph.node(f"{weights}/1230").op == "identity"
    assert graph.node(first("conv2d-fix").name).inputs[1] == f"{weights}/1230_"


# -- the vendor's own file ------------------------------------------------------------------------------------

needs_vendor = pytest.mark.skipif("DPUFLOW_VENDOR" not in os.environ, reason="DPUFLOW_VENDOR is not set")


@needs_vendor
class TestVendorFile:
    """Xmodel specification, section 6: a network compiled by release 2.5 with a custom operator inside."""

    graph = read_xmodel(Path(os.environ["DPUFLOW_VENDOR"]) / "tf2_custom_op.xmodel") if (
        "DPUFLOW_VENDOR" in os.environ) else XGraph("none", ())

    def test_structure(self):
        assert len(self.graph.ops) == 26
        parts = self.graph.dpu_subgraphs
        assert len(parts) == 2
        assert {part.get("dpu_name") for part in parts} == {"DPUCZDX8G_ISA1_B4096"}
        assert {part.get("dpu_fingerprint") for part in parts} == {0x0101000016010407}
        assert find_target("0x0101000016010407").name == "DPUCZDX8G_ISA1_B4096"

    def test_parameters(self):
        arrays = {name: array for name, array in parameter_arrays(self.graph).items() if array.dtype == np.int8}
        assert [len(part.get("reg_id_to_parameter_value")["REG_0"]) for part in self.graph.dpu_subgraphs] == [
            103072, 2570]
        assert sum(array.size for array in arrays.values()) == check_sizes(self.graph) == 103072 + 2570
        assert len(arrays) == 8
        assert arrays["quant_conv2d_1_weights_new"].shape == (32, 7, 7, 32)

    def test_the_custom_operator_is_named(self):
        graph = import_xir(self.graph)
        with pytest.raises(EngineError, match="code of the custom operator 'Mylayer'.*--custom-op Mylayer="):
            ReferenceEngine(graph).run(np.zeros((1, 28, 28, 1), np.int8))

    def test_the_custom_operator_is_a_function_of_the_user_s(self):
        def prelu(operands, attrs):
            x, alpha = operands
            assert attrs["trainable"] is True
            return np.where(x < 0, alpha * x, x)

        graph = import_xir(self.graph, {"Mylayer": prelu})
        x = np.random.default_rng(0).integers(-128, 128, (2, 28, 28, 1)).astype(np.int8)
        names = ["quant_max_pooling2d_1", "quant_custom_layer", *graph.outputs]
        values = ReferenceEngine(graph).run(x, names, int8=True)
        before, after = values["quant_max_pooling2d_1"], values["quant_custom_layer"]
        assert np.array_equal(after[before >= 0], before[before >= 0])
        assert values[graph.outputs[0]].shape == (2, 10)

    def test_the_part_before_it_is_a_network(self):
        custom = next(at for at, op in enumerate(self.graph.ops) if op.type not in CONVERTERS)
        graph = import_xir(dataclasses.replace(self.graph, ops=self.graph.ops[:custom]))
        name = "quant_max_pooling2d_1"
        value = ReferenceEngine(graph).run(np.zeros((1, 28, 28, 1), np.int8), [name], int8=True)[name]
        assert (value.shape, value.dtype, graph.node(name).fix.pos) == ((1, 2, 2, 64), np.int8, 3)
