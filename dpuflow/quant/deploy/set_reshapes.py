"""New shapes become constants for a batch of 1 (quantizer specification, section 8, step 2)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dpuflow.formats.graphdef import TFGraph, const_node
from dpuflow.formats.tf_import import import_tf
from dpuflow.ir.graph import Shape
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.patterns import ANY, anything, op
from dpuflow.quant.rewrite import Edit, replace_matches

_RESHAPED = op("node", "Reshape ResizeNearestNeighbor", ANY, anything("shape"))


def set_reshapes(graph: TFGraph, outputs: tuple[str, ...], config: QuantizeConfig) -> TFGraph:
    """Reshape and ResizeNearestNeighbor read ``<node>/shape``, an int32 constant."""
    if not any(node.op in _RESHAPED.ops for node in graph.nodes):
        return graph
    shapes = {node.name: node.shape for node in import_tf(graph, outputs, config.shapes).nodes}

    def replace(graph: TFGraph, roles: Mapping[str, str]) -> Edit | None:
        node = graph.node(roles["node"])
        shape: Shape | None = shapes.get(node.name)
        if shape is None:
            return None
        wanted = shape if node.op == "Reshape" else shape[1:3]
        made = const_node(f"{node.name}/shape", np.array(wanted, np.int32))
        return Edit((graph.node(roles["input"]), made, node.replace(inputs=(node.inputs[0], made.name))))

    return replace_matches(graph, _RESHAPED, replace)[0]
