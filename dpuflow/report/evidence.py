"""What the report is made of: the artefacts of the stages, read and checked against each other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpuedge import manifest as model_manifest
from dpuflow.arrays import read_arrays
from dpuflow.artifact import Stage, load_stage
from dpuflow.errors import ArtifactError, DpuError
from dpuflow.ir.graph import Array

STAGES = ("train", "freeze", "quantize", "compile", "emulate")
NEEDED = ("train", "compile", "emulate")
ENGINES = ("float", "quantized", "reference", "fast")  # <engine>_logits in evaluation.npz


@dataclass(frozen=True, kw_only=True)
class Artefacts:
    """What a page about any network shows, whatever its task."""

    name: str
    stages: Mapping[str, Stage]
    model: model_manifest.Model
    training: Mapping[str, Any]
    engines: Mapping[str, Any]
    layers: Sequence[Mapping[str, Any]]
    estimate: Mapping[str, Any]
    kernels: str

    @property
    def labels(self) -> tuple[str, ...]:
        """The real classes, or the symbols."""
        return self.model.labels


@dataclass(frozen=True, kw_only=True)
class Evidence(Artefacts):
    """Everything that the page of a classifying network shows, in memory.

    ``test_gray`` and ``nonchar_gray`` are uint8 (N, H, W), ``samples`` uint8 (S, H, W), ``nonchar_kinds`` text (M,);
    ``logits`` holds per engine float (N, C), ``nonchar_logits`` (M, C); ``truth`` the labels (N,).
    """

    samples: Array
    test_gray: Array
    truth: Array
    nonchar_gray: Array
    nonchar_kinds: Array
    logits: Mapping[str, Array]
    nonchar_logits: Array

    @property
    def fake_class(self) -> int | None:
        """The output that means "none of them"."""
        return self.model.fake_class


def read_evidence(build: Path) -> Evidence:
    """Read ``build/<stage>`` of the stages; ArtifactError names the stage to run (again)."""
    build = Path(build)
    common = common_artefacts(build)
    train, emulated = (common["stages"][name] for name in ("train", "emulate"))
    test, nonchars = arrays_of(train, "test.npz", "gray", "labels"), arrays_of(train, "nonchars.npz", "gray", "kinds")
    evaluation = arrays_of(emulated, "evaluation.npz", "labels", "nonchar_logits", *(f"{e}_logits" for e in ENGINES))
    evidence = Evidence(
        **common, samples=without_channel(arrays_of(train, "samples.npz", "samples")["samples"]),
        test_gray=without_channel(test["gray"]), truth=evaluation["labels"],
        nonchar_gray=without_channel(nonchars["gray"]),
        nonchar_kinds=nonchars["kinds"],
        logits={engine: evaluation[f"{engine}_logits"] for engine in ENGINES},
        nonchar_logits=evaluation["nonchar_logits"],
    )
    _check(evidence, test["labels"])
    return evidence


def common_artefacts(build: Path) -> dict[str, Any]:
    """The fields of :class:`Artefacts` from the stages below ``build``."""
    stages = stages_of(build)
    train, compiled, emulated = (stages[name] for name in NEEDED)
    measures = json_of(emulated, "evaluation.json", "engines", "layers")
    return {
        "name": build.resolve().name, "stages": stages, "model": model_of(compiled),
        "training": json_of(train, "training.json"), "engines": measures["engines"], "layers": measures["layers"],
        "estimate": json_of(compiled, "estimate.json", "target", "core", "total_ms", "fps", "clock_mhz", "error_band",
                            "layers"),
        "kernels": text_of(compiled, "kernels.txt"),
    }


def stages_of(build: Path) -> Mapping[str, Stage]:
    """The stages below ``build``; ArtifactError when a needed one is missing or damaged."""
    found = {}
    for name in STAGES:
        folder = build / name
        if name in NEEDED or (folder / "manifest.json").exists():
            found[name] = load_stage(folder)
    return found


def again(stage: Stage) -> str:
    """What to do about a stage that cannot be used."""
    return f"run `make {stage.folder.name}` again"


def arrays_of(stage: Stage, name: str, *keys: str) -> Mapping[str, Array]:
    """The arrays of a stage's file; ArtifactError when one of ``keys`` is missing."""
    path = stage.path(name)
    arrays = typed(stage, path, lambda: read_arrays(path))
    missing = [key for key in keys if not isinstance(arrays, dict) or key not in arrays]
    if missing:
        raise ArtifactError("arrays are missing", where=path, expected=", ".join(missing), remedy=again(stage))
    result: Mapping[str, Array] = arrays
    return result


def json_of(stage: Stage, name: str, *keys: str) -> Mapping[str, Any]:
    """The JSON object of a stage's file; ArtifactError when one of ``keys`` is missing."""
    path = stage.path(name)
    data = typed(stage, path, lambda: json.loads(path.read_text(encoding="utf-8")))
    if not isinstance(data, dict):
        raise ArtifactError("not a JSON object", where=path, got=type(data).__name__, remedy=again(stage))
    missing = [key for key in keys if key not in data]
    if missing:
        raise ArtifactError("entries are missing", where=path, expected=", ".join(missing), remedy=again(stage))
    return data


def text_of(stage: Stage, name: str) -> str:
    """A stage's text file."""
    path = stage.path(name)
    text: str = typed(stage, path, lambda: path.read_text(encoding="utf-8"))
    return text


def model_of(stage: Stage) -> model_manifest.Model:
    """The checked model manifest of the compile stage."""
    model: model_manifest.Model = typed(stage, stage.folder, lambda: model_manifest.load(str(stage.folder)))
    return model


def typed(stage: Stage, path: Path, read: Any) -> Any:
    """What ``read()`` returns; its failures become an ArtifactError that names the stage."""
    try:
        return read()
    except (OSError, ValueError, DpuError) as error:
        raise ArtifactError(f"cannot be read ({error})", where=path, remedy=again(stage)) from error


def without_channel(gray: Array) -> Array:
    """Uint8 (N, H, W) of pictures with or without a channel axis."""
    return gray[..., 0] if gray.ndim == 4 else gray


def _check(evidence: Evidence, test_labels: Array) -> None:
    """The stages must speak about the same pictures and the same classes."""
    emulated = evidence.stages["emulate"]
    classes = len(evidence.labels) + (evidence.fake_class is not None)
    shapes = {
        **{f"{engine}_logits": (array, (len(test_labels), classes)) for engine, array in evidence.logits.items()},
        "nonchar_logits": (evidence.nonchar_logits, (len(evidence.nonchar_gray), classes)),
        "kinds": (evidence.nonchar_kinds, (len(evidence.nonchar_gray),)),
        "labels": (evidence.truth, (len(evidence.test_gray),)),
    }
    for name, (array, shape) in shapes.items():
        if array.shape != shape:
            raise ArtifactError(f"'{name}' does not fit the training stage's data", where=emulated.folder,
                                expected=shape, got=array.shape, remedy=again(emulated))
    if (evidence.truth != test_labels).any():
        raise ArtifactError("the evaluation was made for another test set", where=emulated.folder,
                            remedy=again(emulated))
