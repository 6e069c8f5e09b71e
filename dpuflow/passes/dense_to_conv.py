"""dense(x, w, b) -> a convolution whose kernel covers the whole map.

    y: 1x63 = dense(x, w, b)    ->    y/map: 1x1x1x63 = conv2d(x/map, w', b)
                                      y: 1x63 = reshape(y/map)

Where the dense layer reads a reshape of a map, the kernel takes that map's size and the reshape
is not needed (the order of a NHWC flatten is that of the kernel: board specification, section 5).
"""

from __future__ import annotations

import dataclasses

from dpuflow.ir.graph import Graph, Node, const
from dpuflow.ops.conv import ConvAttrs
from dpuflow.ops.movement import ReshapeAttrs
from dpuflow.passes.mean_to_pool import flattened


def _as_map(x: Node, made: dict[str, Node]) -> tuple[Node, list[Node]]:
    """A 4-D tensor with the values of ``x`` in NHWC order, and the nodes it takes."""
    if x.op == "reshape":
        source = made[x.inputs[0]]
        if len(source.shape) == 4 and source.fix == x.fix:
            return source, []
    shape = (x.shape[0], 1, 1, x.shape[1])
    viewed = Node(f"{x.name}/as_map", "reshape", (x.name,), ReshapeAttrs(shape[1:]), shape, x.fix)
    return viewed, [] if viewed.name in made else [viewed]


def _convolution(node: Node, made: dict[str, Node]) -> list[Node]:
    x, weights = made[node.inputs[0]], made[node.inputs[1]]
    assert weights.data is not None
    source, added = _as_map(x, made)
    _, h, w, c = source.shape
    kernel = const(f"{node.name}/as_kernel", weights.data.reshape(h, w, c, -1), weights.fix)
    attrs = dataclasses.replace(ConvAttrs(), nonlinear=node.attrs.nonlinear)
    shape = (node.shape[0], 1, 1, node.shape[1])
    conv = Node(node.name, "conv2d", (source.name, kernel.name, *node.inputs[2:]), attrs, shape, node.fix)
    return [*added, kernel, *flattened(node, conv)]


def dense_to_conv(graph: Graph) -> Graph:
    """Replace each quantized dense layer with constant weights by a convolution."""
    made: dict[str, Node] = {}
    for node in graph.nodes:
        fits = node.op == "dense" and node.fix is not None and graph.by_name[node.inputs[1]].data is not None
        for new in _convolution(node, made) if fits else [node]:
            made[new.name] = new
    return graph.replace(made.values())
