"""Quantized xmodels: written as the vendors' quantizers do, read back as the same network."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpuflow.compiler.driver import compile_graph
from dpuflow.compiler.quantized_xmodel import to_quantized_xir
from dpuflow.compiler.xmodel import to_xir
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.errors import CompileError, EngineError
from dpuflow.formats.xir import XGraph, XOp, XTensor, XValue, parse_xmodel, serialize_xmodel
from dpuflow.formats.xir_check import broken_rules
from dpuflow.formats.xir_import import import_xir
from dpuflow.ir.graph import Fix, Graph, Node, const
from dpuflow.ir.text import node_text
from dpuflow.ir.verify import infer_shapes, verify
from dpuflow.model import QUANTIZED_XMODEL, model_from_xir
from dpuflow.ops.base import Padding
from dpuflow.ops.conv import ConvAttrs, DenseAttrs
from dpuflow.ops.custom import CustomAttrs
from dpuflow.ops.elementwise import EltwiseAttrs
from dpuflow.ops.movement import ConcatAttrs, PadAttrs, ReshapeAttrs
from dpuflow.ops.pool import MeanAttrs, PoolAttrs
from dpuflow.ops.reduction import ReduceAttrs
from dpuflow.ops.resize import ResizeAttrs
from dpuflow.ops.slicing import SliceAttrs, TransposeAttrs
from dpuflow.ops.transposed import TransposedAttrs
from dpuflow.target.select import find_target

from engines.networks import full_range_input, random_network


def again(graph: Graph) -> Graph:
    return model_from_xir(parse_xmodel(serialize_xmodel(to_quantized_xir(graph))), "again.xmodel").graph


def nodes_of(graph: Graph) -> list[str]:
    return sorted(f"{node_text(node)} layer {node.layer}" for node in graph.nodes)


@given(st.integers(0, 10**6))
@settings(max_examples=40)
def test_random_networks_come_back_as_they_were(seed):
    graph = random_network(seed)
    read = again(graph)
    assert nodes_of(read) == nodes_of(graph)
    assert read.outputs == graph.outputs
    x = full_range_input(graph, seed)
    expected, got = (ReferenceEngine(g).run(x, int8=True) for g in (graph, read))
    assert all(np.array_equal(expected[name], got[name]) for name in expected)


def network(*nodes: Node, outputs: tuple[str, ...] = ("y",)) -> Graph:
    x = Node("x", "input", shape=(1, 6, 6, 4), fix=Fix(4))
    return verify(infer_shapes(Graph("net", (x, *nodes), outputs)))


def weights(name: str, *shape: int, pos: int = 6) -> Node:
    return const(name, np.random.default_rng(len(name)).integers(-128, 128, shape).astype(np.int8), Fix(pos))


CONV = (weights("w", 3, 3, 4, 5), weights("b", 5, pos=9),
        Node("y", "conv2d", ("x", "w", "b"), ConvAttrs(nonlinear="relu"), fix=Fix(2), label="conv"))


def test_the_form_of_the_vendors_quantizers():
    """Xmodel specification, section 5, for one convolution."""
    made = to_quantized_xir(network(*CONV))
    assert [(op.type, op.name) for op in made.ops] == [
        ("data", "x"), ("fix", "x_fix"), ("const", "w"), ("fix", "w_fix"), ("const", "b"), ("fix", "b_fix"),
        ("conv2d", "conv"), ("relu", "y"), ("fix", "y_fix")]
    conv = made.by_name["conv"]
    assert conv.args == {"input": ("x_fix",), "weights": ("w_fix",), "bias": ("b_fix",)}
    assert {key: conv.get(key) for key in ("in_dim", "out_dim", "bias_term", "group", "kernel")} == {
        "in_dim": 4, "out_dim": 5, "bias_term": True, "group": 1, "kernel": (3, 3)}
    assert {key: value.value for key, value in made.by_name["y_fix"].attrs.items()} == {
        "fix_point": 2, "bit_width": 8, "round_mode": "DPU_ROUND", "if_signed": True}
    assert made.by_name["w"].tensor.dims == (5, 3, 3, 4)
    values = np.frombuffer(made.by_name["w"].get("data"), "<f4").reshape(5, 3, 3, 4)
    assert np.array_equal(values * 64, CONV[0].data.transpose(3, 0, 1, 2))
    assert made.root.name == "root"
    assert (made.root.ops, made.root.children) == (tuple(op.name for op in made.ops), ())
    assert {key: value.value for key, value in made.attrs.items()} == {"return_ops": ("y_fix",)}


def test_every_tensor_is_float():
    assert {op.tensor.data_type for op in to_quantized_xir(random_network(5)).ops} == {"FLOAT"}


ONE = {
    "concat": (Node("a", "relu", ("x",), fix=Fix(3)), Node("b", "max_pool", ("x",), PoolAttrs((1, 1)), fix=Fix(3)),
               Node("y", "concat", ("a", "b", "x"), ConcatAttrs(3), fix=Fix(3))),
    "nested concat": (Node("a", "relu", ("x",), fix=Fix(3)), Node("b", "relu6", ("x",), fix=Fix(3)),
                      Node("c", "concat", ("a", "b"), ConcatAttrs(3), fix=Fix(3)),
                      Node("d", "relu", ("x",), fix=Fix(3)),
                      Node("y", "concat", ("c", "d"), ConcatAttrs(3), fix=Fix(3))),
    "pad": (Node("y", "pad", ("x",), PadAttrs(((0, 0), (1, 0), (0, 2), (0, 0))), fix=Fix(4)),),
    "hard sigmoid": (Node("y", "hard_sigmoid", ("x",), fix=Fix(7)),),
    "padded average": (Node("y", "avg_pool", ("x",), PoolAttrs((3, 3), (2, 2), CONV[2].attrs.padding), fix=Fix(4)),),
    "mean of 36": (Node("y", "mean", ("x",), MeanAttrs(keep_dims=True), fix=Fix(5)),),
    "mul": (Node("y", "mul", ("x", "x"), EltwiseAttrs("relu"), fix=Fix(3)),),
    "requantise": (Node("y", "identity", ("x",), fix=Fix(2)),),
    "reshape to another position": (Node("y", "reshape", ("x",), ReshapeAttrs((36, 4)), fix=Fix(2)),),
    "weights used twice": (weights("w", 3, 3, 4, 4), Node("a", "conv2d", ("x", "w"), ConvAttrs(), fix=Fix(3)),
                           Node("y", "conv2d", ("a", "w"), ConvAttrs(), fix=Fix(3))),
    "grouped": (weights("w", 3, 3, 2, 6), Node("y", "conv2d", ("x", "w"), ConvAttrs(groups=2), fix=Fix(3))),
    "depthwise multiplier": (weights("w", 3, 3, 4, 2),
                             Node("y", "depthwise_conv2d", ("x", "w"), ConvAttrs(nonlinear="relu6"), fix=Fix(3))),
    "rounded softmax": (Node("s", "softmax", ("x",)), Node("y", "float2fix", ("s",), fix=Fix(7))),
    "dense": (Node("f", "reshape", ("x",), ReshapeAttrs((144,)), fix=Fix(4)), weights("w", 144, 3),
              Node("y", "dense", ("f", "w"), DenseAttrs("leaky_relu"), fix=Fix(0))),
}


@pytest.mark.parametrize("nodes", ONE.values(), ids=list(ONE))
def test_single_operators_come_back_with_the_same_bits(nodes):
    graph = network(*nodes)
    read = again(graph)
    x = full_range_input(graph, 1)
    assert read.outputs == graph.outputs
    expected, got = (ReferenceEngine(g).run(x, ["y"], int8=True)["y"] for g in (graph, read))
    assert expected.dtype == got.dtype == np.int8
    assert np.array_equal(expected, got)
    assert read.node("y").fix == graph.node("y").fix


def test_branches_of_a_concatenation_have_no_fix_of_their_own():
    made = to_quantized_xir(network(*ONE["nested concat"]))
    assert [op.name for op in made.ops if op.type == "fix"] == ["x_fix", "y_fix"]


def test_two_outputs_and_a_float_tail():
    graph = network(*CONV, Node("p", "softmax", ("y",)), outputs=("p", "y"))
    assert again(graph).outputs == ("p", "y")
    assert to_quantized_xir(graph).attrs["return_ops"].value == ("p", "y_fix")


def test_custom_operators_are_named_and_supplied():
    graph = network(*CONV, Node("c", "custom", ("y",), CustomAttrs("Twice", (1, 4, 4, 5))),
                    Node("z", "float2fix", ("c",), fix=Fix(1)), outputs=("z",))
    data = serialize_xmodel(to_quantized_xir(graph))
    x = full_range_input(graph, 0)
    with pytest.raises(EngineError, match="code of the custom operator 'Twice'"):
        ReferenceEngine(model_from_xir(parse_xmodel(data), "c").graph).run(x)
    read = model_from_xir(parse_xmodel(data), "c", {"Twice": lambda operands, attrs: operands[0] * 2}).graph
    values = ReferenceEngine(read).run(x, ["y", "z"], int8=True)
    compiled = to_xir(compile_graph(read, find_target("zedboard"), "net"))
    assert broken_rules(compiled) == ()
    again_read = import_xir(compiled, {"Twice": lambda operands, attrs: operands[0] * 2})
    assert np.array_equal(ReferenceEngine(again_read).run(x, ["z"], int8=True)["z"], values["z"])
    assert np.array_equal(values["z"], np.clip(values["y"].astype(int), -128, 127))  # doubled, one bit coarser


@pytest.mark.parametrize(("function", "message"), [
    (lambda operands, attrs: operands[0][:, :1], "gave another shape"),
    (lambda operands, attrs: 1 / 0, "failed .ZeroDivisionError"),
])
def test_functions_that_fail(function, message):
    graph = network(Node("y", "custom", ("x",), CustomAttrs("Odd", (1, 6, 6, 4), {}, function)))
    with pytest.raises((EngineError, Exception), match=message):
        ReferenceEngine(graph).run(full_range_input(graph, 0))


def test_an_operator_that_xir_lacks():
    with pytest.raises(CompileError, match="no operator for neg"):
        to_quantized_xir(network(Node("y", "neg", ("x",))))


# -- as other quantizers write it -----------------------------------------------------------------------------

class Writer:
    """Operators by hand, with the names and forms of the PyTorch and TensorFlow-2 quantizers."""

    def __init__(self) -> None:
        self.ops: list[XOp] = []

    def op(self, name: str, kind: str, dims: tuple[int, ...], args: dict | None = None, **attrs: XValue) -> str:
        args = {key: (value,) if isinstance(value, str) else tuple(value) for key, value in (args or {}).items()}
        self.ops.append(XOp(name, kind, args, attrs, XTensor(f"{name}_t", dims, "FLOAT", 32)))
        return name

    def fix(self, name: str, pos: int, rounding: str = "DPU_ROUND") -> str:
        dims = next(op.tensor.dims for op in self.ops if op.name == name)
        return self.op(f"{name}_fix", "fix", dims, {"input": name}, fix_point=XValue("int32", pos),
                       bit_width=XValue("int32", 8), round_mode=XValue("string", rounding),
                       if_signed=XValue("bool", True))

    def const(self, name: str, values: np.ndarray, pos: int | None, rounding: str = "DPU_ROUND") -> str:
        self.op(name, "const", values.shape, data=XValue("bytes", values.astype("<f4").tobytes()),
                shape=XValue("int32_vec", values.shape), data_type=XValue("string", "FLOAT32"))
        return name if pos is None else self.fix(name, pos, rounding)

    def graph(self, *outputs: str) -> XGraph:
        return XGraph("net", tuple(self.ops), None, {"return_ops": XValue("string_vec", outputs)})


I32V, TEXT, FLAG = (lambda *v: XValue("int32_vec", v)), (lambda v: XValue("string", v)), (lambda v: XValue("bool", v))


def torch_flavour() -> XGraph:
    """A network as vai_q_pytorch writes it: names with module paths, pads in numbers, a dense layer as matmul."""
    w, rng = Writer(), np.random.default_rng(0)
    grid = lambda *shape: rng.integers(-128, 128, shape) / 64  # noqa: E731
    x = w.op("Net::input_0", "data", (1, 8, 8, 3), shape=I32V(1, 8, 8, 3), data_type=TEXT("FLOAT32"))
    kernel = w.const("Net::conv1.weight", grid(6, 3, 3, 3), 6)
    bias = w.const("Net::conv1.bias", grid(6), 6)
    w.op("Net::Net/Conv2d[conv1]/input.2", "conv2d", (1, 4, 4, 6),
         {"input": w.fix(x, 6), "weights": kernel, "bias": bias}, kernel=I32V(3, 3), stride=I32V(2, 2),
         dilation=I32V(1, 1), pad_mode=TEXT("FLOOR"), pad=I32V(1, 1, 1, 1), group=XValue("int32", 1))
    w.op("Net::Net/LeakyReLU[act]/1", "leaky-relu", (1, 4, 4, 6), {"input": "Net::Net/Conv2d[conv1]/input.2"},
         alpha=XValue("float", 0.1015625))
    y = w.fix("Net::Net/LeakyReLU[act]/1", 3)
    w.op("Net::pool", "avgpool2d", (1, 1, 1, 6), {"input": y}, kernel=I32V(4, 4), stride=I32V(4, 4),
         pad=I32V(0, 0, 0, 0), pad_mode=TEXT("FLOOR"), **{"global": FLAG(True)}, count_include_pad=FLAG(True))
    pooled = w.fix("Net::pool", 4)
    w.op("Net::flatten", "flatten", (1, 6), {"input": pooled}, start_axis=XValue("int32", 1),
         end_axis=XValue("int32", 3))
    w.op("Net::fc", "matmul", (1, 5), {"input": ["Net::flatten", w.const("Net::fc.weight", grid(5, 6), 6)],
                                       "bias": w.const("Net::fc.bias", grid(5), 6)},
         transpose_a=FLAG(False), transpose_b=FLAG(True))
    return w.graph(w.fix("Net::fc", 3))


def keras_flavour() -> XGraph:
    """A network as vai_q_tensorflow2 writes it: quant_ names, SAME, rounding of constants to even, a scaled mean."""
    w, rng = Writer(), np.random.default_rng(1)
    grid = lambda *shape: rng.integers(-128, 128, shape) / 64  # noqa: E731
    x = w.op("quant_input_1", "data", (1, 6, 6, 4), shape=I32V(1, 6, 6, 4), data_type=TEXT("float32"))
    w.op("quant_depthwise", "depthwise-conv2d", (1, 3, 3, 4),
         {"input": w.fix(x, 5), "weights": w.const("quant_depthwise/kernel:0", grid(1, 3, 3, 4), 6, "PY3_ROUND")},
         kernel=I32V(3, 3), stride=I32V(2, 2), pad_mode=TEXT("SAME"))
    w.op("quant_relu6", "relu6", (1, 3, 3, 4), {"input": "quant_depthwise"})
    y = w.fix("quant_relu6", 4)
    w.op("quant_mean", "reduction_mean", (1, 4), {"input": y}, axis=I32V(1, 2), keep_dims=FLAG(False))
    w.op("quant_mean_mul", "mul", (1, 4), {"input": ["quant_mean", w.const("factor", np.array([63 / 64]), None)]})
    mean = w.fix("quant_mean_mul", 4)
    w.op("quant_sigmoid", "hard-sigmoid", (1, 4), {"input": mean})
    w.op("quant_sigmoid_mul", "mul", (1, 4), {"input": [
        "quant_sigmoid", w.const("correction", np.array([6 * 2731 / 16384]), None)]})
    return w.graph(w.fix("quant_sigmoid_mul", 7))


@pytest.mark.parametrize(("made", "layers"), [(torch_flavour(), 4), (keras_flavour(), 3)],
                         ids=["pytorch", "tensorflow2"])
def test_other_quantizers_files_run_on_the_dpu_s_rules(made, layers):
    model = model_from_xir(parse_xmodel(serialize_xmodel(made)), "q.xmodel")
    assert model.kind == QUANTIZED_XMODEL
    assert all(node.fix for node in model.graph.nodes)
    assert len([node for node in model.graph.nodes if node.op not in ("const", "input")]) == layers
    x = full_range_input(model.graph, 0)
    name = model.graph.outputs[0]
    first = ReferenceEngine(model.graph).run(x, int8=True)[name]
    assert len(np.unique(first)) > 4
    assert np.array_equal(first, ReferenceEngine(again(model.graph)).run(x, int8=True)[name])


def test_a_simulated_convolution_by_hand():
    """1 pixel, 1 x 1 kernel: relu(3/4 * 1/2 + 1/8) = 1/2 at position 1 is 1; -3/4 gives 0."""
    w = Writer()
    x = w.op("x", "data", (1, 1, 1, 1))
    w.op("c", "conv2d", (1, 1, 1, 1), {"input": w.fix(x, 2), "weights": w.const("w", np.full((1, 1, 1, 1), 0.5), 1),
                                       "bias": w.const("b", np.full(1, 0.125), 3)},
         kernel=I32V(1, 1), stride=I32V(1, 1), pad_mode=TEXT("VALID"))
    w.op("r", "relu", (1, 1, 1, 1), {"input": "c"})
    graph = model_from_xir(w.graph(w.fix("r", 1)), "hand").graph
    got = ReferenceEngine(graph).run(np.array([3, -3], np.int8).reshape(2, 1, 1, 1), int8=True)
    assert got["r"].reshape(-1).tolist() == [1, 0]


def test_an_activation_that_is_rounded_otherwise():
    made = keras_flavour()
    ops = tuple(dataclasses.replace(op, attrs={**op.attrs, "round_mode": TEXT("STD_ROUND")})
                if op.name == "quant_relu6_fix" else op for op in made.ops)
    with pytest.raises(Exception, match="not rounded half up"):
        model_from_xir(dataclasses.replace(made, ops=ops), "q")


# -- operators beyond a plain chain ---------------------------------------------------------------------------

MORE = {
    "transposed": (weights("w", 3, 2, 5, 4), weights("b", 5, pos=9), Node(
        "y", "transposed_conv2d", ("x", "w", "b"), TransposedAttrs((12, 11), (2, 2), Padding(1, 0, 1, 0), "relu"),
        fix=Fix(2))),
    "nearest": (Node("y", "resize_nearest", ("x",), ResizeAttrs((12, 18)), fix=Fix(4)),),
    "bilinear": (Node("y", "resize_bilinear", ("x",), ResizeAttrs((11, 12), align_corners=True), fix=Fix(4)),),
    "slice": (Node("y", "slice", ("x",), SliceAttrs(((1, 6, 2), (0, 6, 1), (1, 3, 1))), fix=Fix(4)),),
    "transpose": (Node("y", "transpose", ("x",), TransposeAttrs((0, 2, 1, 3)), fix=Fix(4)),),
    "prelu": (weights("w", 4, pos=7), Node("y", "prelu", ("x", "w"), fix=Fix(4))),
    "reduce max": (Node("y", "reduce_max", ("x",), ReduceAttrs((3,)), fix=Fix(4)),),
    "mirrored pad": (Node("y", "pad", ("x",), PadAttrs(((0, 0), (1, 2), (0, 0), (0, 0)), "reflect"), fix=Fix(4)),),
    "pad with a value": (Node("y", "pad", ("x",), PadAttrs(((0, 0), (1, 1), (0, 0), (0, 0)), value=2.0), fix=Fix(4)),),
}


@pytest.mark.parametrize("nodes", MORE.values(), ids=list(MORE))
def test_more_operators_in_both_kinds_of_file(nodes):
    """Quantized, and compiled with the operator on the CPU behind a convolution on the DPU."""
    behind = (node.replace(inputs=tuple("c" if name == "x" else name for name in node.inputs)) for node in nodes)
    first = Node("c", "conv2d", ("x", "w0"), ConvAttrs(), fix=Fix(4))
    graph = network(weights("w0", 1, 1, 4, 4, pos=5), first, *behind)
    compiled = import_xir(parse_xmodel(serialize_xmodel(to_xir(compile_graph(graph, find_target("zedboard"), "net")))))
    x = full_range_input(graph, 3)
    expected = ReferenceEngine(graph).run(x, ["y"], int8=True)["y"]
    assert len(np.unique(expected)) > 4
    for made in (again(graph), compiled):
        got = ReferenceEngine(made).run(x, ["y"], int8=True)["y"]
        assert got.dtype == np.int8
        assert np.array_equal(expected, got)


def test_files_with_more_operators_keep_every_rule():
    for nodes in MORE.values():
        first = Node("c", "conv2d", ("x", "w0"), ConvAttrs(), fix=Fix(4))
        graph = network(weights("w0", 1, 1, 4, 4, pos=5), first, *nodes, outputs=("c", "y"))
        assert broken_rules(to_xir(compile_graph(graph, find_target("zedboard"), "net"))) == ()


def fixed_graph(*ops: XOp) -> XGraph:
    x = XOp("x", "data-fix", {}, {}, XTensor("x_t", (1, 2, 2, 2), "XINT", 8, {"fix_point": XValue("int32", 2)}))
    return XGraph("net", (x, *ops))


def fixed_op(name: str, kind: str, args: dict, dims: tuple[int, ...], pos: int, **attrs: XValue) -> XOp:
    return XOp(name, kind, args, attrs, XTensor(f"{name}_t", dims, "XINT", 8, {"fix_point": XValue("int32", pos)}))


def constant(name: str, values: np.ndarray, pos: int) -> XOp:
    return fixed_op(name, "const-fix", {}, values.shape, pos, shape=I32V(*values.shape),
                    data=XValue("bytes", values.astype(np.int8).tobytes()))


X = np.array([4, -12, 127, 0, 1, 2, 3, -128], np.int8).reshape(1, 2, 2, 2)


def run_fixed(*ops: XOp) -> np.ndarray:
    return ReferenceEngine(import_xir(fixed_graph(*ops))).run(X, [ops[-1].name], int8=True)[ops[-1].name]


def test_hard_swish_inside_a_convolution():
    """A 1 x 1 identity at hsigmoid_in 2; then x = 1.0 gives 3 of 4, -3.0 gives 0 and 31.75 gives 31.5."""
    w = constant("w", np.eye(2, dtype=np.int8).reshape(2, 1, 1, 2), 0)
    made = run_fixed(w, fixed_op("y", "conv2d-fix", {"input": ("x",), "weights": ("w",)}, (1, 2, 2, 2), 2,
                                 kernel=I32V(1, 1), stride=I32V(1, 1), nonlinear=TEXT("HSWISH"),
                                 hsigmoid_in=XValue("int32", 2), shift_hsigmoid=XValue("int32", 9)))
    assert made.reshape(-1)[:4].tolist() == [3, 0, 126, 0]


def test_a_transposed_depthwise_convolution_by_hand():
    """Each channel by itself; the file's kernel is turned round, so the second column paints the first pixel."""
    w = constant("w", np.array([[[[1, 10], [2, 20]]]], np.int8), 0)  # [multiplier, h, w, in]
    made = run_fixed(w, fixed_op("y", "transposed-depthwise-conv2d-fix", {"input": ("x",), "weights": ("w",)},
                                 (1, 2, 4, 2), 0, kernel=I32V(2, 1), stride=I32V(2, 1)))
    # Position 2 to 0: a quarter, rounded half up. Channel 0 of the first row: 4 and 127; channel 1: -12 and 0.
    assert made[0, 0, :, 0].tolist() == [2, 1, 64, 32]
    assert made[0, 0, :, 1].tolist() == [-60, -30, 0, 0]


def test_other_fixed_operators_by_hand():
    place = fixed_op("y", "argmax-fix", {"input": ("x",)}, (1, 2, 2), 0, axis=XValue("int32", 3))
    assert run_fixed(place).tolist() == [[[0, 0], [1, 0]]]
    assert run_fixed(fixed_op("y", "reduction_max-fix", {"input": ("x",)}, (1, 2), 2, axis=I32V(1, 2),
                              keep_dims=FLAG(False))).tolist() == [[127, 2]]
    scale = constant("w", np.array([2, -4]), 1)
    assert run_fixed(scale, fixed_op("y", "depthwise-fix", {"input": ("x", "w")}, (1, 2, 2, 2), 2)).reshape(-1)[
        :4].tolist() == [4, 24, 127, 0]
    shrunk = fixed_op("y", "strided_slice-fix", {"input": ("x",)}, (1, 2, 2), 2, begin=I32V(0, 1, 0, 0),
                      end=I32V(1, -9, 99, 2), strides=I32V(1, 1, 1, 1))
    with pytest.raises(Exception, match="slice outside its axis"):
        run_fixed(shrunk)
