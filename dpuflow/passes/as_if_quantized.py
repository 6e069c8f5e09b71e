"""A float network with made-up positions: for estimates, where values do not matter.

Batch normalisation folds away, as it does in quantization; softmax and what reads a float tensor stay
float, on the CPU.
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


def fixed_nodes(graph: Graph) -> set[str]:
    """The nodes that quantization reaches: inputs, and operators with a fixed-point form behind such nodes."""
    found: set[str] = set()
    for node in graph.nodes:
        computed = [operand.name for operand in graph.operands(node) if operand.data is None]
        able = get_op(node.op).fixed is not None and node.op not in _NEVER_QUANTIZED and found.issuperset(computed)
        if node.op == "input" or (node.data is None and able):
            found.add(node.name)
    return found


def _typed(node: Node, fixed: set[str], weights: set[str]) -> Node:
    if node.name in weights:
        return const(node.name, np.zeros(node.shape, np.int8), _POSITION)
    return node.replace(fix=_POSITION) if node.name in fixed else node


def as_if_quantized(graph: Graph) -> Graph:
    """The quantized graph's shape with zero weights; never to be run for its values."""
    for step in (drop_batch_norm, fuse_bias, fuse_leaky_maximum, fuse_nonlinear, prune):
        graph = step(graph)
    fixed = fixed_nodes(graph)
    weights = {name for node in graph.nodes if node.op in COMPUTE and node.name in fixed for name in node.inputs[1:]}
    return verify(graph.replace(_typed(node, fixed, weights) for node in graph.nodes))
