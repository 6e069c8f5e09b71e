"""Kernels: every layer in exactly one, in an order that can run, with the tensors that cross their borders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpuflow.compiler.compiled import Compiled
from dpuflow.compiler.driver import compile_graph
from dpuflow.compiler.partition import MOVED, assign
from dpuflow.compiler.placement import place, place_all
from dpuflow.compiler.work import node_work
from dpuflow.compiler.xmodel import to_xir
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.errors import CompileError
from dpuflow.formats.xir import XGraph, parse_xmodel, serialize_xmodel
from dpuflow.formats.xir_import import import_xir
from dpuflow.ir.graph import Fix, Graph, Node, const
from dpuflow.ir.verify import infer_shapes, verify
from dpuflow.model import FLOAT_GRAPH, Model
from dpuflow.ops.activation import LeakyAttrs
from dpuflow.ops.base import Padding
from dpuflow.ops.conv import ConvAttrs, DenseAttrs
from dpuflow.ops.elementwise import EltwiseAttrs
from dpuflow.ops.movement import ConcatAttrs, PadAttrs, ReshapeAttrs
from dpuflow.ops.pool import PoolAttrs
from dpuflow.planning.estimate import estimate_network
from dpuflow.program.fusion import absorptions
from dpuflow.target.select import find_target
from dpuflow.target.work import ConvWork, EltwiseWork, MoveWork, PoolWork

from engines.networks import random_network

ZED, MIN, ISA1 = (find_target(name) for name in ("zedboard", "DPUCZDX8G_ISA0_B512_MIN", "DPUCZDX8G_ISA1_B4096"))
CORES = st.sampled_from([ZED, MIN, ISA1])


def check_kernels(compiled: Compiled) -> None:
    graph, seen = compiled.graph, {node.name for node in compiled.graph.nodes if node.op in ("input", "const")}
    computed = [node.name for node in graph.nodes if node.name not in seen]
    given_out = {node.name for node in graph.inputs}
    assert sorted(name for kernel in compiled.kernels for name in kernel.nodes) == sorted(computed)
    assert [kernel.id for kernel in compiled.kernels] == list(range(len(compiled.kernels)))
    assert len({kernel.name for kernel in compiled.kernels}) == len(compiled.kernels)
    for before, after in zip(compiled.kernels, compiled.kernels[1:], strict=False):
        assert before.device != after.device
    for kernel in compiled.kernels:
        placed = [place(graph, graph.by_name[name], compiled.core) for name in kernel.nodes]
        # What only moves bytes may run on either device.
        assert {p.device for p in placed if not isinstance(p.work, MoveWork)} <= {kernel.device}
        assert not kernel.is_dpu or {p.device for p in placed} == {"DPU"}
        assert set(kernel.inputs) <= given_out, "a kernel reads what no kernel before it gives"
        inside = set(kernel.nodes)
        for name in kernel.nodes:
            assert set(graph.by_name[name].inputs) <= seen | set(kernel.inputs)
            seen.add(name)
        read = {name for node in kernel.nodes for name in graph.by_name[node].inputs}
        assert set(kernel.inputs) == {name for name in read - inside if graph.by_name[name].data is None}
        outside = {name for node in graph.nodes if node.name not in inside for name in node.inputs}
        assert set(kernel.outputs) == inside & (outside | set(graph.outputs))
        given_out |= set(kernel.outputs)
    assert set(graph.outputs) <= given_out


@given(st.integers(0, 10**6), CORES)
@settings(max_examples=60)
def test_kernels_of_random_networks(seed, core):
    compiled = compile_graph(random_network(seed, 6), core, "net")
    check_kernels(compiled)
    assert set(compiled.reasons) == {name for kernel in compiled.kernels if not kernel.is_dpu for name in kernel.nodes}
    assert all(compiled.reasons.values())


FIX = Fix(4)


class Builder:
    """Nodes by one-line calls; every tensor at position 4."""

    def __init__(self, size: tuple[int, ...] = (8, 8, 4), inputs: tuple[str, ...] = ("x",)) -> None:
        self.nodes = [Node(name, "input", shape=(1, *size), fix=Fix(4)) for name in inputs]
        self.rng = np.random.default_rng(1)

    def const(self, name: str, shape: tuple[int, ...], bits: int = 8) -> str:
        return self.add(const(name, self.rng.integers(-20, 20, shape).astype(np.int8), Fix(4, bits)))

    def add(self, node: Node) -> str:
        self.nodes.append(node)
        return node.name

    def op(self, name: str, op: str, *operands: str, attrs: object = None, fix: Fix | None = FIX) -> str:
        node = Node(name, op, operands, fix=fix)
        return self.add(node if attrs is None else node.replace(attrs=attrs))

    def conv(self, name: str, x: str, weights: str = "", channels: tuple[int, int] = (4, 4), **attrs: object) -> str:
        return self.op(name, "conv2d", x, weights or self.const(f"{name}/w", (1, 1, *channels)),
                       attrs=ConvAttrs(**attrs))

    def graph(self, *outputs: str) -> Graph:
        return verify(infer_shapes(Graph("built", tuple(self.nodes), outputs)))


def kernels_of(compiled: Compiled) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(kernel.device, kernel.name, kernel.nodes) for kernel in compiled.kernels]


def test_one_dpu_kernel_has_the_network_s_name_and_cpu_kernels_take_ids():
    build = Builder()
    y = build.conv("a", "x")
    z = build.op("s", "softmax", y, fix=None)
    compiled = compile_graph(build.graph(z), ZED, "net")
    assert kernels_of(compiled) == [("DPU", "net", ("a",)), ("CPU", "net_1", ("s",))]


def split_network() -> Graph:
    """DPU, CPU (leaky relu on a ZedBoard), DPU with a residual around the CPU layer, CPU."""
    build = Builder()
    a = build.conv("a", "x")
    b = build.conv("b", a, nonlinear="leaky_relu")
    c = build.conv("c", b)
    d = build.op("d", "add", a, c, attrs=EltwiseAttrs())
    s = build.op("s", "softmax", d, fix=None)
    return build.graph(s, a)


def test_several_dpu_kernels_and_a_residual_across_them():
    compiled = compile_graph(split_network(), ZED, "net")
    check_kernels(compiled)
    assert kernels_of(compiled) == [("DPU", "net_0", ("a",)), ("CPU", "net_1", ("b",)), ("DPU", "net_2", ("c", "d")),
                                    ("CPU", "net_3", ("s",))]
    assert [kernel.inputs for kernel in compiled.kernels] == [("x",), ("a",), ("b", "a"), ("d",)]
    assert [kernel.outputs for kernel in compiled.kernels] == [("a",), ("b",), ("d",), ("s",)]
    assert compiled.reasons["b"] == ("The nonlinearity of a convolution must be one that the core has "
                                     "(leaky_relu, the core has relu, relu6)")
    assert compiled.reasons["s"] == "it computes in float"


def test_branches_that_need_no_cpu_share_a_kernel():
    build = Builder()
    left, right = build.conv("l", "x"), build.conv("r", "x")
    other = build.op("o", "hard_sigmoid", "x", fix=Fix(7))  # runs on the CPU
    late = build.conv("late", other)
    y = build.op("y", "concat", left, right, late, attrs=ConcatAttrs(3))
    compiled = compile_graph(build.graph(y), ZED, "net")
    check_kernels(compiled)
    assert kernels_of(compiled) == [("CPU", "net_0", ("o",)), ("DPU", "net", ("l", "r", "late", "y"))]


def test_what_only_moves_bytes_goes_where_fewer_tensors_cross():
    """DPU conv, CPU, reshape and concat, CPU: the moves stay on the CPU; behind a DPU layer on the DPU."""
    build = Builder()
    a = build.conv("a", "x")
    b, c = (build.op(name, "hard_sigmoid", a, fix=Fix(7)) for name in "bc")
    moved = build.op("moved", "reshape", b, attrs=ReshapeAttrs((4, 16, 4)), fix=Fix(7))
    back = build.op("back", "reshape", moved, attrs=ReshapeAttrs((8, 8, 4)), fix=Fix(7))
    joined = build.op("joined", "concat", back, c, attrs=ConcatAttrs(3), fix=Fix(7))
    last = build.op("last", "hard_sigmoid", joined, fix=Fix(7))
    flat = build.op("flat", "reshape", build.conv("d", a), attrs=ReshapeAttrs((256,)))
    soft = build.op("soft", "softmax", flat, fix=None)
    compiled = compile_graph(build.graph(last, soft), ZED, "net")
    check_kernels(compiled)
    assert kernels_of(compiled) == [("DPU", "net", ("a", "d", "flat")),
                                    ("CPU", "net_1", ("b", "c", "moved", "back", "joined", "last", "soft"))]
    assert {compiled.reasons[name] for name in ("moved", "back", "joined")} == {MOVED}


def test_one_concat_of_dpu_and_cpu_tensors_is_placed_by_count():
    build = Builder()
    convs = [build.conv(name, "x") for name in "abc"]
    others = [build.op(name, "hard_sigmoid", "x", fix=Fix(4)) for name in "de"]
    for name, parts, device in (("two_dpu", convs[:2] + others[:1], "DPU"), ("two_cpu", convs[:1] + others, "CPU")):
        joined = build.op(name, "concat", *parts, attrs=ConcatAttrs(3))
        graph = build.graph(joined, *(name for name in "abcde" if name not in parts))
        last = {p.node.name: p.device for p in assign(graph, ZED)}
        assert last[name] == device
        build.nodes.pop()


def test_an_input_straight_to_the_cpu():
    build = Builder()
    y = build.conv("y", build.op("p", "pad", "x", attrs=PadAttrs(((0, 0), (1, 0), (0, 1), (0, 0)))))
    compiled = compile_graph(build.graph(y), ZED, "net")
    assert kernels_of(compiled) == [("CPU", "net_0", ("p",)), ("DPU", "net", ("y",))]
    check_kernels(compiled)


def test_nothing_for_the_dpu():
    build = Builder()
    with pytest.raises(CompileError, match=r"no layer .* can run on the DPU.*p: the DPU has no pad"):
        compile_graph(build.graph(build.op("p", "pad", "x", attrs=PadAttrs(((0, 0), (1, 0), (0, 1), (0, 0))))), ZED,
                      "net")
    with pytest.raises(CompileError, match="an empty network"):
        compile_graph(Builder().graph("x"), ZED, "net")


def placement(node: str, graph: Graph, core=ISA1) -> tuple[str, str]:
    found = next(p for p in place_all(graph, core) if p.node.name == node)
    return found.device, found.reason


def test_reasons():
    build = Builder()
    build.op("float", "relu", "x", fix=None)
    build.op("wide", "add", "x", "x", attrs=EltwiseAttrs(), fix=Fix(4, 16))
    build.conv("reads_wide", "wide")
    build.conv("wide_weights", "x", build.const("ww", (1, 1, 4, 4), bits=16))
    build.op("computed", "mul", build.const("cw", (1, 1, 4, 4)), "cw", attrs=EltwiseAttrs())
    build.conv("computed_weights", "x", "computed")
    build.op("narrow", "reshape", "x", attrs=ReshapeAttrs((8, 8, 4)), fix=Fix(3))
    build.op("broadcast", "mul", "x", build.const("one", (1, 1, 1, 4)), attrs=EltwiseAttrs())
    build.op("twice", "depthwise_conv2d", "x", build.const("tw", (1, 1, 4, 2)), attrs=ConvAttrs())
    build.op("good", "depthwise_conv2d", "x", build.const("gw", (1, 1, 4, 1)), attrs=ConvAttrs())
    graph = build.graph("good")
    expected = {
        "float": "it computes in float", "wide": "it is 16 bits wide: the DPU is 8-bit only",
        "reads_wide": "it reads wide, 16 bits wide: the DPU is 8-bit only",
        "wide_weights": "it reads ww, 16 bits wide: the DPU is 8-bit only",
        "computed_weights": "its weights are computed, not constant",
        "narrow": "Tensors that are only placed must keep their position (input and output positions differ)",
        "broadcast": "its operands have different shapes",
        "twice": "A depthwise convolution must yield one channel per input channel (channel multiplier 2)",
    }
    assert {name: placement(name, graph) for name in expected} == {n: ("CPU", why) for n, why in expected.items()}
    assert placement("good", graph) == ("DPU", "")
    assert placement("good", graph, ZED)[1].startswith("A depthwise convolution needs a core with a depthwise unit")


def test_work_of_each_kind_of_layer():
    """What the limits and the performance model see: maps, windows, and shifts as the DPU's."""
    build = Builder()
    build.add(build.nodes[0].replace(name="y", fix=Fix(7)))
    build.op("c", "conv2d", "y", build.const("w", (3, 2, 4, 5)), build.const("b", (5,)), fix=Fix(6),
             attrs=ConvAttrs((2, 1), Padding(1, 0, 0, 1), (1, 2), nonlinear="relu"))
    build.op("s", "add", "x", "y", attrs=EltwiseAttrs("relu"), fix=Fix(3))
    build.op("p", "avg_pool", "s", attrs=PoolAttrs((2, 3), (2, 1), Padding(0, 0, 1, 0)), fix=Fix(3))
    build.op("m", "concat", "x", "s", attrs=ConcatAttrs(3))
    graph = build.graph("m")
    works = {name: node_work(graph, graph.node(name)) for name in "cspm"}
    assert works == {
        "c": ConvWork("c", (8, 8, 4), (4, 7, 5), (3, 2), (2, 1), (1, 2), (1, 0, 0, 1), 1, False, "relu",
                      shift_cut=7 + 4 - 6, shift_bias=7 + 4 - 4),
        "s": EltwiseWork("s", (8, 8, 4), (8, 8, 4), "add", 2, "relu", shift_read=7 - 4, shift_write=4 - 3),
        "p": PoolWork("p", (8, 8, 4), (4, 7, 4), (2, 3), (2, 1), (0, 0, 1, 0), "avg"),
        "m": MoveWork("m", (8, 8, 4), (8, 8, 8), positions_equal=False, kind="concat"),
    }


