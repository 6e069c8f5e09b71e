"""Where the two readings of a fine bias differ (arithmetic specification, section 4).

A bias with more fraction bits than the accumulator is kept whole by the simulated graph (exact) and
rounded first by the DNNDK compiler (prerounded). Both are computed here on the same inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.engines.base import encode_input
from dpuflow.engines.reference import compute_node
from dpuflow.ir.graph import Array, Graph
from dpuflow.passes.preround_biases import fine_bias, preround_bias


@dataclass
class BiasDifference:
    """One layer with a bias finer than its accumulator, and how often the two modes part."""

    layer: str
    shift_bias: int
    changed_biases: int
    biases: int
    values: int = 0
    different: int = 0
    largest: int = 0

    def as_json(self) -> dict[str, Any]:
        """JSON values; ``largest_difference`` in units of the output's last bit."""
        return {"layer": self.layer, "shift_bias": self.shift_bias, "biases": self.biases,
                "changed_biases": self.changed_biases, "values": self.values, "different": self.different,
                "different_share": self.different / max(self.values, 1), "largest_difference": self.largest}


def bias_differences(graph: Graph, batches: Iterable[Mapping[str, Array]]) -> list[BiasDifference]:
    """Every layer whose bias is finer than its accumulator, exact against prerounded on the same inputs."""
    found: dict[str, tuple[BiasDifference, Graph]] = {}
    for node in graph.nodes:
        fine = fine_bias(graph, node)
        if fine is not None:
            bias, excess = fine
            other = preround_bias(graph, node.name)
            ints = other.operands(other.by_name[node.name])[2].data
            changed = int(np.sum(fixed.shift_up(ints, excess) != bias.data))
            found[node.name] = BiasDifference(node.layer, -excess, changed, bias.data.size), other  # type: ignore[union-attr]
    for batch in batches if found else ():
        _compare(graph, batch, found)
    return [difference for difference, _ in found.values()]


def _compare(graph: Graph, batch: Mapping[str, Array], found: Mapping[str, tuple[BiasDifference, Graph]]) -> None:
    values: dict[str, Array] = {node.name: encode_input(node, batch[node.name]) for node in graph.inputs}
    last = {name: node.name for node in graph.nodes for name in node.inputs}
    for node in graph.nodes:
        if node.op == "input":
            continue
        values[node.name] = node.data if node.data is not None else compute_node(graph, node, values)
        if node.name in found:
            difference, other = found[node.name]
            changed = other.by_name[node.name]
            operands = {**values, **{name: other.by_name[name].data for name in changed.inputs
                                     if name not in values}}
            second = compute_node(other, changed, operands)  # type: ignore[arg-type]
            gap = np.abs(second.astype(np.float64) - values[node.name])
            difference.values += gap.size
            difference.different += int(np.sum(gap > 0))
            difference.largest = max(difference.largest, int(gap.max(initial=0)))
        for name in node.inputs:
            if last[name] == node.name:
                values.pop(name, None)
