"""A float network with made-up positions: for estimates, where values do not matter.

Batch normalisation folds away, as it does in quantization; softmax stays float, on the CPU.
"""

from __future__ import annotations

import numpy as np

from dpuflow.ir.graph import Fix, Graph, Node, const, rebuild
from dpuflow.ir.verify import verify
from dpuflow.ops import get_op
from dpuflow.passes.fuse_bias import COMPUTE, fuse_bias
from dpuflow.passes.fuse_nonlinear import fuse_leaky_maximum, fuse_nonlinear
from dpuflow.passes.prune import prune

_POSITION = Fix(4)  # with weights at 4 too: shift_cut 4, shift_bias 4, inside every limit
_NEVER_QUANTIZED = ("softmax",)


def drop_batch_norm(graph: Graph) -> Graph:
    """Readers of a batch normalisation read its operand."""
    rename = {node.name: node.inputs[0] for node in graph.nodes if node.op == "batch_norm"}
    return rebuild(graph, dict.fromkeys(rename), rename)


def _typed(graph: Graph, node: Node, weights: set[str]) -> Node:
    if node.data is not None:
        if node.name not in weights:
            return node
        return const(node.name, np.zeros(node.shape, np.int8), _POSITION)
    if node.op == "input" or (get_op(node.op).fixed is not None and node.op not in _NEVER_QUANTIZED):
        return node.replace(fix=_POSITION)
    return node


def as_if_quantized(graph: Graph) -> Graph:
    """The quantized graph's shape with zero weights; never to be run for its values."""
    for step in (drop_batch_norm, fuse_bias, fuse_leaky_maximum, fuse_nonlinear, prune):
        graph = step(graph)
    weights = {name for node in graph.nodes if node.op in COMPUTE for name in node.inputs[1:]}
    return verify(graph.replace(_typed(graph, node, weights) for node in graph.nodes))
