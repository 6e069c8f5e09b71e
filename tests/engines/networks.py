"""Random legal quantized networks for tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from dpuflow.engines.litert.part import LITERT
from dpuflow.engines.parts import Library
from dpuflow.engines.tuning import openvino_serves_here
from dpuflow.ir.graph import Fix, Graph, Node, const
from dpuflow.ir.verify import infer_shapes, verify
from dpuflow.ops.activation import LeakyAttrs
from dpuflow.ops.base import Padding, same_padding
from dpuflow.ops.conv import ConvAttrs, DenseAttrs
from dpuflow.ops.elementwise import EltwiseAttrs
from dpuflow.ops.movement import ConcatAttrs, PadAttrs, ReshapeAttrs
from dpuflow.ops.pool import MeanAttrs, PoolAttrs
from dpuflow.ops.resize import ResizeAttrs
from dpuflow.ops.slicing import SliceAttrs, TransposeAttrs
from dpuflow.ops.transposed import TransposedAttrs

LIBRARIES: tuple[Library, ...] = (LITERT,)  # every library that serves on this processor, the fastest first
if openvino_serves_here():
    from dpuflow.engines.openvino.part import OPENVINO

    LIBRARIES = (OPENVINO, LITERT)


class RandomNetwork:
    """Grows a network layer by layer from a seed; positions keep shifts near the legal range."""

    def __init__(self, seed: int, size: tuple[int, int, int] = (8, 7, 3)) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes = [Node("x", "input", shape=(1, *size), fix=Fix(int(self.rng.integers(3, 8))))]
        self.last = self.nodes[0]

    def grow(self, layers: int) -> Graph:
        for index in range(layers):
            kinds = self.kinds()
            kinds[self.rng.integers(len(kinds))](f"n{index}")
        (self.mean if self.rng.random() < 0.5 else self.flatten)("head")
        self.dense("logits")
        self.add(Node("probabilities", "softmax", (self.last.name,)), keep=False)
        return verify(infer_shapes(Graph("random", tuple(self.nodes), (self.last.name, "probabilities"))))

    def kinds(self) -> tuple[Callable[[str], None], ...]:
        """The layers to draw from."""
        return self.conv, self.conv, self.depthwise, self.max_pool, self.avg_pool, self.residual

    def add(self, node: Node, keep: bool = True) -> Node:
        shaped = infer_shapes(Graph("random", (*self.nodes, node), (node.name,)))
        self.nodes = list(shaped.nodes)
        if keep:
            self.last = self.nodes[-1]
        return self.nodes[-1]

    def weights(self, name: str, shape: tuple[int, ...]) -> Node:
        values = self.rng.integers(-128, 128, shape).astype(np.int8)
        return self.add(const(name, values, Fix(int(self.rng.integers(4, 9)))), keep=False)

    def position(self, acc_pos: int, products: int) -> Fix:
        """An output position with a shift that neither saturates all nor zeroes all."""
        shift = int(np.log2(products) / 2) + int(self.rng.integers(3, 9))
        return Fix(acc_pos - min(shift, 16))

    def weighted(self, name: str, op: str, attrs: object, kernel: tuple[int, ...], outputs: int) -> None:
        x, w = self.last, self.weights(f"{name}/w", kernel)
        operands = [x.name, w.name]
        acc_pos = x.fix.pos + w.fix.pos
        if self.rng.random() < 0.8:
            bias = self.rng.integers(-128, 128, outputs).astype(np.int8)
            self.add(const(f"{name}/b", bias, Fix(acc_pos + int(self.rng.integers(-6, 4)))), keep=False)
            operands.append(f"{name}/b")
        products = int(np.prod(kernel[:-1] if op != "depthwise_conv2d" else kernel[:2]))
        self.add(Node(name, op, tuple(operands), attrs, fix=self.position(acc_pos, products)))

    def conv_attrs(self, kernel: tuple[int, int]) -> ConvAttrs:
        stride = (int(self.rng.integers(1, 3)), int(self.rng.integers(1, 3)))
        size = self.last.shape[1:3]
        padding = same_padding(size, kernel, stride)
        if self.rng.random() < 0.3 and size[0] >= kernel[0] and size[1] >= kernel[1]:
            padding = Padding(*(int(v) for v in self.rng.integers(0, 2, 4)))
        nonlinear = str(self.rng.choice(["none", "relu", "relu6", "leaky_relu"]))
        return ConvAttrs(stride, padding, nonlinear=nonlinear)

    def kernel(self) -> tuple[int, int]:
        return int(self.rng.integers(1, 4)), int(self.rng.integers(1, 4))

    def conv(self, name: str) -> None:
        kernel, outputs = self.kernel(), int(self.rng.integers(1, 9))
        self.weighted(name, "conv2d", self.conv_attrs(kernel), (*kernel, self.last.shape[3], outputs), outputs)

    def depthwise(self, name: str) -> None:
        kernel, channels = self.kernel(), self.last.shape[3]
        self.weighted(name, "depthwise_conv2d", self.conv_attrs(kernel), (*kernel, channels, 1), channels)

    def pool(self, name: str, op: str, up: int) -> None:
        kernel = (2, 2)
        padding = same_padding(self.last.shape[1:3], kernel, (2, 1))
        self.add(Node(name, op, (self.last.name,), PoolAttrs(kernel, (2, 1), padding), fix=Fix(self.last.fix.pos + up)))

    def max_pool(self, name: str) -> None:
        self.pool(name, "max_pool", 0)

    def avg_pool(self, name: str) -> None:
        self.pool(name, "avg_pool", int(self.rng.integers(0, 2)))

    def residual(self, name: str) -> None:
        first = self.last
        channels = first.shape[3]
        self.weighted(f"{name}/branch", "conv2d", ConvAttrs(), (1, 1, channels, channels), channels)
        nonlinear = str(self.rng.choice(["none", "relu"]))
        self.add(Node(name, "add", (first.name, self.last.name), EltwiseAttrs(nonlinear), fix=Fix(first.fix.pos - 1)))

    def mean(self, name: str) -> None:
        self.add(Node(name, "mean", (self.last.name,), MeanAttrs(), fix=self.last.fix))

    def flatten(self, name: str) -> None:
        count = int(np.prod(self.last.shape[1:]))
        self.add(Node(name, "reshape", (self.last.name,), ReshapeAttrs((count,)), fix=self.last.fix))

    def dense(self, name: str) -> None:
        self.weighted(name, "dense", DenseAttrs(str(self.rng.choice(["none", "relu"]))), (self.last.shape[1], 5), 5)


class BranchedNetwork(RandomNetwork):
    """The other operators too: maps are joined, moved, gated, enlarged."""

    def kinds(self) -> tuple[Callable[[str], None], ...]:
        enlarging = (self.transposed, self.enlarged) if max(self.last.shape[1:3]) <= 10 else ()
        return (self.conv, self.max_pool, self.residual, self.joined, self.moved, self.gated, self.single, *enlarging)

    def fix_near(self, spread: int = 1) -> Fix:
        return Fix(self.last.fix.pos + int(self.rng.integers(-spread, spread + 1)))

    def joined(self, name: str) -> None:
        """A branch beside what it comes from, at common or other positions."""
        first, fix = self.last, self.fix_near() if self.rng.random() < 0.3 else self.last.fix
        self.weighted(f"{name}/branch", "conv2d", self.conv_attrs((1, 1)), (1, 1, first.shape[3], 2), 2)
        if self.last.shape[:3] != first.shape[:3]:
            return
        if self.rng.random() < 0.7:
            self.nodes[-1] = self.last = self.last.replace(fix=first.fix)
        self.add(Node(name, "concat", (first.name, self.last.name), ConcatAttrs(3), fix=fix))

    def moved(self, name: str) -> None:
        height, width = self.last.shape[1:3]
        op, attrs = [("pad", PadAttrs(((0, 0), (1, 0), (0, 1), (0, 0)))), ("identity", None),
                     ("slice", SliceAttrs(((0, height, 1), (0, width, 2), (0, self.last.shape[3], 1)))),
                     ("transpose", TransposeAttrs((0, 2, 1, 3)))][self.rng.integers(4)]
        self.add(Node(name, op, (self.last.name,), attrs, fix=self.fix_near()))

    def gated(self, name: str) -> None:
        """A map times the hard sigmoid of its mean."""
        x = self.last
        self.add(Node(f"{name}/mean", "mean", (x.name,), MeanAttrs(True), fix=x.fix))
        self.add(Node(f"{name}/gate", "hard_sigmoid", (self.last.name,), None, fix=Fix(7)))
        self.add(Node(name, "mul", (x.name, self.last.name), EltwiseAttrs(), fix=x.fix))

    def single(self, name: str) -> None:
        op = str(self.rng.choice(["relu", "relu6", "leaky_relu", "hard_swish"]))
        self.add(Node(name, op, (self.last.name,), LeakyAttrs() if op == "leaky_relu" else None, fix=self.fix_near()))

    def transposed(self, name: str) -> None:
        height, width, channels = self.last.shape[1:]
        kernel, outputs = (int(self.rng.integers(2, 4)),) * 2, int(self.rng.integers(1, 5))
        attrs = TransposedAttrs((2 * height, 2 * width), (2, 2), Padding(0, kernel[0] - 2, 0, kernel[0] - 2),
                                str(self.rng.choice(["none", "relu", "leaky_relu"])))
        self.weighted(name, "transposed_conv2d", attrs, (*kernel, outputs, channels), outputs)

    def enlarged(self, name: str) -> None:
        size = (2 * self.last.shape[1], 2 * self.last.shape[2])
        self.add(Node(name, "resize_nearest", (self.last.name,), ResizeAttrs(size), fix=self.last.fix))


class LeakyNetwork(BranchedNetwork):
    """Maps mostly behind a leaky ReLU; weights of several spreads."""

    def weights(self, name: str, shape: tuple[int, ...]) -> Node:
        node = super().weights(name, shape)
        widest = int(self.rng.choice([128, 103, 64, 30]))
        self.nodes[-1] = node.replace(data=self.rng.integers(-widest, widest, shape).astype(np.int8))
        return self.nodes[-1]

    def conv_attrs(self, kernel: tuple[int, int]) -> ConvAttrs:
        attrs = super().conv_attrs(kernel)
        return replace(attrs, nonlinear="leaky_relu") if self.rng.random() < 0.7 else attrs


def leaky_network(seed: int, layers: int = 6) -> Graph:
    """A network of signed maps, few of which reach far below zero."""
    return LeakyNetwork(seed).grow(layers)


def branched_network(seed: int, layers: int = 6) -> Graph:
    """A network of more operators than :func:`random_network`'s."""
    return BranchedNetwork(seed).grow(layers)


def random_network(seed: int, layers: int = 4) -> Graph:
    """A network of a few layers; the same seed gives the same network."""
    return RandomNetwork(seed).grow(layers)


def full_range_input(graph: Graph, seed: int, batch: int = 3) -> np.ndarray:
    """Random int8 over the whole range, both ends included."""
    values = np.random.default_rng(seed).integers(-128, 128, (batch, *graph.inputs[0].shape[1:])).astype(np.int8)
    values.reshape(-1)[:2] = (-128, 127)
    return values