# -- fusion --------------------------------------------------------------------------------------------------

def absorbed(graph: Graph, core=ISA1) -> dict[str, str]:
    compiled = compile_graph(graph, core, "net")
    found = [absorptions(compiled.graph, kernel.nodes) for kernel in compiled.dpu_kernels]
    return {layer: by for one in found for layer, by in one.items()}


def test_a_convolution_absorbs_one_layer_behind_it():
    build = Builder()
    a = build.conv("a", "x")
    p = build.op("p", "max_pool", a, attrs=PoolAttrs((2, 2), (2, 2)))
    q = build.op("q", "max_pool", p, attrs=PoolAttrs((2, 2), (2, 2)))
    b, c = build.conv("b", q), build.conv("c", q)
    s = build.op("s", "add", b, c, attrs=EltwiseAttrs())
    graph = build.graph(s)
    assert absorbed(graph) == {"p": "a", "s": "c"}


def test_a_tensor_that_others_need_is_not_absorbed():
    build = Builder()
    a = build.conv("a", "x")
    p = build.op("p", "max_pool", a, attrs=PoolAttrs((2, 2), (2, 2)))
    b = build.conv("b", a)
    graph = build.graph(p, b)
    assert absorbed(graph) == {}
    build = Builder()
    a = build.conv("a", "x")
    assert absorbed(build.graph(build.op("p", "max_pool", a, attrs=PoolAttrs((2, 2), (2, 2))), a)) == {}


