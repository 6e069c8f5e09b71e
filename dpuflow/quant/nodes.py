"""Which part of a frozen network the quantizer is given: its inputs, and where quantization ends."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote

from dpuflow.formats.graphdef import TFGraph
from dpuflow.formats.tf_import import import_tf
from dpuflow.ir.graph import Graph
from dpuflow.passes.as_if_quantized import as_if_quantized

FLOAT_LAYERS = ("lstm",)  # operators with weights that have no fixed-point form


@dataclass(frozen=True)
class QuantizeNodes:
    """Inputs and outputs for ``decent_q``; ``has_tail``: layers with weights stay in float behind the outputs."""

    inputs: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    outputs: tuple[str, ...]
    has_tail: bool

    def shell_text(self) -> str:
        """The same as shell variables, as ``quantize/decent_q.sh`` and ``compile/dnnc.sh`` read them."""
        shapes = ":".join(",".join(("?", *map(str, shape[1:]))) for shape in self.shapes)
        values = {"INPUT_NODES": ",".join(self.inputs), "INPUT_SHAPES": shapes, "OUTPUT_NODES": ",".join(self.outputs),
                  "HAS_TAIL": "yes" if self.has_tail else ""}
        return "".join(f"{name}={quote(value)}\n" for name, value in values.items())


def crossings(graph: Graph) -> tuple[str, ...]:
    """The int8 tensors that float operators of a quantized network read, in order."""
    return tuple(node.name for node in graph.nodes if node.fix and node.data is None
                 and any(graph.by_name[user].fix is None for user in graph.users[node.name]))


def quantize_nodes(graph: TFGraph) -> QuantizeNodes:
    """The nodes to give to the quantizer.

    Quantization ends at the network's outputs; where layers with weights can only be computed in
    float (an LSTM), it ends at the tensors that cross to them.
    """
    sinks = tuple(node.name for node in graph.sinks)
    network = import_tf(graph, sinks)
    has_tail = any(node.op in FLOAT_LAYERS for node in network.nodes)
    return QuantizeNodes(tuple(node.name for node in network.inputs), tuple(node.shape for node in network.inputs),
                         crossings(as_if_quantized(network)) if has_tail else sinks, has_tail)
