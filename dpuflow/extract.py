"""A model file's parameters as NumPy arrays, with their positions and histograms."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.arrays import write_arrays
from dpuflow.errors import ArtifactError
from dpuflow.files import atomic_path
from dpuflow.formats.dnndk import SUFFIXES as DNNDK_SUFFIXES
from dpuflow.formats.dnndk import elf_arrays, read_elf
from dpuflow.formats.xir import XGraph, read_xmodel
from dpuflow.formats.xir_import import parameter_arrays
from dpuflow.ir.graph import Array
from dpuflow.model import load

_BINS = 64


@dataclass(frozen=True)
class Parameter:
    """A parameter as its file stores it, and its position if it has one."""

    values: Array
    fix_point: int | None = None
    bit_width: int | None = None


def _xir_parameters(graph: XGraph) -> dict[str, Parameter]:
    made = {}
    for name, array in parameter_arrays(graph).items():
        attrs = graph.by_name[name].tensor.attrs
        fixed_point = graph.by_name[name].tensor.data_type == "XINT"
        made[name] = Parameter(array, attrs["fix_point"].value, graph.by_name[name].tensor.bits) if (
            fixed_point and "fix_point" in attrs) else Parameter(array)
    return made


def _elf_parameters(path: Path) -> dict[str, Parameter]:
    file = read_elf(path)
    records = {f"{kernel.name}/{record.name}": record for kernel in file.kernels for node in kernel.nodes
               for record in node.parameters}
    return {name: Parameter(array, records[name].fix_point, records[name].fix_width)
            for name, array in elf_arrays(file).items()}


def file_parameters(path: Path | str) -> dict[str, Parameter]:
    """Every parameter of a model file by name, in the file's own axis order (GraphDefs: TensorFlow's)."""
    path = Path(path)
    if path.suffix.lower() == ".xmodel":
        return _xir_parameters(read_xmodel(path))
    if path.suffix.lower() in DNNDK_SUFFIXES:
        return _elf_parameters(path)
    nodes = (node for node in load(path).graph.nodes if node.data is not None)
    return {node.name: Parameter(np.asarray(node.data), *((node.fix.pos, node.fix.bits) if node.fix else ()))
            for node in nodes}


def histogram(parameter: Parameter) -> dict[str, Any]:
    """Counts: of every integer for a fixed-point tensor, of 64 equal ranges for a float one."""
    values = parameter.values
    if parameter.fix_point is not None:
        low, high = fixed.int_range(parameter.bit_width or 8)
        counts = np.bincount(np.asarray(values.reshape(-1), dtype=np.intp) - low, minlength=high - low + 1)
        return {"fix_point": parameter.fix_point, "bit_width": parameter.bit_width, "first": low, "step": 1,
                "counts": counts.tolist()}
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    counts, edges = np.histogram(finite, _BINS) if finite.size else (np.zeros(_BINS, dtype=int), np.zeros(_BINS + 1))
    return {"first": float(edges[0]), "step": float(edges[1] - edges[0]), "counts": counts.tolist()}


def _table(histograms: Mapping[str, Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("tensor", "from", "count"))
    for name, entry in histograms.items():
        for at, count in enumerate(entry["counts"]):
            if count:
                writer.writerow((name, entry["first"] + at * entry["step"], count))
    return text.getvalue()


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def extract(path: Path | str, folder: Path | str) -> tuple[Path, ...]:
    """Write ``weights.npz``, ``positions.json``, ``histograms.json`` and ``.csv``; the files written."""
    parameters, folder = file_parameters(path), Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"cannot make the folder ({error.strerror})", where=folder) from None
    histograms = {name: {"shape": list(entry.values.shape), "type": str(entry.values.dtype), **histogram(entry)}
                  for name, entry in parameters.items()}
    positions = {name: {"fix_point": entry.fix_point, "bit_width": entry.bit_width}
                 for name, entry in parameters.items() if entry.fix_point is not None}
    made = tuple(folder / name for name in ("weights.npz", "positions.json", "histograms.json", "histograms.csv"))
    write_arrays(made[0], {name: entry.values for name, entry in parameters.items()})
    _write(made[1], json.dumps(positions, indent=1) + "\n")
    _write(made[2], json.dumps(histograms, indent=1) + "\n")
    _write(made[3], _table(histograms))
    return made
