"""Every layer gets weights of its own (quantizer specification, section 3.2, step 2)."""

from __future__ import annotations

from dpuflow.formats.graphdef import TFGraph, TFNode
from dpuflow.quant.config import QuantizeConfig

_SHARING = frozenset({"Conv2D", "DepthwiseConv2d", "DepthwiseConv2dNative", "MatMul", "Conv3D", "BiasAdd"})


def _shared_operand(graph: TFGraph, node: TFNode) -> str | None:
    if node.op not in _SHARING or len(node.operands) < 2:
        return None
    name = node.operands[1]
    return name if graph.node(name).op == "Const" else None


def _free_name(graph: TFGraph, stem: str, count: int) -> tuple[str, int]:
    """``<stem><count>``, counting on past names that are taken."""
    while f"{stem}{count}" in graph.by_name:
        count += 1
    return f"{stem}{count}", count


def split_shared_constants(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """Each second operand moves before its first reader; later readers get copies ``<const><k>``."""
    shared = {node.name: name for node in graph.nodes if (name := _shared_operand(graph, node)) is not None}
    moved = set(shared.values())
    uses: dict[str, int] = {}
    nodes: list[TFNode] = []
    for node in graph.nodes:
        if node.name in moved:
            continue
        name = shared.get(node.name)
        if name is None:
            nodes.append(node)
            continue
        if name not in uses:
            uses[name] = 0
            nodes += [graph.node(name), node]
            continue
        copy, uses[name] = _free_name(graph, name, uses[name] + 1)
        nodes += [graph.node(name).replace(name=copy), node.replace(inputs=(node.inputs[0], copy, *node.inputs[2:]))]
    return graph.replace(nodes)
