"""Describe any file that this library reads."""

from __future__ import annotations

from pathlib import Path

from dpuflow.describe.description import Description
from dpuflow.describe.from_elf import describe_elf
from dpuflow.describe.from_model import describe_graph, describe_xmodel
from dpuflow.formats.dnndk import SUFFIXES as DNNDK_SUFFIXES
from dpuflow.model import load


def describe(path: Path | str) -> Description:
    """What a model file is; FormatError for what is none."""
    path = Path(path)
    if path.suffix.lower() == ".xmodel":
        return describe_xmodel(path)
    if path.suffix.lower() in DNNDK_SUFFIXES:
        return describe_elf(path)
    if path.suffix.lower() == ".tflite":
        from dpuflow.describe.from_tflite import describe_tflite

        return describe_tflite(path)
    return describe_graph(load(path), path)
