"""Other forms for layers that a core cannot compute as they stand; every one yields the same integers.

``fit`` tries the rewrites below in order on each node that breaks a limit, and takes the first
whose nodes all keep theirs. What no rewrite cures goes to the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dpuflow.compiler.placement import place
from dpuflow.compiler.rewrites import (
    activation_to_conv,
    average_to_depthwise,
    channels_to_columns,
    requantize,
    split_max_pool,
    split_output_channels,
)
from dpuflow.compiler.rewrites.base import Rewrite
from dpuflow.ir.graph import Graph, Node
from dpuflow.ir.verify import infer_shapes, verify
from dpuflow.target.arch import Core

REWRITES: tuple[Rewrite, ...] = (
    requantize.REWRITE,
    channels_to_columns.REWRITE,
    split_output_channels.REWRITE,
    split_max_pool.REWRITE,
    average_to_depthwise.REWRITE,
    activation_to_conv.DEPTHWISE,
    activation_to_conv.PLAIN,
)


_DEPTH = 3  # rewrites of rewrites: as many limits as one layer may break


@dataclass(frozen=True)
class Fitted:
    """A graph in forms that a core has, as far as there are such; ``notes``: node name -> what was done."""

    graph: Graph
    notes: Mapping[str, str]


def _shaped(graph: Graph, nodes: list[Node], outputs: tuple[str, ...]) -> Graph:
    """The nodes with the operands they read, as a graph of its own."""
    inside = {node.name for node in nodes}
    read = dict.fromkeys(name for node in nodes for name in node.inputs if name not in inside)
    feeds = [node if node.data is not None else Node(node.name, "input", shape=node.shape, fix=node.fix)
             for node in map(graph.node, read)]
    return infer_shapes(Graph(graph.name, (*feeds, *nodes), outputs))


def _cure(graph: Graph, node: Node, core: Core, depth: int = _DEPTH) -> tuple[list[Node], str] | None:
    """The nodes that take the place of one that breaks limits, and what to tell of them.

    A rewrite may cure one limit of several: its nodes are then rewritten in turn.
    """
    broken = {violation.limit for violation in place(graph, node, core).violations}
    for rewrite in REWRITES if broken and depth else ():
        made = list(rewrite.build(graph, node, core)) if broken & rewrite.limits else []
        shaped = _shaped(graph, made, (node.name,)) if made else graph
        if made and shaped.by_name[made[-1].name].shape == node.shape:
            found = _all_cured(shaped, [shaped.by_name[one.name] for one in made], core, depth - 1)
            if found:
                sentences = dict.fromkeys([rewrite.sentence, *found[1]])
                return found[0], ", ".join(sentences)
    return None


def _all_cured(graph: Graph, nodes: list[Node], core: Core, depth: int) -> tuple[list[Node], list[str]] | None:
    """The nodes with those among them that break limits rewritten; None if one cannot be."""
    made: list[Node] = []
    sentences: list[str] = []
    for node in nodes:
        if node.data is not None or place(graph, node, core).device == "DPU":
            made.append(node)
            continue
        found = _cure(graph, node, core, depth)
        if found is None:
            return None
        made += found[0]
        sentences.append(found[1])
    return made, sentences


def fit(graph: Graph, core: Core) -> Fitted:
    """Rewrite what breaks the core's limits and can be written otherwise."""
    nodes: list[Node] = []
    notes: dict[str, str] = {}
    for node in graph.nodes:
        found = None if node.op in ("input", "const") else _cure(graph, node, core)
        nodes += found[0] if found else [node]
        if found:
            notes |= {made.name: found[1] for made in found[0] if made.data is None}
    if not notes:
        return Fitted(graph, {})
    read = {name for node in nodes for name in node.inputs} | set(graph.outputs)
    kept = [node for node in nodes if node.data is None or node.name in read]
    return Fitted(verify(graph.replace(kept)), notes)
