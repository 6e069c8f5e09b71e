"""``dpuflow quantize --backend vendor``: the same network and pictures to the vendor's own quantizer."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dpuflow.calibration.batches import CalibrationSet
from dpuflow.cli import backend
from dpuflow.errors import ConfigError
from dpuflow.files import atomic_path
from dpuflow.formats.graphdef import TFGraph, serialize_graphdef
from dpuflow.ir.graph import Array
from dpuflow.quant.config import QuantizeConfig
from dpuflow.vendor.plan import Plan
from dpuflow.vendor.quantize_plan import QuantizeRequest, quantize_plan
from dpuflow.vendor.releases import find_release

INPUT_FOLDER = "vendor_input"
_OURS_ONLY = ("recipe", "max_drop", "evaluate", "positions", "report", "json", "what_if", "ignore_nodes")


def refuse_other_options(options: argparse.Namespace) -> None:
    """ConfigError for options that only our quantizer knows."""
    for name in _OURS_ONLY:
        if getattr(options, name) and not (name == "recipe" and options.recipe == "vendor"):
            raise ConfigError("the vendor's quantizer has no such option", where=f"--{name.replace('_', '-')}",
                              got="--backend vendor", remedy="leave it out, or use the native back end")
    if options.calibration is None:
        raise ConfigError("the vendor's quantizer needs pictures", where="--calibration", got="nothing")


def calibration_arrays(data: CalibrationSet, batches: int) -> dict[str, Array]:
    """The first batches joined, an array for each input node."""
    parts: dict[str, list[Array]] = {}
    for _, batch in zip(range(batches), data.open(), strict=False):
        for name, array in batch.items():
            parts.setdefault(name, []).append(np.asarray(array, np.float32))
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _write_inputs(folder: Path, graph: TFGraph, arrays: Mapping[str, Array]) -> tuple[Path, Path]:
    """The frozen graph and the pictures as the vendor's tool will read them."""
    folder.mkdir(parents=True, exist_ok=True)
    frozen, calibration = folder / "frozen_model.pb", folder / "calibration.npz"
    with atomic_path(frozen) as path:
        path.write_bytes(serialize_graphdef(graph))
    with atomic_path(calibration) as path, path.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **dict(arrays))
    return frozen, calibration


def vendor_plan(options: argparse.Namespace, graph: TFGraph, config: QuantizeConfig, data: CalibrationSet) -> Plan:
    """The plan, its input files written under the output folder."""
    arrays = calibration_arrays(data, config.calib_iter)
    images = len(next(iter(arrays.values())))
    batch = min(options.batch, images)
    frozen, calibration = _write_inputs(options.output / INPUT_FOLDER, graph, arrays)
    request = QuantizeRequest(frozen, calibration, config.input_nodes, config.input_shapes, config.output_nodes,
                              config.method, min(config.calib_iter, -(-images // batch)), batch)
    return quantize_plan(request, find_release(options.release))


def run_vendor(options: argparse.Namespace, graph: TFGraph, config: QuantizeConfig, data: CalibrationSet) -> None:
    """Show or run the plan."""
    backend.run_plan(vendor_plan(options, graph, config, data), options, options.output)
