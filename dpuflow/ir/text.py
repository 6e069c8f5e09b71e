"""A graph as text, one line a node: for people, golden tests and differences."""

from __future__ import annotations

import dataclasses

import numpy as np

from dpuflow.ir.graph import Graph, Node


def _attrs(node: Node) -> str:
    parts = []
    for field in dataclasses.fields(node.attrs):
        value = getattr(node.attrs, field.name)
        if value != field.default:
            text = "+".join(map(str, value)) if field.name == "padding" else str(value).replace(" ", "")
            parts.append(f"{field.name}={text}")
    return " ".join(parts)


def _data(node: Node) -> str:
    if node.data is None:
        return ""
    if node.data.size <= 4:
        return "= " + np.array2string(node.data.reshape(-1), separator=",")
    return f"= {node.data.dtype}[{node.data.min():.6g} .. {node.data.max():.6g}]"


def node_text(node: Node) -> str:
    """One node: name: type = op(operands) attributes."""
    kind = f"int{node.fix.bits}@{node.fix.pos}" if node.fix else "float32"
    shape = "x".join(map(str, node.shape)) or "scalar"
    parts = [f"{node.name}: {kind} {shape} = {node.op}({', '.join(node.inputs)})", _attrs(node), _data(node)]
    return " ".join(part for part in parts if part)


def graph_text(graph: Graph) -> str:
    """The whole graph, ending with its outputs."""
    lines = [f"graph {graph.name}", *("  " + node_text(node) for node in graph.nodes)]
    return "\n".join([*lines, "  outputs " + ", ".join(graph.outputs)]) + "\n"
