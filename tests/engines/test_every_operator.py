"""Every operator with integers, alone: reference == fast == the oracle in exact fractions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpuflow.engines.fast import FastEngine
from dpuflow.engines.litert.part import LITERT
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.ir.graph import Fix, Graph, Node, const
from dpuflow.ir.verify import infer_shapes, verify
from dpuflow.ops import OPS
from dpuflow.ops.activation import LeakyAttrs
from dpuflow.ops.base import Padding, same_padding
from dpuflow.ops.conv import ConvAttrs, DenseAttrs
from dpuflow.ops.elementwise import EltwiseAttrs
from dpuflow.ops.movement import ConcatAttrs, PadAttrs, ReshapeAttrs
from dpuflow.ops.pool import MeanAttrs, PoolAttrs
from dpuflow.ops.reduction import ReduceAttrs
from dpuflow.ops.resize import ResizeAttrs
from dpuflow.ops.slicing import SliceAttrs, TransposeAttrs
from dpuflow.ops.transposed import TransposedAttrs

import oracle
from engines.networks import LIBRARIES

Expected = Callable[[Any], list[int]]  # the values of one image's inputs -> the result's numbers in order


class Layer:
    """One layer with random operands, its graph, and what the oracle makes of it."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.size = (int(rng.integers(3, 6)), int(rng.integers(3, 6)), int(rng.integers(1, 4)))
        self.x_pos, self.w_pos = (int(pos) for pos in rng.integers(-1, 8, 2))
        self.nodes = [Node("x", "input", shape=(1, *self.size), fix=Fix(self.x_pos))]

    def integers(self, *shape: int) -> np.ndarray:
        values = self.rng.integers(-128, 128, shape).astype(np.int8)
        values.reshape(-1)[::5] = self.rng.choice([-128, 127])
        return values

    def const(self, name: str, pos: int, *shape: int) -> Any:
        self.nodes.append(const(name, self.integers(*shape), Fix(pos)))
        return self.nodes[-1].data.tolist()

    def small(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high))

    def done(self, op: str, operands: tuple[str, ...], attrs: object, pos: int) -> Graph:
        self.nodes.append(Node("y", op, operands, attrs, fix=Fix(pos)))
        return verify(infer_shapes(Graph(op, tuple(self.nodes), ("y",))))

    def weighted(self, op: str, kernel: tuple[int, ...], outputs: int, attrs: object, products: int) -> tuple[Any, ...]:
        """Weights, bias, its position, the output's position, the graph."""
        w = self.const("w", self.w_pos, *kernel)
        bias_pos = self.x_pos + self.w_pos + self.small(-6, 4)
        bias = self.const("b", bias_pos, outputs)
        shift = self.small(0, 8) + int(np.log2(products) / 2)
        pos = self.x_pos + self.w_pos - shift
        return w, bias, bias_pos, pos, self.done(op, ("x", "w", "b"), attrs, pos)

    def nonlinear(self) -> str:
        return str(self.rng.choice(["none", "relu", "relu6", "leaky_relu"]))


def flat(values: Any) -> list[int]:
    return list(np.asarray(values).reshape(-1).tolist())


def _conv(layer: Layer) -> tuple[Graph, Expected]:
    kernel, stride = (layer.small(1, 4), layer.small(1, 4)), (layer.small(1, 3), layer.small(1, 3))
    dilation = (layer.small(1, 3), 1) if kernel[0] < 3 else (1, 1)
    padding = Padding(*(layer.small(0, 2) for _ in range(4)))
    if layer.rng.random() < 0.5:
        padding = same_padding(layer.size[:2], kernel, stride, dilation)
    groups = layer.size[2] if layer.rng.random() < 0.2 else 1
    attrs = ConvAttrs(stride, padding, dilation, groups, layer.nonlinear())
    outputs, inputs = groups * layer.small(1, 4), layer.size[2] // groups
    w, bias, bias_pos, pos, graph = layer.weighted("conv2d", (*kernel, inputs, outputs), outputs, attrs,
                                                   kernel[0] * kernel[1] * inputs)
    return graph, lambda x: flat(oracle.conv2d(x, layer.x_pos, w, layer.w_pos, bias, bias_pos, stride, tuple(padding),
                                               attrs.nonlinear, pos, dilation, groups))


