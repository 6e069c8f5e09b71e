"""Describe any file that this library reads."""

from __future__ import annotations

from pathlib import Path

from dpuflow.describe.description import Description
from dpuflow.describe.from_model import describe_graph, describe_xmodel
from dpuflow.model import load


def describe(path: Path | str) -> Description:
    """What a model file is; FormatError for what is none."""
    path = Path(path)
    if path.suffix.lower() == ".xmodel":
        return describe_xmodel(path)
    return describe_graph(load(path), path)
