"""FixNeurons as standard TensorFlow operators, bit for bit.

    scaled = x * 2**pos, rounded to the nearest even; a tie shows as a difference of one half
    half up:   nearest + (scaled - nearest == 1/2)
    half away: the same on |scaled|, with the sign put back; a zero keeps its sign
    then NaN becomes the lower bound, both bounds, times 2**-pos

Quantizer specification, section 4; arithmetic specification, section 2. Only operators that exist
in every release since 1.0 are used.
"""

from __future__ import annotations

from dpuedge import fixed
from dpuflow.errors import QuantizeError
from dpuflow.formats.graphdef import TFGraph, TFNode, new_node
from dpuflow.formats.tf_values import FLOAT
from dpuflow.tensorflow.expand_training import training_expansion
from dpuflow.tensorflow.expansion import Expansion

EVALUATION = 1  # FixNeuron phase: quantize with the given position


def expansion(fix: TFNode) -> list[TFNode]:
    """The nodes that compute what a FixNeuron computes in its evaluation phase; the last keeps its name."""
    pos, bits, mode = fix.get("quantize_pos"), fix.get("bit_width"), fix.get("mode", 1)
    if not isinstance(pos, int) or not isinstance(bits, int):
        raise QuantizeError("a FixNeuron without position or width", where=f"node '{fix.name}'",
                            remedy="use the evaluation graph of `decent_q quantize`")
    if pos == fixed.ALL_ZERO_POS:
        return [new_node(fix.name, "ZerosLike", fix.inputs, T=FLOAT)]
    made = Expansion(fix)
    scaled = made.add("Mul", fix.inputs[0], made.number(2.0**pos))
    rounded = made.half_up(scaled) if mode == 1 else made.half_away(scaled)
    low, high = fixed.int_range(bits)
    clamped = made.clamp(rounded, low, high)
    back = made.number(2.0**-pos)
    return [*made.nodes, new_node(fix.name, "Mul", (clamped, back), T=FLOAT)]


def expand_fix_neurons(graph: TFGraph) -> TFGraph:
    """A graph that TensorFlow loads as it is, with the same names and the same values."""
    def expanded(fix: TFNode) -> list[TFNode]:
        return expansion(fix) if fix.get("phase", EVALUATION) == EVALUATION else training_expansion(fix)

    nodes: list[TFNode] = []
    for node in graph.nodes:
        nodes.extend(expanded(node) if node.op == "FixNeuron" else (node,))
    return graph.replace(nodes)
