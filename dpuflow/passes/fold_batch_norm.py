"""batch_norm(conv(x, w)) -> bias_add(conv(x, w * scale), offset), under the normalisation's name.

    c = conv2d(x, w)
    y = batch_norm(c, gamma, beta, mean, variance)    ->    c = conv2d(x, w'), y = bias_add(c, b')

A bias between the two is taken along. A normalisation that follows anything else stays.
"""

from __future__ import annotations

import numpy as np

from dpuflow.ir.graph import Array, Graph, Node, const, rebuild
from dpuflow.ops.normalization import batch_norm_terms
from dpuflow.passes.fuse_bias import COMPUTE, only_reader
from dpuflow.passes.prune import prune


def _scaled(weights: Array, scale: Array, op: str) -> Array:
    """Weights times one factor per output channel."""
    factors = scale.reshape(weights.shape[2:]) if op == "depthwise_conv2d" else scale
    if op == "transposed_conv2d":
        factors = scale.reshape(-1, 1)
    return np.asarray(weights * factors, np.float32)


def _compute_before(graph: Graph, node: Node) -> tuple[Node, Node | None] | None:
    """The convolution that a normalisation follows, and the bias addition between, if there is one."""
    first = graph.by_name[node.inputs[0]]
    bias = first if first.op == "bias_add" else None
    compute = graph.by_name[bias.inputs[0]] if bias else first
    alone = only_reader(graph, compute.name) and only_reader(graph, first.name)
    if compute.op not in COMPUTE or len(compute.inputs) != 2 or not alone:
        return None
    constant = all(x.data is not None for x in (*graph.operands(node)[1:], graph.by_name[compute.inputs[1]]))
    return (compute, bias) if constant else None


def fold_batch_norm(graph: Graph) -> Graph:
    """Fold each frozen batch normalisation into the convolution or dense layer before it."""
    made: dict[str, list[Node]] = {}
    dropped: set[str] = set()
    for node in graph.nodes:
        found = _compute_before(graph, node) if node.op == "batch_norm" else None
        if found is None:
            continue
        compute, bias = found
        gamma, beta, mean, variance = (np.asarray(x.data) for x in graph.operands(node)[1:])
        scale, offset = batch_norm_terms(gamma, beta, mean, variance, node.attrs.epsilon)
        if bias is not None:
            offset = offset + np.asarray(graph.by_name[bias.inputs[1]].data).reshape(-1) * scale
            dropped.add(bias.name)
        kernel = np.asarray(graph.by_name[compute.inputs[1]].data)
        weights = const(f"{node.name}/folded_kernel", _scaled(kernel, scale, compute.op))
        bias_node = const(f"{node.name}/folded_bias", np.asarray(offset, np.float32))
        made[compute.name] = [weights, compute.replace(inputs=(compute.inputs[0], weights.name))]
        made[node.name] = [bias_node, Node(node.name, "bias_add", (compute.name, bias_node.name), shape=node.shape)]
    nodes = [new for node in graph.nodes for new in made.get(node.name, [node]) if node.name not in dropped]
    return prune(rebuild(graph.replace(nodes), {}, {}))
