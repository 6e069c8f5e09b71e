"""What the page of a network that reads text is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpuedge import ctc
from dpuflow.artifact import load_stage
from dpuflow.errors import ArtifactError, DpuflowError
from dpuflow.ir.graph import Array
from dpuflow.report.evidence import (
    ENGINES,
    Artefacts,
    again,
    arrays_of,
    common_artefacts,
    json_of,
    text_of,
    without_channel,
)
from dpuflow.tasks.host_times import rows
from dpuflow.tasks.text import words_of

EMULATED = "fast"  # the form that stands for "emulated"


@dataclass(frozen=True, kw_only=True)
class TextEvidence(Artefacts):
    """Everything that the page shows, in memory.

    ``gray``: uint8 (N, H, W) test pictures; ``truth`` their words; ``read`` words per form, ``confidence`` the
    emulated network's (N,); ``accuracy``, ``beam`` and ``host_times`` as the emulate stage measured them;
    ``boundary`` how the crossing tensors got their positions; ``others`` the text networks beside this one.
    """

    gray: Array
    truth: Sequence[str]
    read: Mapping[str, Sequence[str]]
    confidence: Array
    accuracy: Mapping[str, Any]
    beam: Mapping[str, Any]
    host_times: Mapping[str, Any]
    table: str
    boundary: Sequence[Mapping[str, Any]]
    others: Sequence[Compared]


@dataclass(frozen=True)
class Compared:
    """A text network in one row: accuracy of the int8 network, times, sizes."""

    name: str
    network: str
    words: Mapping[str, Any]
    characters: Mapping[str, Any]
    images: int
    dpu_ms: float
    tail_host_ms: float
    decode_host_ms: float
    dpu_bytes: int
    tail_bytes: int
    parameters: int
    macs: int


def read_text_evidence(build: Path) -> TextEvidence:
    """Read the stages below ``build``; ArtifactError names the stage to run (again)."""
    common = common_artefacts(build)
    stages = common["stages"]
    train, emulated = stages["train"], stages["emulate"]
    test = arrays_of(train, "test.npz", "gray", "labels")
    evaluation = arrays_of(emulated, "evaluation.npz", "labels", "confidence", *(f"{e}_logits" for e in ENGINES))
    measures = json_of(emulated, "evaluation.json", "accuracy", "beam", "host_times")
    if evaluation["labels"].shape != test["labels"].shape or (evaluation["labels"] != test["labels"]).any():
        raise ArtifactError("the evaluation was made for another test set", where=emulated.folder,
                            remedy=again(emulated))
    labels, blank = list(common["model"].labels), common["model"].blank
    read = {form: words_of(ctc.greedy(rows(evaluation[f"{form}_logits"]), blank), labels) for form in ENGINES}
    return TextEvidence(
        **common, gray=without_channel(test["gray"]), truth=words_of(test["labels"].tolist(), labels), read=read,
        confidence=evaluation["confidence"], accuracy=measures["accuracy"], beam=measures["beam"],
        host_times=measures["host_times"], table=text_of(train, "layers.txt"), boundary=_boundary(stages),
        others=compared(build))


def _boundary(stages: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    quantized = stages.get("quantize")
    if quantized is None or "boundary.json" not in quantized.manifest["files"]:
        return ()
    found: list[Mapping[str, Any]] = json.loads(text_of(quantized, "boundary.json"))
    return found


def compared(build: Path) -> list[Compared]:
    """The text networks below the folder of ``build``, this one first, that are evaluated whole."""
    rows_found = []
    for folder in [build, *sorted(path for path in build.parent.iterdir() if path.is_dir() and path != build)]:
        try:
            rows_found.append(_compared(folder))
        except DpuflowError:
            if folder == build:
                raise
    return [row for row in rows_found if row is not None]


def comparable_folders(build: Path) -> list[Path]:
    """The folders beside ``build`` whose figures :func:`compared` would show."""
    names = {row.name for row in compared(build)} - {build.resolve().name}
    return [build.parent / name for name in sorted(names)]


def _compared(folder: Path) -> Compared | None:
    train = load_stage(folder / "train")
    if train.info.get("task") != "ctc":
        return None
    emulated, compiled = load_stage(folder / "emulate"), load_stage(folder / "compile")
    measures = json_of(emulated, "evaluation.json", "accuracy", "host_times", "images")
    estimate = json_of(compiled, "estimate.json", "total_ms", "layers")
    sizes = {name: (folder / "compile" / name).stat().st_size for name in compiled.manifest["files"]}
    times, int8 = measures["host_times"], measures["accuracy"][EMULATED]
    tail_bytes = sum(size for name, size in sizes.items() if name.endswith(".npz"))
    return Compared(
        folder.resolve().name, str(train.info.get("network", "")), int8["words"], int8["characters"],
        int(measures["images"]), float(estimate["total_ms"]), float(times["tail_ms"]), float(times["greedy_ms"]),
        sum(size for name, size in sizes.items() if name.endswith(".xmodel")) - tail_bytes, tail_bytes,
        int(json_of(train, "training.json", "parameters")["parameters"]),
        sum(int(layer["macs"]) for layer in estimate["layers"]) + sum(int(step["macs"]) for step in times["tail"]))
