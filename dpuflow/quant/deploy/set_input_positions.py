"""Every node is told the positions of what it reads (quantizer specification, section 8)."""

from __future__ import annotations

import warnings

from dpuflow.formats.graphdef import TFGraph, TFNode


def set_input_positions(graph: TFGraph) -> TFGraph:
    """``ipos`` is the producers' ``opos`` in operand order; a node with an operand that has none is named."""
    nodes: list[TFNode] = []
    for node in graph.nodes:
        positions = [operand.get("opos", ()) for operand in graph.operands(node)]
        missing = next((name for name, pos in zip(node.operands, positions, strict=True) if not pos), None)
        if missing is not None:
            warnings.warn(
                f"[DECENT_WARNING] Node {node.name}(Type: {node.op}) is not quantized and cannot be deployed to DPU,"
                f"because it has unquantized input node: {missing}. Please deploy it on CPU.", stacklevel=3)
        ipos = [number for pos in positions for number in pos]
        nodes.append(node.with_attrs(ipos=ipos) if ipos else node)
    return graph.replace(nodes)
