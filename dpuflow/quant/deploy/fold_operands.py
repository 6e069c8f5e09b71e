"""Constant operands of some operators become attributes (quantizer specification, section 8)."""

from __future__ import annotations

from dpuflow.errors import QuantizeError
from dpuflow.formats.graphdef import TFGraph, TFNode
from dpuflow.quant.deploy.convert import copy_attr

# Operator: which operand, and the attribute that it becomes.
OPERANDS = {
    "Mean": (-1, "reduction_indices"), "Pad": (-1, "paddings"), "Concat": (0, "axis"), "ConcatV2": (-1, "axis"),
    "ArgMax": (-1, "dimension"), "Reshape": (-1, "shape"), "ExpandDims": (-1, "dim"),
}


def _folded(graph: TFGraph, node: TFNode, index: int, attribute: str) -> TFNode:
    operand = graph.node(node.operands[index])
    if operand.op != "Const":
        raise QuantizeError(f"[DEPLOY ERROR] Expect const node for node{node.name}({node.op})'s param, but "
                            f"{operand.op}({operand.name}) found.", where=f"node '{node.name}'",
                            remedy="cut the graph before it with --output_nodes")
    kept = tuple(name for at, name in enumerate(node.inputs) if at != index % len(node.operands))
    return copy_attr(operand, "value", node.replace(inputs=kept), attribute)


def fold_operands(graph: TFGraph) -> TFGraph:
    """Axes, paddings and shapes move into their readers; constants that only those read go."""
    dropped: set[str] = set()
    nodes = []
    for node in graph.nodes:
        if node.op in OPERANDS and len(node.operands) > 1:
            index, attribute = OPERANDS[node.op]
            dropped.add(node.operands[index])
            node = _folded(graph, node, index, attribute)
        nodes.append(node)
    read = {name for node in nodes for name in node.operands}
    return graph.replace(node for node in nodes if node.name not in dropped or node.name in read)