def _depthwise(layer: Layer) -> tuple[Graph, Expected]:
    kernel, stride = (layer.small(1, 4), layer.small(1, 4)), (layer.small(1, 3), layer.small(1, 3))
    padding, multiplier = Padding(*(layer.small(0, 2) for _ in range(4))), layer.small(1, 3)
    attrs, channels = ConvAttrs(stride, padding, nonlinear=layer.nonlinear()), layer.size[2]
    w, bias, bias_pos, pos, graph = layer.weighted("depthwise_conv2d", (*kernel, channels, multiplier),
                                                   channels * multiplier, attrs, kernel[0] * kernel[1])
    return graph, lambda x: flat(oracle.depthwise(x, layer.x_pos, w, layer.w_pos, bias, bias_pos, stride,
                                                  tuple(padding), attrs.nonlinear, pos))


def _transposed(layer: Layer) -> tuple[Graph, Expected]:
    kernel, stride = (layer.small(1, 5), layer.small(1, 5)), (layer.small(1, 4),) * 2
    size, pads = [], []
    for old, k, s in zip(layer.size, kernel, stride, strict=False):
        before, after = layer.small(0, k), 0
        new = (old - 1) * s + k - before - after
        if layer.rng.random() < 0.5 and new % s:  # the size that a framework would ask for: a multiple
            new, after = new + s - new % s, 0
        if new < 1 or (new + before + after - k) // s + 1 != old:
            before, after, new = 0, 0, (old - 1) * s + k
        size.append(new)
        pads += [before, after]
    padding, outputs = Padding(*pads), layer.small(1, 4)
    attrs = TransposedAttrs((size[0], size[1]), stride, padding, layer.nonlinear())
    w, bias, bias_pos, pos, graph = layer.weighted("transposed_conv2d", (*kernel, outputs, layer.size[2]), outputs,
                                                   attrs, kernel[0] * kernel[1] * layer.size[2])
    return graph, lambda x: flat(oracle.transposed(x, layer.x_pos, w, layer.w_pos, bias, bias_pos, stride,
                                                   tuple(padding), size, attrs.nonlinear, pos))


def _dense(layer: Layer) -> tuple[Graph, Expected]:
    layer.nodes = [Node("x", "input", shape=(1, 5), fix=Fix(layer.x_pos))]
    attrs = DenseAttrs(layer.nonlinear())
    w, bias, bias_pos, pos, graph = layer.weighted("dense", (5, 3), 3, attrs, 5)
    return graph, lambda x: [
        oracle.weighted_sum(zip(x, [row[o] for row in w], strict=True), layer.x_pos, layer.w_pos, bias[o], bias_pos,
                            attrs.nonlinear, pos) for o in range(3)]


def _pool(kind: str) -> Callable[[Layer], tuple[Graph, Expected]]:
    def make(layer: Layer) -> tuple[Graph, Expected]:
        kernel, stride = (layer.small(1, 4), layer.small(1, 4)), (layer.small(1, 3), layer.small(1, 3))
        padding = Padding(*(layer.small(0, size) for size in (kernel[0], kernel[0], kernel[1], kernel[1])))
        if layer.rng.random() < 0.5:
            padding = same_padding(layer.size[:2], kernel, stride)
        pos = layer.x_pos + layer.small(-1, 2)
        graph = layer.done(f"{kind}_pool", ("x",), PoolAttrs(kernel, stride, padding), pos)
        return graph, lambda x: oracle.pool(x, layer.x_pos, kernel, stride, tuple(padding), kind, pos)
    return make


