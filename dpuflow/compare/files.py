"""Compare two model files of any kind that can be read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from dpuflow.compare.differences import Comparison, compare_graphs
from dpuflow.ir.graph import Array, Graph
from dpuflow.model import CustomFunctions, Model, load
from dpuflow.passes import run_passes
from dpuflow.passes.fuse_bias import fuse_bias
from dpuflow.passes.fuse_nonlinear import fuse_leaky_maximum, fuse_nonlinear
from dpuflow.target.made_for import core_text


def _cores(a: Model, b: Model) -> tuple[str, ...]:
    first, second = core_text(a), core_text(b)
    return tuple(f"{key}: {first[key]} against {second[key]}" for key in first
                 if key in second and first[key] != second[key])


def _comparable(model: Model) -> Graph:
    """A float network with biases and nonlinearities inside the layers, as quantized ones have them."""
    return model.graph if model.quantized else run_passes(model.graph, (fuse_bias, fuse_leaky_maximum, fuse_nonlinear))


def compare_files(first: Path | str, second: Path | str, x: Array | Mapping[str, Array] | None = None,
                  custom: CustomFunctions | None = None, like: Path | str | None = None) -> Comparison:
    """Two files side by side; a ``.tflite`` may be the second. Errors are those of loading."""
    if Path(second).suffix.lower() == ".tflite":
        from dpuflow.compare.tflite import compare_with_tflite

        return compare_with_tflite(load(first, custom, like), Path(second), x)
    a, b = (load(path, custom, like) for path in (first, second))
    made = compare_graphs(_comparable(a), _comparable(b), x)
    return dataclasses.replace(made, first=str(first), second=str(second), kinds=(a.kind, b.kind), cores=_cores(a, b))
