"""Files that are made from the code's tables are up to date."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("script", ["supported_ops.py", "instructions.py"])
def test_pages_made_from_tables(script):
    command = [sys.executable, str(ROOT / "scripts" / script), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_lock_files_name_every_package_with_hashes():
    for part in ("core", "train", "dev"):
        text = (ROOT / "requirements" / f"{part}.lock").read_text(encoding="utf-8")
        packages = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        assert len(packages) > 8
        assert all("==" in line and line.endswith("\\") for line in packages)
        assert "http" not in text