# -- xmodels of what the CPU computes -------------------------------------------------------------------------

def assert_round_trip(graph: Graph, core=ZED) -> XGraph:
    compiled = compile_graph(graph, core, "net")
    made = to_xir(compiled)
    again = import_xir(parse_xmodel(serialize_xmodel(made)))
    rng = np.random.default_rng(0)
    x = {node.name: rng.integers(-128, 128, (2, *node.shape[1:])).astype(np.int8) for node in graph.inputs}
    names = [node.name for node in graph.nodes if node.data is None and node.name in again.by_name]
    assert set(graph.outputs) <= set(names)
    expected, got = (ReferenceEngine(g).run(x, names, int8=True) for g in (graph, again))
    for name in names:
        assert np.array_equal(expected[name], got[name]), name
        assert expected[name].dtype == got[name].dtype
    return made


PADS = PadAttrs(((0, 0), (1, 2), (0, 3), (0, 0)))


@pytest.mark.parametrize(("op", "attrs", "fix"), [
    ("leaky_relu", LeakyAttrs(0.2), Fix(4)), ("hard_sigmoid", None, Fix(7)), ("leaky_relu", LeakyAttrs(0.2), None),
    ("relu", None, None), ("hard_sigmoid", None, None), ("softmax", None, None),
    ("max_pool", PoolAttrs((2, 3), (2, 1), Padding(0, 1, 1, 1)), None),
    ("avg_pool", PoolAttrs((2, 3), (2, 1), Padding(0, 1, 1, 1)), None),
    ("avg_pool", PoolAttrs((9, 1), (1, 1), Padding(1, 0, 0, 0)), Fix(4)),
    ("reshape", ReshapeAttrs((4, 64)), None),
    ("pad", PADS, Fix(4)), ("pad", PADS, None),
])
def test_layers_on_the_cpu(op, attrs, fix):
    build = Builder()
    a = build.conv("a", "x")
    y = build.op("y", op, a, attrs=attrs, fix=fix)
    made = assert_round_trip(build.graph(y))
    assert made.by_name["y"].get("device") == "CPU"


