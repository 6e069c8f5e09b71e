"""mean(x) -> avg_pool over the whole map: the DPU has no mean of its own.

    y: 1x128 = mean(x)    ->    y/map: 1x1x1x128 = avg_pool(x) kernel=(2,2)
                                y: 1x128 = reshape(y/map)
"""

from __future__ import annotations

from dpuflow.ir.graph import Graph, Node
from dpuflow.ops.movement import ReshapeAttrs
from dpuflow.ops.pool import PoolAttrs

MAP_SUFFIX = "/map"  # the 4-D form of a tensor that has 2 dimensions in the network


def flattened(node: Node, inner: Node) -> tuple[Node, Node]:
    """``inner`` under the map name, and a reshape that keeps the node's own name and shape."""
    inner = inner.replace(name=node.name + MAP_SUFFIX, fix=node.fix, label=node.layer)
    return inner, Node(node.name, "reshape", (inner.name,), ReshapeAttrs(node.shape[1:]), node.shape, node.fix,
                       label=node.label)


def mean_to_pool(graph: Graph) -> Graph:
    """Replace each quantized mean by an average pool."""
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op != "mean" or node.fix is None:
            nodes.append(node)
            continue
        n, h, w, c = graph.by_name[node.inputs[0]].shape
        pool = Node(node.name, "avg_pool", node.inputs, PoolAttrs((h, w)), (n, 1, 1, c), node.fix, label=node.label)
        nodes += [pool] if node.attrs.keep_dims else flattened(node, pool)
    return graph.replace(nodes)
