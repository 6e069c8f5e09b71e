"""Networks from DNNDK model files: from the records alone, or with the structure of a graph.

The records say neither which layers end in relu nor what a merged pool computes. Alone they make
a network by conventions, each of which is reported; with the graph that the file was compiled
from (``like``) nothing is assumed, and parameters and positions are the file's.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

from dpuedge import elf
from dpuflow.errors import GraphError
from dpuflow.formats.checks import checked_position
from dpuflow.formats.dnndk import ElfParameter, node_parameters
from dpuflow.formats.dnndk_geometry import convolution_geometry, merged_pool
from dpuflow.ir.graph import Fix, Graph, Node, const
from dpuflow.ir.verify import infer_shapes, verify
from dpuflow.ops.conv import ConvAttrs
from dpuflow.ops.elementwise import EltwiseAttrs
from dpuflow.ops.pool import MeanAttrs, PoolAttrs

REAL = (elf.REAL_NODE,)


def _fix(tensor: elf.Tensor, where: str) -> Fix:
    return checked_position(tensor.fix_point, tensor.fix_width, where, zero=False)


class _Alone:
    """Builds a network from a kernel's records; ``assumed`` collects what they do not say."""

    def __init__(self, kernel: elf.Kernel) -> None:
        self.kernel = kernel
        self.nodes: list[Node] = []
        self.held: dict[int, str] = {}  # tensor -> node
        self.assumed: list[str] = []

    def add(self, node: Node) -> Node:
        self.nodes.append(node)
        return node

    def inputs(self) -> None:
        read = [index for node in self.kernel.nodes for index in node.inputs]
        written = {index for node in self.kernel.nodes for index in node.outputs}
        for index in dict.fromkeys(index for index in read if index not in written):
            tensor, name = self.kernel.tensors[index], "input" if not self.held else f"input_{len(self.held)}"
            shape = (1, tensor.height, tensor.width, tensor.channels)
            if min(shape) < 1:
                raise GraphError("an input without a size", where=self.kernel.name, got=shape)
            self.add(Node(name, "input", shape=shape, fix=_fix(tensor, name)))
            self.held[index] = name

    def operand(self, index: int, node: elf.Node) -> str:
        if index not in self.held:
            raise GraphError("a node reads a tensor that no node before it yields", where=f"node '{node.name}'",
                             got=f"tensor {index}")
        return self.held[index]

    def parameter(self, part: ElfParameter, where: str, weights: bool) -> str:
        values = part.values.transpose(1, 2, 3, 0) if weights else part.values
        fix = checked_position(part.fix.pos, part.fix.bits, where)
        return self.add(const(f"{where}/{'weights' if weights else 'bias'}", values, fix)).name

    def nonlinear(self, node: elf.Node, after_add: bool = False) -> str:
        """By convention relu, but at the end of the network and in a branch that only a sum reads."""
        last = any(self.kernel.tensors[index].kind & elf.BOUNDARY_OUT for index in node.outputs)
        sums = [self.kernel.nodes[index] for index in node.successors if not self.kernel.nodes[index].parameters
                and len(self.kernel.nodes[index].inputs) > 1]
        if last or (sums and len(node.successors) == 1 and not after_add):
            self.assumed.append(f"{node.name}: no nonlinearity")
            return "none"
        self.assumed.append(f"{node.name}: relu")
        return "relu"

    def computed(self, node: elf.Node) -> None:
        if len(node.outputs) != 1:
            raise GraphError("a node with several outputs", where=f"node '{node.name}'", got=len(node.outputs))
        weights, bias = node_parameters(self.kernel, node)
        if weights is not None:
            self.convolution(node, weights, bias)
        elif len(node.inputs) > 1 and bias is None:
            self.add_inputs(node)
        else:
            raise GraphError("a node whose operation is not in the records", where=f"node '{node.name}'",
                             got=f"{len(node.inputs)} inputs, {len(node.parameters)} parameters",
                             remedy="give the graph that it was compiled from with --like")
        self.held[node.outputs[0]] = node.name

    def convolution(self, node: elf.Node, weights: ElfParameter, bias: ElfParameter | None) -> None:
        x, y = self.kernel.tensors[node.inputs[0]], self.kernel.tensors[node.outputs[0]]
        _, height, width, _ = weights.values.shape
        geometry = convolution_geometry(node, x, y, (height, width))
        operands = [self.operand(node.inputs[0], node), self.parameter(weights, node.name, True)]
        if bias is not None:
            operands.append(self.parameter(bias, node.name, False))
        attrs = ConvAttrs(geometry.stride, geometry.padding, nonlinear=self.nonlinear(node))
        pool, fix = merged_pool(geometry.size, y, f"node '{node.name}'"), _fix(y, node.name)
        if pool is None:
            self.add(Node(node.name, "conv2d", tuple(operands), attrs, fix=fix))
            return
        kind, window, stride = pool
        self.assumed.append(f"{node.name}: {kind} {window[0]}x{window[1]} behind it, at the same position")
        inner = self.add(Node(f"{node.name}/conv", "conv2d", tuple(operands), attrs, fix=fix, label=node.name))
        pooled = MeanAttrs(True) if kind == "mean" else PoolAttrs(window, stride)
        self.add(Node(node.name, kind, (inner.name,), pooled, fix=fix))

    def add_inputs(self, node: elf.Node) -> None:
        shapes = {self.kernel.tensors[index][1:4] for index in (*node.inputs, *node.outputs)}
        if len(shapes) != 1:
            raise GraphError("a node without parameters that is no sum of equal maps", where=f"node '{node.name}'",
                             got=" and ".join(map(str, sorted(shapes))),
                             remedy="give the graph that it was compiled from with --like")
        operands = tuple(self.operand(index, node) for index in node.inputs)
        self.assumed.append(f"{node.name}: a sum of its inputs")
        self.add(Node(node.name, "add", operands, EltwiseAttrs(self.nonlinear(node, after_add=True)),
                      fix=_fix(self.kernel.tensors[node.outputs[0]], node.name)))

    def outputs(self) -> tuple[str, ...]:
        found = [self.held[index] for node in self.kernel.nodes for index in node.outputs
                 if index in self.held and self.kernel.tensors[index].kind & elf.BOUNDARY_OUT]
        if not found:
            raise GraphError("the kernel has no output", where=self.kernel.name)
        return tuple(dict.fromkeys(found))


