"""What would help a layer, concluded from its numbers; one rule, one sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Tensor = Mapping[str, Any]


@dataclass(frozen=True)
class Symptoms:
    """A layer's tensors as JSON records, and how uneven its weights' channels are."""

    weights: Tensor | None
    bias: Tensor | None
    output: Tensor | None
    channel_spread: float
    depthwise: bool


def _all_zero(s: Symptoms) -> str | None:
    zero = [tensor["name"] for tensor in (s.weights, s.bias, s.output) if tensor and tensor["all_zero"]]
    if not zero:
        return None
    return f"{', '.join(zero)}: all zero; remove what computes it, or calibrate with more varied images"


def _uneven_channels(s: Symptoms) -> str | None:
    if s.weights is None or s.channel_spread < 8:
        return None
    kind = "depthwise weights" if s.depthwise else "weights"
    return (f"one channel's {kind} are {s.channel_spread:.0f} times the median channel's and set the position of all: "
            "equalise across layers (--recipe default or auto)")


def _saturates(s: Symptoms) -> str | None:
    for tensor in (s.output, s.weights):
        if tensor and tensor["saturated_share"] > 0.005:
            return (f"{tensor['saturated_share']:.1%} of '{tensor['name']}' saturates at position {tensor['pos']}: try "
                    f"{tensor['pos'] - 1} (--positions with {{\"{tensor['name']}\": {tensor['pos'] - 1}}})")
    return None


def _unused_range(s: Symptoms) -> str | None:
    for tensor in (s.output, s.weights):
        if tensor is None or tensor["all_zero"]:
            continue
        largest = 2 ** (tensor["bits"] - 1) - 1
        if 0 < tensor["largest_integer"] < largest // 2:
            return (f"'{tensor['name']}' reaches only {tensor['largest_integer']:.0f} of {largest}: a shift limit or "
                    f"an alignment moved its position to {tensor['pos']}; try {tensor['pos'] + 1} (--positions), or "
                    "scale the layer before (--recipe default)")
    return None


def _mean_error(s: Symptoms) -> str | None:
    if s.output and s.output["mean_error_share"] > 0.2:
        return (f"{s.output['mean_error_share']:.0%} of the output's error is a constant offset of its channels: "
                "correct the bias (--recipe default or auto)")
    return None


def _coarse_weights(s: Symptoms) -> str | None:
    if s.weights and (s.weights["own_sqnr_db"] or 99) < 30:
        return (f"rounding leaves the weights {s.weights['own_sqnr_db']:.0f} dB: round them for the layer's output "
                "instead (--recipe auto), or train with quantization (QAT)")
    return None


def _coarse_output(s: Symptoms) -> str | None:
    if s.output and (s.output["own_sqnr_db"] or 99) < 30:
        return (f"rounding leaves the output {s.output['own_sqnr_db']:.0f} dB, most of it is small beside its largest "
                "value: clip in training (relu6), or search its position (--recipe auto)")
    return None


RULES: tuple[Callable[[Symptoms], str | None], ...] = (
    _all_zero, _uneven_channels, _saturates, _unused_range, _mean_error, _coarse_weights, _coarse_output)
NONE_NEEDED = "nothing stands out: the error is ordinary rounding; fine-tune the weights (--recipe auto) if it matters"


def remedies(symptoms: Symptoms, costs: bool) -> list[str]:
    """What would help, the most telling first; for a layer that costs nothing only what is said of tensors of zeros."""
    if not costs:
        return [text for text in (_all_zero(symptoms),) if text]
    return [text for rule in RULES if (text := rule(symptoms))] or [NONE_NEEDED]


