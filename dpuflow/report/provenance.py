"""Where the page's figures come from: digests, seeds, counts and settings of the stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dpuflow.artifact import Stage
from dpuflow.report.evidence import Artefacts

LONGEST = 120  # characters of one setting


@dataclass(frozen=True)
class StageFacts:
    """A stage's key digest, its files with digests, and its settings as (name, text)."""

    name: str
    key_digest: str
    files: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]


def provenance(evidence: Artefacts) -> list[StageFacts]:
    """The stages in their order."""
    return [_facts(name, stage) for name, stage in evidence.stages.items()]


def _facts(name: str, stage: Stage) -> StageFacts:
    manifest = stage.manifest
    settings = {**dict(flatten(manifest.get("key", {}))), **dict(flatten(stage.info))}
    return StageFacts(name, str(manifest.get("key_digest", "")), tuple(sorted(manifest["files"].items())),
                      tuple(settings.items()))


def flatten(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Leaves of a JSON value as (dotted name, short text); long lists by their length.

    >>> dict(flatten({"seed": 7, "data": {"train": 10}}))
    {'seed': '7', 'data.train': '10'}
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flatten(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and len(value) > 8:
        yield name, f"{len(value)} entries"
    else:
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        yield name, text if len(text) <= LONGEST else text[:LONGEST - 1] + "…"
