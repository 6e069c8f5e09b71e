"""An inspection as JSON and as text."""

from __future__ import annotations

from typing import Any

from dpuflow.planning.inspection import Inspection, LayerPlace
from dpuflow.target.arch import core_fields

NOTE = "predicted, not run on hardware"


def _layer_json(layer: LayerPlace) -> dict[str, Any]:
    return {"name": layer.name, "op": layer.op, "device": layer.device, "reason": layer.reason,
            "remedy": layer.remedy, "limits": list(layer.limits), "rewritten": layer.rewritten, "hint": layer.hint,
            "kernel": layer.kernel, "shape": list(layer.shape), "macs": layer.macs, "ms": layer.ms}


def _totals(inspection: Inspection) -> dict[str, Any]:
    on_dpu = sum(layer.device == "DPU" for layer in inspection.layers)
    return {"layers": len(inspection.layers), "dpu_layers": on_dpu, "cpu_layers": len(inspection.layers) - on_dpu,
            "crossings": len(inspection.crossings), "dpu_ms": inspection.dpu_ms, "cpu_ms": inspection.cpu_ms,
            "crossing_ms": inspection.crossing_ms,
            "total_ms": inspection.dpu_ms + inspection.cpu_ms + inspection.crossing_ms}


def inspection_json(inspection: Inspection) -> dict[str, Any]:
    """The inspection as JSON values."""
    return {
        "target": inspection.core.name, "core": core_fields(inspection.core), "clock_mhz": inspection.clock_mhz,
        "layers": [_layer_json(layer) for layer in inspection.layers],
        "kernels": [{"id": id_, "name": name, "device": device, "layers": layers}
                    for id_, name, device, layers in inspection.kernels],
        "crossings": [{"tensor": one.tensor, "from": one.source, "to": one.target, "bytes": one.size_bytes,
                       "ms": one.ms} for one in inspection.crossings],
        "total": _totals(inspection), "error_band": inspection.estimate.error_band,
        "assumptions": inspection.host.assumptions, "note": NOTE,
    }


def _layer_lines(layer: LayerPlace, width: int) -> list[str]:
    lines = [f"{layer.device}  {layer.name:<{width}}  {layer.op:<16} {layer.ms:>9.4f} ms  {layer.reason}".rstrip()]
    said = {"remedy": layer.remedy, "rewritten": layer.rewritten, "hint": layer.hint}
    return lines + [f"     {'':<{width}}  {what}: {text}" for what, text in said.items() if text]


def inspection_text(inspection: Inspection) -> str:
    """One line a layer with what there is to say of it, the crossings, the totals."""
    width = max((len(layer.name) for layer in inspection.layers), default=5)
    lines = [line for layer in inspection.layers for line in _layer_lines(layer, width)]
    if inspection.crossings:
        lines += ["", "tensors that cross between the devices:"]
        lines += [f"  {one.source} to {one.target}  {one.tensor:<{width}}  {one.size_bytes:>9} bytes {one.ms:>9.4f} ms"
                  for one in inspection.crossings]
    total, core = _totals(inspection), inspection.core
    lines += ["", f"{total['dpu_layers']} of {total['layers']} layers on the DPU of {core.name} ({core.arch})"]
    lines.append(f"{NOTE}: DPU {total['dpu_ms']:.3f} ms at {inspection.clock_mhz:g} MHz "
                 f"(error {inspection.estimate.error_band}), CPU {total['cpu_ms']:.3f} ms, "
                 f"crossings and starts {total['crossing_ms']:.3f} ms")
    if total["cpu_layers"]:
        lines.append(f"CPU and crossings are {inspection.host.assumptions}")
    return "\n".join(lines) + "\n"
