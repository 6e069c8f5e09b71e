"""The passes behind calibration on literal positions (quantizer specification, section 6)."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from dpuflow.formats.graphdef import TFGraph, const_node, new_node
from dpuflow.formats.tf_values import FLOAT
from dpuflow.quant.adjust import adjust_positions, dense_kernel, prime_factors
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.insert import Group


def node(name: str, op: str, *inputs: str):
    return new_node(name, op, inputs, T=FLOAT)


def fix(producer: str, kind: str = "aquant"):
    return new_node(f"{producer}/{kind}", "FixNeuron", (producer,), bit_width=8, mode=1, method=1)


def config(*outputs: str, **options: object) -> QuantizeConfig:
    return QuantizeConfig(**{"input_nodes": ("x",), "output_nodes": outputs or ("c",), "input_shapes": ((1, 8, 8, 2),),
                             **options})


def quantized(*nodes) -> TFGraph:
    """Nodes, each followed by its FixNeuron, reading the FixNeurons of what they read."""
    made, seen = [], set()
    for one in nodes:
        made.append(one.replace(inputs=tuple(f"{name}/aquant" if name in seen else name for name in one.inputs)))
        if one.op != "Const":
            made.append(fix(one.name))
            seen.add(one.name)
    return TFGraph(tuple(made))


CONCATS = quantized(
    node("x", "Placeholder"), node("a", "Relu", "x"), node("b", "Relu", "x"),
    const_node("axis", np.array(3, np.int32)), node("shape", "Reshape", "a", "axis"),
    node("inner", "ConcatV2", "shape", "b", "axis"), node("c", "ConcatV2", "inner", "b", "axis"))
AT = {"x/aquant": 6, "a/aquant": 5, "b/aquant": 4, "shape/aquant": 5, "inner/aquant": 3, "c/aquant": 2}


@pytest.mark.parametrize(("mode", "changed"), [
    # The inner concat's inputs take its position before alignment; b is read by both, the later wins. Walking
    # back goes through Reshape.
    (0, {"a/aquant": 3, "shape/aquant": 3, "inner/aquant": 2, "b/aquant": 2}),
    (1, {"inner/aquant": 2, "b/aquant": 2}),
    (2, {}),
])
def test_concats_align_their_inputs(mode, changed):
    assert adjust_positions(CONCATS, (), AT, config(align_concat=mode)) == {**AT, **changed}


def test_a_concat_that_agrees_already_does_not_take_a_tensor_back():
    at = {**AT, "b/aquant": 2}
    assert adjust_positions(CONCATS, (), at, config())["b/aquant"] == 3


@pytest.mark.parametrize(("options", "changed"), [
    ({}, {}), ({"version": "3.x"}, {"x/aquant": 4, "p/aquant": 3}), ({"align_pool": 0}, {"x/aquant": 4, "p/aquant": 3}),
    ({"align_pool": 1}, {"p/aquant": 3}), ({"version": "3.x", "align_pool": 2}, {}),
])
def test_pools_align_their_inputs(options, changed):
    graph = TFGraph((
        node("x", "Placeholder"), fix("x"), node("p", "MaxPool", "x/aquant"), fix("p"),
        node("avg", "AvgPool", "p/aquant"), const_node("k", np.float32(1)), node("c", "Mul", "avg", "k"), fix("c")))
    at = {"x/aquant": 6, "p/aquant": 4, "c/aquant": 3}
    assert adjust_positions(graph, (), at, config(**options)) == {**at, **changed}


def layer(kind: str, *shape: int) -> TFGraph:
    return TFGraph((node("x", "Placeholder"), const_node("w", np.zeros(shape, np.float32)), node("c", kind, "x", "w")))


GROUP = Group("c", "x", "c", "w", "b")


def shifted(kind: str, shape: tuple[int, ...], i: int, w: int, b: int, o: int, **options: int) -> tuple[int, int]:
    at = {"x/aquant": i, "w/wquant": w, "b/wquant": b, "c/aquant": o}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = adjust_positions(layer(kind, *shape), (GROUP,), at, config(**options))
    assert (got["x/aquant"], got["c/aquant"]) == (i, o)
    return got["w/wquant"], got["b/wquant"]


# i w b o -> w b: shift_cut is w + i - o, shift_bias is w + i - b with the new w.
MODE_1 = [
    ((4, 8, 8, 4), (8, 8)), ((4, 20, 8, 4), (16, 8)), ((4, -3, 0, 4), (0, 0)), ((4, 8, -6, 4), (8, -4)),
    ((4, 8, 21, 4), (8, 20)),  # shift_cut 8: at least -8
    ((4, 8, 20, 4), (8, 20)), ((0, 0, 17, 0), (0, 16)), ((8, 8, 20, 0), (8, 16)),  # shift_cut 0: -16, 16: 0
    ((4, 127, 127, 4), (16, 20)),  # the mark for all zeros is a number like any other here
]


@pytest.mark.parametrize(("before", "after"), MODE_1)
def test_shifts_mode_1(before, after):
    assert shifted("Conv2D", (3, 3, 4, 4), *before) == after


def test_shift_adjustments_can_be_off():
    assert shifted("Conv2D", (3, 3, 4, 4), 4, 20, 40, 4, adjust_shift_cut=0, adjust_shift_bias=0) == (20, 40)
    assert shifted("Conv2D", (3, 3, 4, 4), 4, 20, 40, 4, adjust_shift_cut=0) == (20, 24 - min(0, -(16 - 20)))
    assert shifted("Conv2D", (3, 3, 4, 4), 4, 20, 40, 4, adjust_shift_bias=0) == (16, 40)


# Mode 2: the lower bound follows from the number of products, not from shift_cut.
MODE_2 = [("Conv2D", (3, 3, 4, 4), 12 + 10), ("Conv2D", (1, 1, 2, 4), 12 + 15),
          ("DepthwiseConv2dNative", (3, 3, 8, 1), 12 + 9), ("MatMul", (64, 4), 12 + 10), ("MatMul", (7, 4), None)]


@pytest.mark.parametrize(("kind", "shape", "bias"), MODE_2)
def test_shifts_mode_2(kind, shape, bias):
    assert shifted(kind, shape, 4, 8, 60, 4, adjust_shift_bias=2) == (8, 60 if bias is None else bias)


def test_a_moved_position_is_said():
    at = {"x/aquant": 4, "w/wquant": 20, "b/wquant": 40, "c/aquant": 4}
    with pytest.warns(UserWarning, match="modify quantize pos") as said:
        adjust_positions(layer("Conv2D", 3, 3, 4, 4), (GROUP,), at, config())
    assert [str(warning.message) for warning in said] == [
        "[DECENT_WARNING] Shift cut of node c is 20. It exceed range [0, 16], modify quantize pos from 20 to 16",
        "[DECENT_WARNING] Shift bias of node c is -20. It exceed range [0, 16], modify quantize pos from 40 to 20"]


@pytest.mark.filterwarnings("ignore:.DECENT_WARNING. Shift")
def test_groups_without_all_positions_are_left():
    at = {"w/wquant": 40, "b/wquant": 40, "c/aquant": 4}
    assert adjust_positions(layer("Conv2D", 3, 3, 4, 4), (GROUP,), at, config()) == at
    assert adjust_positions(layer("Conv2D", 3, 3, 4, 4), (Group("c", "x", "c", "w", ""),),
                            {**at, "x/aquant": 4}, config())["b/wquant"] == 40


@pytest.mark.parametrize(("inputs", "kernel"), [
    (64, (4, 4, 4)), (7, None), (6, None), (30, (2, 3, 5)), (1024, (8, 8, 16)), (4096, (8, 8, 64)), (9216, (8, 8, 144)),
    (25088, (8, 8, 392)), (2 * 2 * 8191, None), (17 * 17 * 17, None), (2 * 3 * 4093, (2, 3, 4093)),
])
def test_dense_factorisation(inputs, kernel):
    assert dense_kernel(inputs) == kernel
    if kernel:
        assert int(np.prod(kernel)) == inputs
        assert kernel[0] < 16 and kernel[1] < 16 and kernel[2] < 4096


def test_prime_factors():
    assert [prime_factors(number) for number in (1, 2, 12, 97, 1001)] == [[], [2], [2, 2, 3], [97], [7, 11, 13]]
