"""A planned network with other numbers of output channels: zero weights, shapes worked out again.

    a = conv2d(x, w: 3x3x3x64)          a = conv2d(x, w: 3x3x3x48)
    b = conv2d(a, v: 3x3x64x64)    ->   b = conv2d(a, v: 3x3x48x64)

For questions about speed, where values do not matter. Layers from which the network's outputs are
read directly keep their channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from dpuflow.errors import GraphError
from dpuflow.ir.graph import Fix, Graph, Node, Shape, const
from dpuflow.ir.verify import output_shape, verify
from dpuflow.ops.movement import ReshapeAttrs

_CHOOSES = ("conv2d", "transposed_conv2d", "dense")  # a depthwise convolution follows its input
_REMEDY = "give all layers that meet in a sum the same channels"
Choose = Callable[[Node], int]


def adjustable(graph: Graph) -> dict[str, Node]:
    """The layers whose output channels may be chosen, by layer name: all but those that end the network."""
    reached: set[str] = set()
    found: dict[str, Node] = {}
    for node in reversed(graph.nodes):
        weighted = node.op in _CHOOSES
        if weighted and node.name in reached:
            found[node.layer] = node
        if weighted or node.op == "depthwise_conv2d" or node.name in reached:
            reached.update(node.inputs[:1] if weighted or node.op == "depthwise_conv2d" else node.inputs)
    return dict(reversed(found.items()))


def _zeros(name: str, shape: Shape, fix: Fix | None) -> Node:
    return const(name, np.broadcast_to(np.int8(0), shape), fix)


def _kernel_shape(node: Node, kernel: Shape, x: Shape, outputs: int) -> Shape:
    if node.op == "dense":
        return (x[-1], outputs)
    if node.op == "depthwise_conv2d":
        return (*kernel[:2], x[3], kernel[3])
    if node.op == "transposed_conv2d":
        return (*kernel[:2], outputs, x[3])
    return (*kernel[:2], x[3] // node.attrs.groups, outputs)


def _reshaped(node: Node, before: Shape, x: Shape) -> ReshapeAttrs:
    """The new shape that a reshape asks for when its operand has other channels."""
    if x == before:
        return ReshapeAttrs(node.attrs.shape)
    rest = node.shape[1:]
    if len(rest) == 1:
        return ReshapeAttrs((-1,))
    share = math.prod(x[1:]) * rest[-1] / math.prod(before[1:])
    if share != int(share):
        raise GraphError("the reshape does not fit other channels", where=f"layer '{node.layer}'", got=x)
    return ReshapeAttrs((*rest[:-1], int(share)))


class _Resizer:
    def __init__(self, graph: Graph, choose: Choose) -> None:
        self.graph, self.choose = graph, choose
        self.free = {node.name for node in adjustable(graph).values()}
        self.made: dict[str, Node] = {}

    def weighted(self, node: Node) -> Node:
        """A layer with weights, its constants made anew before it."""
        x = self.made[node.inputs[0]].shape
        kernel = self.graph.by_name[node.inputs[1]]
        old = node.shape[-1]
        outputs = self.choose(node) if node.name in self.free else old
        if node.op == "depthwise_conv2d":
            outputs = x[3] * kernel.shape[3]
        weights = _zeros(f"{node.name}/kernel", _kernel_shape(node, kernel.shape, x, outputs), kernel.fix)
        names = [node.inputs[0], weights.name]
        self.made[weights.name] = weights
        for index, name in enumerate(node.inputs[2:]):
            extra = _zeros(f"{node.name}/constant{index}", (outputs,), self.graph.by_name[name].fix)
            self.made[extra.name] = extra
            names.append(extra.name)
        return node.replace(inputs=tuple(names))

    def constant(self, node: Node, name: str) -> str:
        """A constant operand of a sum or product, with the other operand's channels."""
        made = self.made[name]
        other = next(self.made[one] for one in node.inputs if self.graph.by_name[one].data is None)
        if made.data is None or not made.shape or made.shape[-1] in (1, other.shape[-1]):
            return name
        fitting = _zeros(f"{node.name}/{name}", (*made.shape[:-1], other.shape[-1]), made.fix)
        self.made[fitting.name] = fitting
        return fitting.name

    def add(self, node: Node) -> None:
        if node.op in ("input", "const"):
            self.made[node.name] = node
            return
        before = self.graph.by_name[node.inputs[0]].shape
        if node.op in (*_CHOOSES, "depthwise_conv2d"):
            node = self.weighted(node)
        elif node.op == "reshape":
            node = node.replace(attrs=_reshaped(node, before, self.made[node.inputs[0]].shape))
        else:
            node = node.replace(inputs=tuple(self.constant(node, name) for name in node.inputs))
        try:
            shape = output_shape(node, {name: self.made[name].shape for name in node.inputs})
        except GraphError as error:
            raise GraphError("the layer does not fit other channels", where=f"layer '{node.layer}'", got=error.got,
                             remedy=_REMEDY) from None
        if node.op in ("add", "mul") and any(self.made[x].shape != shape for x in node.inputs
                                             if self.made[x].data is None):
            raise GraphError("the layer does not fit other channels", where=f"layer '{node.layer}'",
                             got=" and ".join(str(self.made[x].shape) for x in node.inputs), remedy=_REMEDY)
        self.made[node.name] = node.replace(shape=shape)


def with_channels(graph: Graph, choose: Choose) -> Graph:
    """The network with ``choose(layer)`` output channels in every layer that may have others."""
    resizer = _Resizer(graph, choose)
    for node in graph.nodes:
        resizer.add(node)
    read = {name for node in resizer.made.values() for name in node.inputs} | set(graph.outputs)
    return verify(graph.replace(node for node in resizer.made.values() if node.data is None or node.name in read))
