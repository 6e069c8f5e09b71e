"""The report as a stage: written as a whole, skipped when nothing it shows has changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dpuflow.artifact import current_stage, file_digest, json_digest, load_stage, write_stage
from dpuflow.report.evidence import NEEDED, STAGES
from dpuflow.report.page import HERE, write_report

FILE = "report.html"


def run_report(build: Path, out: Path) -> bool:
    """Write ``out/report.html`` from ``build``; False when the one there is still current.

    ArtifactError when a stage that the report needs has not been run or is damaged.
    """
    build, out = Path(build), Path(out)
    key = report_key(build)
    if current_stage(out, key):
        return False
    with write_stage(out, "report", key) as writer:
        write_report(build, writer.path(FILE))
    return True


def report_key(build: Path) -> Mapping[str, Any]:
    """What the page depends on: the stages' manifests and the report's own code."""
    stages = {name: json_digest(load_stage(build / name, check=False).manifest) for name in STAGES
              if name in NEEDED or (build / name / "manifest.json").exists()}
    code = {path.name: file_digest(path) for path in sorted(HERE.iterdir()) if path.is_file()}
    return {"name": build.resolve().name, "stages": stages, "code": json_digest(code)}
