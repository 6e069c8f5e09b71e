"""The outcome of a quantization in a few lines for the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHOWN = 8


def quantization_text(record: Mapping[str, Any]) -> str:
    """Accuracy, the dearest layers with their remedies, bias modes, other widths."""
    lines = [f"recipe: {record['recipe']}; {len(record['positions'])} tensors quantized"]
    lines += _trials(record.get("search"))
    lines += _accuracy(record.get("accuracy") or {}) + _closeness(record) + _layers(record)
    lines += _bias_modes(record.get("bias_modes", ())) + _what_if(record.get("what_if", ()))
    return "\n".join([*lines, record["note"]])


def _trials(search: Mapping[str, Any] | None) -> list[str]:
    """What the search tried, in order; the one that was kept is marked."""
    if not search:
        return []
    lines = [f"tried {len(search['trials'])} plans, judged by {search['judged_by']}: {search['ended']}"]
    for trial in search["trials"]:
        drop = "" if trial["drop_points"] is None else f"{trial['drop_points']:+.3f} points, "
        lines.append(f" {'*' if trial['plan'] == search['best'] else ' '}{trial['plan']:<44} {drop}"
                     f"output noise {trial['output_noise']:.2e}, {_agreement(trial['fine_biases'])}"
                     f"{trial['seconds']:.1f} s")
    return lines


def _agreement(fine_biases: int) -> str:
    return f"bias modes differ in {fine_biases} layer{'s' * (fine_biases > 1)}, " if fine_biases else ""


def _accuracy(accuracy: Mapping[str, Any]) -> list[str]:
    if not accuracy:
        return []
    lost = accuracy["drop_points"]
    return [f"accuracy: float {accuracy['float']:.4f}, quantized {accuracy['quantized']:.4f}, "
            f"{abs(lost):.2f} points {'lost' if lost >= 0 else 'won'} ({accuracy['measure']})"]


def decibels(value: float | None) -> str:
    """A ratio in dB; exact without noise."""
    return "exact" if value is None else f"{value:.1f} dB"


def _closeness(record: Mapping[str, Any]) -> list[str]:
    near = record.get("closeness")
    if not near:
        return []
    return [f"against float on {near['images']} images: output {decibels(near['output_sqnr_db'])}, "
            f"same answer {near['agreement_with_float']:.2%}"]


def _layers(record: Mapping[str, Any]) -> list[str]:
    layers = record.get("layers", ())
    if not layers:
        return []
    lines = [f"dearest layers: {record['cost_is']}"]
    for layer in layers[:SHOWN]:
        cost = f"{100 * layer['cost']:+.2f} points" if record["cost_unit"] == "accuracy" else f"{layer['cost']:+.1%}"
        lines.append(f"  {layer['name']:<40} {cost:>14}  {'; '.join(layer['remedies'][:1])}".rstrip())
    return lines


def _bias_modes(modes: Any) -> list[str]:
    return [f"bias finer than the accumulator: {mode['layer']} (shift_bias {mode['shift_bias']}): exact and prerounded "
            f"differ in {mode['different']} of {mode['values']} values" for mode in modes]


def _what_if(outcomes: Any) -> list[str]:
    lines = []
    for outcome in outcomes:
        accuracy = "" if outcome["accuracy"] is None else f"accuracy {outcome['accuracy']:.4f}, "
        lines.append(f"what if {outcome['widths']}: {accuracy}output {decibels(outcome['output_sqnr_db'])}, "
                     f"same answer {outcome['agreement_with_float']:.2%} ({outcome['note']})")
    return lines
