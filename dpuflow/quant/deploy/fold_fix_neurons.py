"""FixNeurons become attributes: ``wpos`` and quantized values of constants, ``opos`` of other nodes.

Quantizer specification, section 8, step 3.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from dpuedge import fixed
from dpuflow.errors import QuantizeError
from dpuflow.formats.graphdef import TFGraph, TFNode, const_node
from dpuflow.formats.tf_values import FLOAT
from dpuflow.ir.graph import Array
from dpuflow.quant.patterns import ANY, op
from dpuflow.quant.rewrite import Edit, replace_matches, replace_until_stable

_FIX = op("fix", "FixNeuron", ANY)
_TWO_FIXES = op("second", "FixNeuron", op("first", "FixNeuron"))


def quantized_constant(data: Array, bits: int, pos: int) -> Array:
    """A float32 constant on its grid, rounded half away; the sign of a zero stays."""
    if pos == fixed.ALL_ZERO_POS:
        return data
    return fixed.snap(data, pos, "half_away", bits)


def _merge_pair(graph: TFGraph, roles: Mapping[str, str]) -> Edit:
    """The first of two FixNeurons in a row decides."""
    first, second = graph.node(roles["first"]), graph.node(roles["second"])
    kept, dropped = first.get("quantize_pos"), second.get("quantize_pos")
    if kept != dropped:
        warnings.warn(f"[DECENT_WARNING] Found duplicate FixNeuron nodes with different quantize_pos: {second.name}"
                      f"({dropped}) != {first.name}({kept}), use quantize pos: {kept}", stacklevel=2)
    return Edit((first,), {second.name: first.name})


def _position(fix: TFNode) -> tuple[int, int]:
    bits, pos = fix.get("bit_width"), fix.get("quantize_pos")
    if not isinstance(bits, int) or not isinstance(pos, int):
        raise QuantizeError(f"[DEPLOY ERROR] Cannot find quantize info for {fix.name}", where=f"node '{fix.name}'",
                            remedy="run `decent_q quantize` first")
    return bits, pos


def _fold(graph: TFGraph, roles: Mapping[str, str]) -> Edit:
    fix, node = graph.node(roles["fix"]), graph.node(roles["input"])
    bits, pos = _position(fix)
    rename = {fix.name: node.name}
    if node.op != "Const":
        return Edit((node.with_attrs(opos=(bits, pos)),), rename)
    if node.get("dtype") != FLOAT:
        return Edit((node,), rename)
    made = const_node(node.name, quantized_constant(node.tensor(), bits, pos))
    placed = made.with_attrs(opos=(bits, pos)) if fix.get("mode") == 1 else made.with_attrs(wpos=(bits, pos))
    return Edit((placed,), rename)


def fold_fix_neurons(graph: TFGraph) -> TFGraph:
    """The graph without FixNeurons; each producer stands where its FixNeuron stood."""
    graph = replace_until_stable(graph, _TWO_FIXES, _merge_pair)
    return replace_matches(graph, _FIX, _fold)[0]
