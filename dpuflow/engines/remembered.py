"""What was found out on this very computer, kept from one process to the next.

A finding counts for one processor, one build of the libraries and one state of this code; anything else is found
out again. The files lie in the user's cache (``XDG_CACHE_HOME``, else ``~/.cache``) and may be deleted at any time.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpuflow.errors import DpuflowError
from dpuflow.files import atomic_path

_OWN = ("dpuflow.engines", "dpuflow.ops", "dpuedge")
_BELOW = ("", "libs", "litert", "openvino")
_PROCESSOR = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags", "CPU implementer", "CPU part",
              "Features")


@dataclass(frozen=True)
class Store:
    """One file of findings by key; the oldest go when there are more than ``most``."""

    name: str
    most: int

    def file(self) -> Path | None:
        """Where the findings are kept; None for a user without a home."""
        try:
            cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        except RuntimeError:
            return None
        return Path(cache) / "dpuflow" / self.name

    def all(self) -> dict[str, Any]:
        """What the file holds; nothing if it is not there or damaged."""
        file = self.file()
        try:
            found = json.loads(file.read_text(encoding="utf-8")) if file else {}
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def keep(self, key: str, finding: Any) -> None:
        """Note a finding; without a word if that cannot be written."""
        found, file = self.all(), self.file()
        if file is None:
            return
        found.pop(key, None)
        found[key] = finding
        while len(found) > self.most:
            found.pop(next(iter(found)))
        try:
            with atomic_path(file) as path:
                path.write_text(json.dumps(found, indent=1), encoding="utf-8")
        except DpuflowError:
            return


def processor() -> str | None:
    """What tells one processor from another: the system's word, and NumPy's, which sees an emulated one too."""
    features = getattr(sys.modules.get("numpy._core._multiarray_umath"), "__cpu_features__", None)
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            lines = [line for line in iter(file.readline, "\n") if line.split(":")[0].strip() in _PROCESSOR]
    except OSError:
        return None
    return "".join(lines) + ",".join(name for name, here in features.items() if here) if lines and features else None


def state(*packages: str) -> str | None:
    """One text for the processor, the libraries' files and this code as they are now; None if none can be made."""
    chip, folders = processor(), [_folder(package) for package in (*packages, *_OWN)]
    if chip is None:
        return None
    files = sorted(_files(folder / below) for folder in folders if folder for below in _BELOW)
    return "\n".join([chip, *(line for lines in files for line in lines)])


def _folder(package: str) -> Path | None:
    """Where a package lies, imported or not; None if it is not installed."""
    made = sys.modules.get(package)
    if made is not None:
        return Path(made.__path__[0])
    from importlib.util import find_spec  # on demand, for a start's sake

    spec = find_spec(package)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def _files(folder: Path) -> list[str]:
    """Every file of a folder: name, size and time."""
    if not folder.is_dir():
        return []
    found = [(entry.name, entry.stat()) for entry in os.scandir(folder) if entry.is_file()]
    return sorted(f"{folder.name}/{name} {state.st_size} {state.st_mtime_ns}" for name, state in found)
