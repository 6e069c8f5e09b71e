"""leaky_relu(x) alpha=0.1 -> leaky_relu(x) alpha=26/256: the DPU's only slope.

The quantizer does the same to the file it writes (arithmetic specification, section 5); another
slope stays, and the compiler sends it to the CPU.
"""

from __future__ import annotations

from dpuflow.ir.graph import Graph
from dpuflow.ops.activation import LeakyAttrs

TRAINED_SLOPE = 0.1
_TOLERANCE = 1e-5


def set_leaky_slope(graph: Graph) -> Graph:
    """Every leaky slope within 1e-5 of 0.1 becomes 26/256."""
    return graph.replace(
        node.replace(attrs=LeakyAttrs())
        if node.op == "leaky_relu" and abs(node.attrs.alpha - TRAINED_SLOPE) < _TOLERANCE else node
        for node in graph.nodes)
