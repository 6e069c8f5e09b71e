"""Run a stage once: skipped when its inputs, options and code are those of the last time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from dpuflow.artifact import StageWriter, current_stage, file_digest, json_digest, load_stage, write_stage

_PACKAGE = Path(__file__).parent


def code_digest(*files: Path) -> str:
    """The digest of this library's source, and of the given scripts: new code makes old results stale."""
    shared = _PACKAGE.parent / "board" / "dpuedge"
    kinds = ("*.py", "*.html", "*.css", "*.js")
    sources = [*(path for kind in kinds for path in _PACKAGE.rglob(kind)),
               *(shared.glob("*.py") if shared.is_dir() else ()), *files]
    return json_digest({path.name + str(index): file_digest(path) for index, path in enumerate(sorted(sources))})


def stage_digests(folders: Iterable[Path]) -> dict[str, str]:
    """What the result of earlier stages is, by stage: digests of their files. ArtifactError if one is missing."""
    return {folder.name: json_digest(load_stage(folder).manifest["files"]) for folder in folders}


def run_stage(stage: str, folder: Path, key: Mapping[str, Any], produce: Callable[[StageWriter], None]) -> bool:
    """Produce the stage's files unless they are current; returns whether it ran."""
    if current_stage(folder, key):
        print(f"{stage}: {folder} is up to date")
        return False
    with write_stage(folder, stage, key) as writer:
        produce(writer)
    return True
