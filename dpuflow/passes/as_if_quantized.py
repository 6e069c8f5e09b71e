"""A float network with made-up positions: for estimates, where values do not matter.

Batch normalisation folds away, as it does in quantization; softmax and what reads a float tensor stay
float, on the CPU.
"""

from __future__ import annotations

import numpy as np

from dpuflow.ir.graph import Fix, Graph, Node, const
from dpuflow.ir.verify import verify
from dpuflow.ops import get_op
from dpuflow.passes.fold_batch_norm import fold_batch_norm
from dpuflow.passes.fold_channel_arithmetic import fold_channel_arithmetic
from dpuflow.passes.fuse_bias import fuse_bias
from dpuflow.passes.fuse_nonlinear import fuse_leaky_maximum, fuse_nonlinear
from dpuflow.passes.leaky_slope import set_leaky_slope
from dpuflow.passes.prune import prune

_POSITION = Fix(4)  # with weights at 4 too: shift_cut 4, shift_bias 4, inside every limit
_NEVER_QUANTIZED = ("softmax",)


def fixed_nodes(graph: Graph) -> set[str]:
    """The nodes that quantization reaches: inputs, and operators with a fixed-point form behind such nodes."""
    found: set[str] = set()
    for node in graph.nodes:
        computed = [operand.name for operand in graph.operands(node) if operand.data is None]
        able = get_op(node.op).fixed is not None and node.op not in _NEVER_QUANTIZED and found.issuperset(computed)
        if node.op == "input" or (node.data is None and able):
            found.add(node.name)
    return found


def _integer_constants(graph: Graph, fixed: set[str]) -> dict[str, Node]:
    """For every constant that a quantized node reads its integer form; zeros of any size take no memory."""
    read = {name for node in graph.nodes if node.name in fixed for name in node.inputs}
    return {node.name: const(f"{node.name}/as_int8", np.broadcast_to(np.int8(0), node.shape), _POSITION)
            for node in graph.nodes if node.data is not None and node.name in read}


def as_if_quantized(graph: Graph) -> Graph:
    """The quantized graph's shape with zero weights; never to be run for its values."""
    for step in (fold_batch_norm, fold_channel_arithmetic, fuse_bias, set_leaky_slope, fuse_leaky_maximum,
                 fuse_nonlinear, prune):
        graph = step(graph)
    fixed = fixed_nodes(graph)
    integers = _integer_constants(graph, fixed)
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name in fixed:
            operands = tuple(integers[name].name if name in integers else name for name in node.inputs)
            node = node.replace(fix=_POSITION, inputs=operands)
        nodes += [node, integers[node.name]] if node.name in integers else [node]
    return verify(prune(graph.replace(nodes)))
