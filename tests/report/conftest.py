"""Synthetic artefacts, made once."""

from pathlib import Path

import pytest
import synthetic

from dpuflow.report.evidence import Evidence, read_evidence


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build folder that tests only read."""
    return synthetic.write_all(tmp_path_factory.mktemp("report") / "chars74k")


@pytest.fixture(scope="session")
def evidence(build: Path) -> Evidence:
    """What the report reads from it."""
    return read_evidence(build)