@pytest.mark.parametrize("nonlinear", ["none", "relu", "relu6", "leaky_relu"])
@pytest.mark.parametrize("op", ["conv2d", "depthwise_conv2d"])
def test_float_convolutions_on_the_cpu(op, nonlinear):
    build = Builder()
    a = build.conv("a", "x")
    weights = build.add(const("w", build.rng.normal(size=(3, 2, 4, 1)).astype(np.float32)))
    bias = build.add(const("b", np.ones(1 if op == "conv2d" else 4, np.float32)))
    attrs = ConvAttrs((2, 1), Padding(1, 0, 2, 0), (1, 2), nonlinear=nonlinear)
    assert_round_trip(build.graph(build.op("y", op, a, weights, bias, attrs=attrs, fix=None)))


def test_float_sums_products_dense_and_means():
    from dpuflow.ops.pool import MeanAttrs

    build = Builder()
    a = build.conv("a", "x")
    s = build.op("s", "add", a, "x", attrs=EltwiseAttrs("relu"), fix=None)
    p = build.op("p", "mul", s, a, attrs=EltwiseAttrs(), fix=None)
    c = build.op("c", "concat", p, a, attrs=ConcatAttrs(3), fix=None)
    m = build.op("m", "mean", c, attrs=MeanAttrs(), fix=None)
    weights = build.add(const("w", build.rng.normal(size=(8, 3)).astype(np.float32)))
    d = build.op("d", "dense", m, weights, attrs=DenseAttrs("relu"), fix=None)
    assert_round_trip(build.graph(d))


