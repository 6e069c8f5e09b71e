"""From the folders of a network's stages to its page, by task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from dpuflow.artifact import load_stage
from dpuflow.errors import ArtifactError
from dpuflow.files import atomic_path
from dpuflow.report.class_page import render
from dpuflow.report.evidence import again, read_evidence
from dpuflow.report.text_evidence import comparable_folders
from dpuflow.report.text_page import render_text


def write_report(build: Path, out: Path) -> None:
    """Write the report of the stages under ``build`` to the HTML file ``out``, as a whole or not at all.

    ArtifactError when a stage is missing, damaged or does not fit the others (it names the make
    target); ConfigError without the libraries of the ``report`` extra.
    """
    build = Path(build)
    html = PAGES[task_name(build)](build)
    with atomic_path(Path(out)) as temporary:
        temporary.write_text(html, encoding="utf-8")


def shown_beside(build: Path) -> list[Path]:
    """The other networks' folders whose figures the page of the network below ``build`` shows too."""
    if task_name(build) != "ctc":
        return []
    return comparable_folders(build)


# By the task that the train stage records.
PAGES: Mapping[str, Callable[[Path], str]] = {
    "classification": lambda build: render(read_evidence(build)),
    "ctc": render_text,
}


def task_name(build: Path) -> str:
    """The task of the network below ``build``; ArtifactError for one that has no page."""
    train = load_stage(build / "train")
    name = str(train.info.get("task", "classification"))
    if name not in PAGES:
        raise ArtifactError("no page for this task", where=train.folder, got=name, expected=" or ".join(PAGES),
                            remedy=again(train))
    return name
