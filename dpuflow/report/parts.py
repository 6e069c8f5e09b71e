"""What the pages of all tasks show: facts of the training, the quantizer's tensors, where the time goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dpuflow.report import figures
from dpuflow.report.evidence import Artefacts

ENGINE_TITLES = {
    "float": "float32, as trained",
    "quantized": "quantized, simulated in float32",
    "reference": "emulated DPU, reference engine (int64)",
    "fast": "emulated DPU, fast engine",
}
BOUND_MEANING = {
    "conv": "the convolution array", "pool": "the pooling engine", "dwconv": "the depthwise engine",
    "eltwise": "the element-wise engine", "load": "loading weights and features", "save": "storing features",
    "ddr": "the memory's rate", "fixed cost": "the fixed cost of a node", "placement": "a change of layout only",
    "resize": "the resizing engine", "copy": "bytes that are moved from place to place",
    "fused": "nothing of its own: the layer before it takes it in",
}


def training_facts(evidence: Artefacts) -> list[tuple[str, str]]:
    """What the training stage says about itself beside its curves, as (name, text)."""
    return [(key.replace("_", " "), fact_text(value)) for key, value in evidence.training.items()
            if key != "accuracy" and not isinstance(value, list) and value not in ("", None)]


def fact_text(value: Any) -> str:
    """A JSON value as short text for a table."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')} {fact_text(inner)}" for key, inner in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        shown = ", ".join(fact_text(item) for item in value[:8])
        return shown + (f", … ({len(value)})" if len(value) > 8 else "")
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def quantization_part(evidence: Artefacts) -> dict[str, Any]:
    """Range, position and error per tensor."""
    return {"layers": evidence.layers, "layers_svg": figures.layer_ranges(evidence.layers) if evidence.layers else None}


def time_part(evidence: Artefacts) -> dict[str, Any]:
    """Predicted time per layer and what bounds it."""
    layers = evidence.estimate["layers"]
    shares: dict[str, float] = {}
    for layer in layers:
        shares[layer["bound"]] = shares.get(layer["bound"], 0.0) + layer["ms"]
    return {
        "estimate": evidence.estimate, "kernels": evidence.kernels, "bounds": BOUND_MEANING,
        "bound_shares": sorted(((bound, ms) for bound, ms in shares.items() if ms > 0), key=lambda item: -item[1]),
        "times_svg": figures.layer_times(layers) if layers else None,
    }
