"""An estimate as JSON and as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dpuflow.target.arch import Core
from dpuflow.target.performance import Estimate


def estimate_json(estimate: Estimate, core: Core) -> dict[str, Any]:
    """The estimate as JSON values; every figure is predicted."""
    return {
        "target": core.name, "core": core.arch, "total_ms": estimate.total_ms, "fps": estimate.fps,
        "clock_mhz": estimate.clock_mhz, "error_band": estimate.error_band,
        "note": "predicted, not run on hardware; DPU layers only",
        "floors_ms": dict(estimate.floors_ms), "baseline_ms": estimate.baseline_ms,
        "layers": [
            {"name": layer.name, "cycles": layer.cycles, "ms": layer.ms, "macs": layer.macs, "bytes": layer.bytes,
             "bound": layer.bound, "array_cycles": layer.array_cycles}
            for layer in estimate.layers
        ],
    }


def _schedule_lines(predicted: Mapping[str, Any]) -> list[str]:
    """How good the schedule is: what the engines need at least, and the simple fixed schedule."""
    floors, total = predicted.get("floors_ms"), predicted["total_ms"]
    if not floors or not total:
        return []
    needed = ", ".join(f"{engine} {ms:.4f}" for engine, ms in floors.items() if engine != "steps")
    return [f"engines need at least (ms): {needed}; layer by layer {floors['steps']:.4f}",
            f"predicted {total / floors['steps']:.2f} times that; the simple fixed schedule takes "
            f"{predicted['baseline_ms']:.4f} ms"]


def predicted_table(predicted: Mapping[str, Any]) -> str:
    """:func:`estimate_json`'s values as a table: one row a layer, then the total with clock and error band."""
    layers = predicted["layers"]
    width = max([len(layer["name"]) for layer in layers] + [5])
    lines = [f"{'layer':<{width}} {'cycles':>9} {'ms':>8} {'MMAC':>8} {'kB':>8}  bound by"]
    lines += [
        f"{layer['name']:<{width}} {layer['cycles']:>9} {layer['ms']:>8.4f} {layer['macs'] / 1e6:>8.3f} "
        f"{layer['bytes'] / 1e3:>8.1f}  {layer['bound']}" for layer in layers
    ]
    cycles = sum(layer["cycles"] for layer in layers)
    lines.append(f"{'total':<{width}} {cycles:>9} {predicted['total_ms']:>8.4f}")
    lines += _schedule_lines(predicted)
    lines.append(f"predicted, not run on hardware: {predicted['target']} ({predicted['core']}) at "
                 f"{predicted['clock_mhz']:g} MHz, {predicted['fps']:.0f} images/s on the DPU alone; "
                 f"error {predicted['error_band']}")
    return "\n".join(lines) + "\n"