def _mean(layer: Layer) -> tuple[Graph, Expected]:
    pos, keep = layer.x_pos + layer.small(-1, 4), bool(layer.small(0, 2))
    graph = layer.done("mean", ("x",), MeanAttrs(keep), pos)
    return graph, lambda x: oracle.pool(x, layer.x_pos, layer.size[:2], (1, 1), (0, 0, 0, 0), "avg", pos)


def _two(op: str) -> Callable[[Layer], tuple[Graph, Expected]]:
    def make(layer: Layer) -> tuple[Graph, Expected]:
        other, attrs = layer.x_pos + layer.small(-3, 4), EltwiseAttrs(str(layer.rng.choice(["none", "relu"])))
        pos = (layer.x_pos if op == "add" else layer.x_pos + other - 7) + layer.small(-3, 4)
        layer.nodes.append(Node("x2", "input", shape=(1, *layer.size), fix=Fix(other)))
        graph = layer.done(op, ("x", "x2"), attrs, pos)
        rule = {"add": lambda pair: oracle.add(pair, attrs.nonlinear, pos),
                "mul": lambda pair: max(oracle.multiply(pair, pos), 0 if attrs.nonlinear == "relu" else -128)}[op]
        return graph, lambda x, x2: [rule([(a, layer.x_pos), (b, other)])
                                     for a, b in zip(flat(x), flat(x2), strict=True)]
    return make


def _gated(layer: Layer) -> tuple[Graph, Expected]:
    """A map times one number a channel."""
    gate = layer.const("gate", 7, 1, 1, 1, layer.size[2])[0][0][0]
    pos = layer.x_pos + layer.small(-2, 2)
    graph = layer.done("mul", ("x", "gate"), EltwiseAttrs(), pos)
    return graph, lambda x: [oracle.multiply([(v, layer.x_pos), (g, 7)], pos)
                             for v, g in zip(flat(x), itertools.cycle(gate), strict=False)]


def _single(op: str) -> Callable[[Layer], tuple[Graph, Expected]]:
    def make(layer: Layer) -> tuple[Graph, Expected]:
        pos = 7 if op == "hard_sigmoid" else layer.x_pos + layer.small(-2, 3)
        graph = layer.done(op, ("x",), LeakyAttrs() if op == "leaky_relu" else None, pos)
        return graph, lambda x: [oracle.single(op, value, layer.x_pos, pos) for value in flat(x)]
    return make


def _prelu(layer: Layer) -> tuple[Graph, Expected]:
    shape = [(1, 1, 1, layer.size[2]), (layer.size[2],), (1, *layer.size)][layer.small(0, 3)]
    pos, slopes = layer.x_pos + layer.small(-2, 3), flat(layer.const("w", layer.w_pos, *shape))
    graph = layer.done("prelu", ("x", "w"), None, pos)
    return graph, lambda x: [oracle.prelu(value, layer.x_pos, slope, layer.w_pos, pos)
                             for value, slope in zip(flat(x), itertools.cycle(slopes), strict=False)]


def _moved(op: str, attrs: Callable[[Layer], Any], move: Callable[[np.ndarray, Any], np.ndarray],
           ) -> Callable[[Layer], tuple[Graph, Expected]]:
    def make(layer: Layer) -> tuple[Graph, Expected]:
        pos, made = layer.x_pos + layer.small(-1, 2), attrs(layer)
        graph = layer.done(op, ("x",), made, pos)
        return graph, lambda x: [oracle.move(value, layer.x_pos, pos) for value in flat(move(np.array(x), made))]
    return make


