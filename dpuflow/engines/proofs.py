"""What self-tests found exact on this very CPU, kept from one process to the next.

A proof counts for one processor, one build of a library and one state of this code; anything else is tested again.
The file lies in the user's cache (``XDG_CACHE_HOME``, else ``~/.cache``) and may be deleted at any time.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dpuflow.errors import DpuflowError
from dpuflow.files import atomic_path

_KEPT = 16  # processors and builds: a home folder may serve many computers
_OWN = ("dpuflow.engines", "dpuflow.ops", "dpuedge")
_PROCESSOR = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags", "CPU implementer", "CPU part",
              "Features")


def cache_file() -> Path | None:
    """Where proofs are kept; None for a user without a home."""
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(cache) / "dpuflow" / "proofs.json"


def processor() -> str | None:
    """What tells one processor from another: the system's word, and NumPy's, which sees an emulated one too."""
    features = getattr(sys.modules.get("numpy._core._multiarray_umath"), "__cpu_features__", None)
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            lines = [line for line in iter(file.readline, "\n") if line.split(":")[0].strip() in _PROCESSOR]
    except OSError:
        return None
    return "".join(lines) + ",".join(name for name, here in features.items() if here) if lines and features else None


def key(package: str) -> str | None:
    """One text for the processor, a library's files and this code as they are now; None if none can be made."""
    chip = processor()
    folders = [Path(sys.modules[name].__path__[0]) for name in (package, *_OWN)]
    files = sorted(_files(folder / below) for folder in folders for below in ("", "libs", "litert", "openvino"))
    return "\n".join([chip, *(line for lines in files for line in lines)]) if chip else None


def _files(folder: Path) -> list[str]:
    """Every file of a folder: name, size and time."""
    if not folder.is_dir():
        return []
    found = [(entry.name, entry.stat()) for entry in os.scandir(folder) if entry.is_file()]
    return sorted(f"{folder.name}/{name} {state.st_size} {state.st_mtime_ns}" for name, state in found)


def known(library: str, package: str) -> set[str]:
    """The kinds of layers that a library once computed exactly here."""
    kinds = _read().get(f"{library}\n{key(package)}")
    return set(kinds) if isinstance(kinds, list) and all(isinstance(kind, str) for kind in kinds) else set()


def keep(library: str, package: str, kinds: Iterable[str]) -> None:
    """Note what a library computes exactly; without a word if that cannot be written."""
    name, found, file = key(package), _read(), cache_file()
    if name is None or file is None:
        return
    found.pop(f"{library}\n{name}", None)
    found[f"{library}\n{name}"] = sorted(kinds)
    while len(found) > _KEPT:
        found.pop(next(iter(found)))
    try:
        with atomic_path(file) as path:
            path.write_text(json.dumps(found, indent=1), encoding="utf-8")
    except DpuflowError:
        return


def _read() -> dict[str, Any]:
    """What the file holds; nothing if it is not there or damaged."""
    file = cache_file()
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
