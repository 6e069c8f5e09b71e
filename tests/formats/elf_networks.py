"""DNNDK files of quantized networks, written from the documented layout (board specification, section 5)."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from dpuflow.ir.graph import Fix, Graph, Node, const
from dpuflow.ir.verify import infer_shapes, verify
from dpuflow.ops.base import same_padding
from dpuflow.ops.conv import ConvAttrs, DenseAttrs
from dpuflow.ops.elementwise import EltwiseAttrs
from dpuflow.ops.movement import ReshapeAttrs
from dpuflow.ops.pool import MeanAttrs, PoolAttrs

sys.path.append(str(Path(__file__).resolve().parent.parent / "board"))
import elf_builder

MERGED = ("max_pool", "avg_pool", "mean")


def as_map(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return shape[1:] if len(shape) == 4 else (1, 1, int(np.prod(shape[1:])))


class Writer:
    """One kernel of a chain of convolutions, pools, sums and dense layers; pools merge into the layer before."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.strings = elf_builder.Strings()
        self.tensors: list[bytes] = []
        self.index: dict[str, int] = {}
        self.blob = b""
        self.nodes: list[bytes] = []
        self.records: list[tuple] = []

    def tensor(self, node: Node, kind: int) -> None:
        self.index[node.name] = len(self.tensors)
        self.tensors.append(elf_builder.tensor(kind, *as_map(node.shape), node.fix.pos, offset=0))

    def parameter(self, label: str, values: np.ndarray, pos: int, dims: tuple[int, ...]) -> tuple:
        self.blob += b"\0" * (len(self.blob) % 2)
        made = (label, len(self.blob), values.size, pos, dims)
        self.blob += values.astype(np.int8).tobytes()
        return made

    def parameters(self, node: Node, name: str) -> list[tuple]:
        x, weights, *bias = self.graph.operands(node)
        made = []
        if bias:
            fine = bias[0].fix.pos - (x.fix.pos + weights.fix.pos)
            stored = bias[0].data.astype(np.int64)
            if fine > 0:  # the compiler keeps the position and stores floor(q / 2**d + 1/2)
                stored = np.floor(stored / 2.0**fine + 0.5)
            made.append(self.parameter(f"{name}_bias", stored, bias[0].fix.pos, (len(stored), 1, 1, 1)))
        if node.op == "dense":
            source = x if x.op != "reshape" else self.graph.by_name[x.inputs[0]]
            h, w, c = as_map(source.shape)
            data = weights.data.reshape(h, w, c, -1).transpose(3, 0, 1, 2)
            dims = (data.shape[0], h, w, c)
        else:
            data, dims = weights.data.transpose(3, 0, 1, 2), weights.shape
        made.append(self.parameter(f"{name}_weights", data, weights.fix.pos, dims))
        return made

    def work(self, node: Node) -> int:
        if node.op == "add":
            return int(np.prod(node.shape))
        kernel = self.graph.by_name[node.inputs[1]].shape
        pixels = node.shape[1] * node.shape[2] if len(node.shape) == 4 else 1
        return 2 * pixels * int(np.prod(kernel))

    def write(self) -> bytes:
        graph = self.graph
        for node in graph.inputs:
            self.tensor(node, 2)
        layers = [node for node in graph.nodes if node.op in ("conv2d", "dense", "add") and node.fix]
        names = {node.name: node.layer.replace("/", "_") for node in layers}
        place = {node.name: at for at, node in enumerate(layers)}
        last = {}
        for node in layers:
            end = node
            while len(graph.users[end.name]) == 1 and graph.by_name[graph.users[end.name][0]].op in MERGED:
                end = graph.by_name[graph.users[end.name][0]]
            last[node.name] = end
            out = end.name in graph.outputs or any(not graph.by_name[user].fix for user in graph.users[end.name])
            self.tensor(end, 4 if out else 1)
        holder = {end.name: name for name, end in last.items()}
        for node in graph.nodes:
            if node.op == "reshape":  # the same tensor: the layer behind reads the map
                self.index[node.name], holder[node.name] = self.index[node.inputs[0]], holder[node.inputs[0]]
        for node in layers:
            operands = [name for name in node.inputs if graph.by_name[name].data is None]
            before = [place[holder[name]] for name in operands if name in holder]
            after = [place[user.name] for user in layers if any(holder.get(name) == node.name for name in user.inputs)]
            parameters = self.parameters(node, names[node.name]) if node.op != "add" else []
            self.nodes.append(elf_builder.node(
                self.strings, names[node.name], self.work(node), [self.index[name] for name in operands],
                [self.index[last[node.name].name]], parameters, before, after))
        sections = elf_builder.kernel_sections("net", self.nodes, self.tensors, self.blob, 4096, self.strings)
        return elf_builder.elf(sections, self.bits)

    bits = 32


def elf_of(graph: Graph, bits: int = 32) -> bytes:
    """A network's DNNDK file."""
    writer = Writer(graph)
    writer.bits = bits
    return writer.write()


def chain(seed: int, fine_bias: int = 0, head: str = "dense") -> Graph:
    """conv stride 2 + relu, conv + relu + max pool, sum of two convolutions, a mean or nothing, dense."""
    rng = np.random.default_rng(seed)
    nodes = [Node("x", "input", shape=(1, 16, 12, 3), fix=Fix(6))]
    shapes = {"x": (16, 12, 3)}

    def weight(name: str, *shape: int, pos: int = 7) -> str:
        nodes.append(const(name, rng.integers(-128, 128, shape).astype(np.int8), Fix(pos)))
        return name

    def conv(name: str, source: str, outputs: int, stride: int, nonlinear: str, pos: int) -> None:
        h, w, c = shapes[source]
        operands = (source, weight(f"{name}/w", 3, 3, c, outputs), weight(f"{name}/b", outputs, pos=9 + fine_bias))
        attrs = ConvAttrs((stride, stride), same_padding((h, w), (3, 3), (stride, stride)), nonlinear=nonlinear)
        nodes.append(Node(name, "conv2d", operands, attrs, fix=Fix(pos), label=f"net/{name}/Conv2D"))
        shapes[name] = (-(-h // stride), -(-w // stride), outputs)

    conv("c1", "x", 5, 2, "relu", 3)
    conv("c2", "c1", 8, 1, "relu", 0)
    nodes.append(Node("p2", "max_pool", ("c2",), PoolAttrs((2, 2), (2, 2)), fix=Fix(0)))
    shapes["p2"] = (4, 3, 8)
    conv("c3", "p2", 8, 1, "none", -2)
    nodes.append(Node("s", "add", ("p2", "c3"), EltwiseAttrs("relu"), fix=Fix(-3), label="net/s"))
    shapes["s"] = (4, 3, 8)
    if head == "mean":
        conv("c4", "s", 8, 1, "relu", -5)
        nodes.append(Node("m", "mean", ("c4",), MeanAttrs(), fix=Fix(-5)))
        flat, count = "m", 8
    else:
        nodes.append(Node("f", "reshape", ("s",), ReshapeAttrs((96,)), fix=Fix(-3)))
        flat, count = "f", 96
    operands = (flat, weight("d/w", count, 10), weight("d/b", 10, pos=4 + fine_bias))
    nodes.append(Node("d", "dense", operands, DenseAttrs(), fix=Fix(-2), label="net/d/MatMul"))
    return verify(infer_shapes(Graph("net", tuple(nodes), ("d",))))
