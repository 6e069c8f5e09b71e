"""Positions that the DPU cannot shift between (arithmetic specification, section 8), layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dpuflow.analysis.layers import COMPUTE, Layer
from dpuflow.formats.graphdef import TFGraph
from dpuflow.quant.adjust import SHIFT_MAX
from dpuflow.quant.positions import tensor_kind


def layer_roles(evaluation: TFGraph, layer: Layer) -> tuple[str, str, str, str | None] | None:
    """The FixNeurons of a compute layer's input, weights, output and bias; None for other layers."""
    kinds = {tensor_kind(evaluation, evaluation.by_name[name]): name for name in layer.weights}
    if layer.op not in COMPUTE or layer.output is None or len(layer.inputs) != 1 or "weights" not in kinds:
        return None
    return layer.inputs[0], kinds["weights"], layer.output, kinds.get("bias")


def illegal_shifts(evaluation: TFGraph, layers: Iterable[Layer], positions: Mapping[str, int]) -> list[str]:
    """What the DPU cannot shift with these positions, in words: one line for each fault."""
    lines = []
    for layer in layers:
        roles = layer_roles(evaluation, layer)
        if roles is None:
            continue
        i, w, o = (positions[name] for name in roles[:3])
        cut = i + w - o
        if not 0 <= cut <= SHIFT_MAX:
            lines.append(f"{layer.name}: shift_cut {i} + {w} - {o} = {cut}, the DPU shifts by 0 to {SHIFT_MAX}")
        bias = None if roles[3] is None else positions[roles[3]]
        low = min(0, -(24 - (8 + cut)))
        if bias is not None and not low <= i + w - bias <= SHIFT_MAX:
            lines.append(f"{layer.name}: shift_bias {i} + {w} - {bias} = {i + w - bias}, "
                         f"the DPU shifts by {low} to {SHIFT_MAX}")
    return lines
