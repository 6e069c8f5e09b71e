"""What a task brings to the evaluation of its networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpuflow.artifact import Stage
from dpuflow.ir.graph import Array, Graph

FORMS = ("float", "quantized", "reference", "fast")  # how a network was computed
Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Evaluated:
    """A network run on its whole test set.

    ``logits``: for every form what the network says before its closing softmax, float32. ``compiled`` and
    ``logits_name``: the compiled network and that tensor's name in it; ``folder`` holds its file and manifest.
    """

    train: Stage
    test: Arrays
    logits: Arrays
    compiled: Graph
    logits_name: str
    folder: Path


@dataclass(frozen=True)
class Task:
    """``check`` raises DataError for a test set that does not fit; ``measure`` gives further arrays to keep and
    what goes into ``evaluation.json`` (``accuracy`` by form among it); ``summary`` says it in lines."""

    check: Callable[[Arrays, Stage], None]
    measure: Callable[[Evaluated], tuple[Arrays, dict[str, Any]]]
    summary: Callable[[Mapping[str, Any]], list[str]]
