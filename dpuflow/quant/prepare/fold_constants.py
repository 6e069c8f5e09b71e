"""What depends on constants alone becomes a constant (quantizer specification, section 3.2, step 4).

Hand-written batch normalisation loses its arithmetic on variables here. The vendor's tool calls a
new constant ``<node>__cf__<number>`` with a number that depends on what ran before; here it keeps
the node's name.
"""

from __future__ import annotations

import heapq
from collections import defaultdict

from dpuflow.errors import GraphError
from dpuflow.formats.graphdef import TFGraph, TFNode, base_name, const_node
from dpuflow.formats.tf_constants import FOLDABLE, fold
from dpuflow.quant.config import QuantizeConfig


def import_order(graph: TFGraph) -> tuple[TFNode, ...]:
    """Operands before readers, otherwise the file's order: how TensorFlow imports a graph."""
    index = {node.name: at for at, node in enumerate(graph.nodes)}
    left = [len(node.inputs) for node in graph.nodes]
    readers: dict[int, list[int]] = defaultdict(list)
    for at, node in enumerate(graph.nodes):
        for name in node.inputs:
            readers[index[base_name(name)]].append(at)
    ready = [at for at, count in enumerate(left) if count == 0]
    order = []
    while ready:
        at = heapq.heappop(ready)
        order.append(graph.nodes[at])
        for reader in readers[at]:
            left[reader] -= 1
            if left[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) != len(graph.nodes):
        raise GraphError("the graph has a cycle", where=graph.source)
    return tuple(order)


def _needed(nodes: tuple[TFNode, ...], config: QuantizeConfig) -> set[str]:
    """What the outputs depend on; ``nodes`` with operands first."""
    needed = {*config.output_nodes, *config.input_nodes}
    for node in reversed(nodes):
        if node.name in needed:
            needed.update(base_name(name) for name in node.inputs)
    return needed


def fold_constants(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """Fold; nodes in TensorFlow's order of import, new constants and then the inputs at the end."""
    made: dict[str, TFNode] = {}
    kept: list[TFNode] = []
    constants: list[TFNode] = []
    ends = {*config.input_nodes, *config.output_nodes}
    for node in import_order(graph):
        operands = [made[name].tensor() for name in node.operands if name in made]
        folds = node.op in FOLDABLE and operands and len(operands) == len(node.operands) and node.name not in ends
        if folds:
            node = const_node(node.name, fold(node, operands))
            constants.append(node)
        elif node.name not in config.input_nodes:
            kept.append(node)
        if node.op == "Const":
            made[node.name] = node
    inputs = [graph.node(name) for name in config.input_nodes]
    needed = _needed((*inputs, *constants, *kept), config)
    return graph.replace(_without_shapes(node) for node in (*kept, *constants, *inputs) if node.name in needed)


def _without_shapes(node: TFNode) -> TFNode:
    """Recorded output shapes are out of date after folding; the vendor's tool drops them here too."""
    return node.with_attrs(drop=("_output_shapes",)) if "_output_shapes" in node.attrs else node
