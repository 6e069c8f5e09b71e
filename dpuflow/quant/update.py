"""``decent_q update``: FixNeurons of files before release 2.0 get their ``T`` (quantizer specification, section 11)."""

from __future__ import annotations

from dpuflow.errors import QuantizeError
from dpuflow.formats.graphdef import TFGraph
from dpuflow.formats.tf_values import FLOAT


def add_types(graph: TFGraph) -> TFGraph:
    """The same graph with ``T`` = float on every FixNeuron; QuantizeError if it holds none."""
    if not any(node.op == "FixNeuron" for node in graph.nodes):
        raise QuantizeError("the graph holds no FixNeuron", where=graph.source, expected="quantize_eval_model.pb",
                            remedy="run `decent_q quantize` first")
    return graph.replace(node.with_attrs(T=FLOAT) if node.op == "FixNeuron" else node for node in graph.nodes)