def test_a_layer_that_no_file_can_hold_is_named():
    build = Builder()
    a = build.conv("a", "x")
    weights = build.op("w", "reshape", build.const("raw", (256, 1, 3)), attrs=ReshapeAttrs((3,)))
    flat = build.op("flat", "reshape", a, attrs=ReshapeAttrs((256,)))
    compiled = compile_graph(build.graph(build.op("y", "dense", flat, weights, attrs=DenseAttrs())), ZED, "net")
    with pytest.raises(CompileError, match=r"node 'y': an xmodel has no operator for dense.*--output_nodes"):
        to_xir(compiled)


def test_a_product_on_the_cpu():
    build = Builder()
    a = build.conv("a", "x")
    made = assert_round_trip(build.graph(build.op("y", "mul", a, "x", attrs=EltwiseAttrs())))
    assert (made.by_name["y"].type, made.by_name["y"].get("device")) == ("eltwise-fix", "CPU")


@pytest.mark.parametrize("core", [ZED, MIN, ISA1], ids=lambda core: core.name)
def test_constants_that_two_kernels_share(core):
    """Weights that a DPU kernel, a CPU kernel and a second DPU kernel read are one tensor each time."""
    build = Builder()
    a = build.conv("a", "x")
    b = build.conv("b", a, "a/w", nonlinear="leaky_relu")
    c = build.conv("c", b, "a/w")
    made = assert_round_trip(build.graph(c), core)
    assert len({op.name for op in made.ops}) == len(made.ops)


def test_names_that_clash_with_those_the_writer_makes():
    build = Builder()
    a = build.conv("x_upload_0", "x")
    b = build.op("x_upload_0_fix2float", "relu", a)
    c = build.conv("c/linear", b)
    assert_round_trip(build.graph(build.op("c_download_2", "relu", c), c))


def test_several_inputs_lie_in_their_order():
    build = Builder(inputs=("x", "y", "z"))
    s = build.op("s", "add", "z", "x", "y", attrs=EltwiseAttrs())
    made = assert_round_trip(build.graph(build.conv("c", s)))
    offsets = [made.by_name[f"{name}_upload_0"].tensor.attrs["ddr_addr"].value for name in "zxy"]
    assert offsets == [0, 256, 512]


@given(st.integers(0, 10**6), CORES)
@settings(max_examples=30)
def test_what_inspect_accepts_compile_compiles(seed, core):
    graph = random_network(seed)
    assert any(p.device == "DPU" for p in place_all(graph, core))
    compiled = compile_graph(graph, core, "net")
    assert len(serialize_xmodel(to_xir(compiled))) > 0
    total = estimate_network(Model("net", "quantized", graph, True), core).total_ms
    assert total > 0


def test_a_float_network_is_estimated_as_if_quantized():
    graph = random_network(4)
    floats = graph.replace([node.replace(fix=None, data=None if node.data is None else node.data.astype(np.float32))
                            for node in graph.nodes])
    as_float = estimate_network(Model("net", FLOAT_GRAPH, verify(floats), False), ISA1)
    quantized = estimate_network(Model("net", "quantized", graph, True), ISA1)
    assert as_float.total_ms == pytest.approx(quantized.total_ms)