def _concat(layer: Layer) -> tuple[Graph, Expected]:
    other, pos = layer.x_pos + layer.small(-1, 2), layer.x_pos + layer.small(-1, 2)
    layer.nodes.append(Node("x2", "input", shape=(1, *layer.size), fix=Fix(other)))
    axis = layer.small(1, 4)
    graph = layer.done("concat", ("x", "x2"), ConcatAttrs(axis), pos)

    def moved(part: Any, at: int) -> np.ndarray:
        return np.reshape([oracle.move(value, at, pos) for value in flat(part)], np.shape(part))
    return graph, lambda x, x2: flat(np.concatenate([moved(x, layer.x_pos), moved(x2, other)], axis=axis - 1))


def _resized(kind: str) -> Callable[[Layer], tuple[Graph, Expected]]:
    def make(layer: Layer) -> tuple[Graph, Expected]:
        size, pos = (2 * layer.size[0], 4 * layer.size[1]), layer.x_pos + layer.small(-1, 2)
        graph = layer.done(f"resize_{kind}", ("x",), ResizeAttrs(size), pos)
        return graph, lambda x: oracle.resized(x, layer.x_pos, size, kind, pos)
    return make


LAYERS: Mapping[str, tuple[Callable[[Layer], tuple[Graph, Any]], ...]] = {
    "conv2d": (_conv,), "depthwise_conv2d": (_depthwise,), "transposed_conv2d": (_transposed,), "dense": (_dense,),
    "max_pool": (_pool("max"),), "avg_pool": (_pool("avg"),), "mean": (_mean,), "add": (_two("add"),),
    "mul": (_two("mul"), _gated), "prelu": (_prelu,), "concat": (_concat,),
    **{op: (_single(op),) for op in ("relu", "relu6", "leaky_relu", "hard_sigmoid", "hard_swish")},
    "identity": (_moved("identity", lambda layer: None, lambda x, _: x),),
    "reshape": (_moved("reshape", lambda layer: ReshapeAttrs((-1, layer.size[2])), lambda x, _: x),),
    "pad": (_moved("pad", lambda layer: PadAttrs(((0, 0), (1, 0), (0, 2), (0, 0))),
                   lambda x, _: np.pad(x, ((1, 0), (0, 2), (0, 0)))),
            _moved("pad", lambda layer: PadAttrs(((0, 0), (1, 0), (1, 1), (0, 0)), "reflect"),
                   lambda x, _: np.pad(x, ((1, 0), (1, 1), (0, 0)), mode="reflect"))),
    "slice": (_moved("slice", lambda layer: SliceAttrs(((0, 2, 1), (1, layer.size[1], 2), (0, layer.size[2], 1))),
                     lambda x, _: x[0:2, 1::2]),),
    "transpose": (_moved("transpose", lambda layer: TransposeAttrs((0, 3, 1, 2)), lambda x, _: x.transpose(2, 0, 1)),),
    "reduce_max": (_moved("reduce_max", lambda layer: ReduceAttrs((1, 2)), lambda x, _: x.max(axis=(0, 1))),),
    "resize_nearest": (_resized("nearest"),), "resize_bilinear": (_resized("bilinear"),),
}


def test_no_operator_is_left_out():
    assert set(LAYERS) == {op.name for op in OPS.values() if op.fixed}


@pytest.mark.parametrize(("op", "make"), [(op, make) for op, makes in LAYERS.items() for make in makes])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_reference_fast_and_oracle_agree(op, make, seed):
    layer = Layer(np.random.default_rng(seed))
    graph, expected = make(layer)
    inputs = {node.name: np.stack([layer.integers(*node.shape[1:]) for _ in range(2)]) for node in graph.inputs}
    reference = ReferenceEngine(graph).run(inputs, int8=True)["y"]
    wanted = [expected(*(values[image].tolist() for values in inputs.values())) for image in range(2)]
    assert [image.reshape(-1).tolist() for image in reference] == wanted
    for libraries in ((LITERT,), LIBRARIES):
        got = FastEngine(graph, threads=1, libraries=libraries).run(inputs, int8=True)["y"]
        np.testing.assert_array_equal(got, reference, strict=True)