def import_kernel(kernel: elf.Kernel) -> Graph:
    """A network from the records alone; warns of every convention, GraphError where they do not suffice."""
    builder = _Alone(kernel)
    builder.inputs()
    for node in kernel.nodes:
        if node.kind in REAL:
            builder.computed(node)
    graph = verify(infer_shapes(Graph(kernel.name, tuple(builder.nodes), builder.outputs())))
    warnings.warn(f"{kernel.name}: the file does not say how its layers end; assumed: {'; '.join(builder.assumed)}. "
                  "Give the graph that it was compiled from with --like to assume nothing", stacklevel=2)
    return graph


# -- with the structure of a graph ----------------------------------------------------------------------------

_MERGED = ("max_pool", "avg_pool", "mean", "relu", "relu6", "leaky_relu", "reshape", "identity")


def _file_name(layer: str) -> str:
    """A layer's name as the compiler writes it."""
    return layer.replace("/", "_")


def _chain(graph: Graph, node: Node, known: set[str]) -> Iterator[Node]:
    """A node and what the compiler merges into it: its only reader, as long as that is no node of the file."""
    yield node
    while len(graph.users[node.name]) == 1 and node.name not in graph.outputs:
        node = graph.by_name[graph.users[node.name][0]]
        if node.op not in _MERGED or _file_name(node.layer) in known or node.fix is None:
            return
        yield node


def _layers(graph: Graph) -> dict[str, Node]:
    return {_file_name(name): node for node in graph.nodes if node.data is None for name in (node.name, node.layer)}


def _with_parameters(graph: Graph, found: Node, kernel: elf.Kernel, node: elf.Node) -> Iterator[Node]:
    for part, name in zip(node_parameters(kernel, node), found.inputs[1:], strict=False):
        if part is None:
            raise GraphError("the graph's layer has a parameter that the file lacks", where=f"node '{node.name}'",
                             got=name)
        old = graph.by_name[name]
        values = part.values
        if values.ndim == 4:
            values = values.transpose(1, 2, 3, 0)
            values = values.reshape(-1, values.shape[3]) if found.op == "dense" else values
        if values.shape != old.shape:
            raise GraphError("the graph's parameters have another shape", where=f"node '{node.name}'",
                             expected=old.shape, got=values.shape, remedy="give the graph that it was compiled from")
        yield const(name, values, checked_position(part.fix.pos, part.fix.bits, f"node '{node.name}'"))


def import_kernel_like(kernel: elf.Kernel, like: Graph, where: Path | str = "--like") -> Graph:
    """The quantized network ``like`` with the file's parameters and positions; GraphError where they do not fit."""
    layers, replaced = _layers(like), dict[str, Node]()
    known = {node.name for node in kernel.nodes}
    missing = [node.name for node in kernel.nodes if node.kind in REAL and node.name not in layers]
    if missing:
        raise GraphError("the graph has no layer of that name", where=where, got=", ".join(missing[:4]),
                         remedy="give the graph that the file was compiled from")
    for node in (node for node in kernel.nodes if node.kind in REAL):
        found = layers[node.name]
        for made in _with_parameters(like, found, kernel, node) if node.parameters else ():
            replaced[made.name] = made
        last = list(_chain(like, found, known))[-1]
        fix = _fix(kernel.tensors[node.outputs[0]], node.name)
        replaced[last.name] = replaced.get(last.name, last).replace(fix=fix)
        for index in node.inputs:
            tensor, source = kernel.tensors[index], like.by_name[found.inputs[0]]
            if tensor.kind & elf.BOUNDARY_IN and source.op == "input":
                replaced[source.name] = source.replace(fix=_fix(tensor, source.name))
    return verify(like.replace(replaced.get(node.name, node) for node in like.nodes))
