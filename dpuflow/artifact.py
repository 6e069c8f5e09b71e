"""A stage's folder on disk: files plus ``manifest.json`` with their digests, whole or not there.

A stage writes into a temporary folder beside its own and renames it when everything, the manifest
last, is written; an interrupted stage leaves the previous result, or nothing. A stage is current
when its manifest holds the same key (configuration and digests of its inputs) and its files still
have the digests that the manifest records.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpuflow.errors import ArtifactError

SCHEMA = 1
MANIFEST = "manifest.json"


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal text."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def json_digest(value: Any) -> str:
    """SHA-256 of a JSON value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Stage:
    """A finished stage: its folder and its manifest."""

    folder: Path
    manifest: Mapping[str, Any]

    def path(self, name: str) -> Path:
        """The path of one of the stage's files; ArtifactError if the manifest does not list it."""
        if name not in self.manifest["files"]:
            raise ArtifactError(
                f"the stage holds no file {name!r}", where=self.folder,
                remedy=f"run the stage again; it holds {', '.join(sorted(self.manifest['files']))}",
            )
        return self.folder / name

    @property
    def info(self) -> Mapping[str, Any]:
        """What the stage recorded about its result."""
        info: Mapping[str, Any] = self.manifest.get("info", {})
        return info


def load_stage(folder: Path, check: bool = True) -> Stage:
    """Read a finished stage; ``check`` compares every file with its digest (ArtifactError)."""
    folder = Path(folder)
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError("the stage has not been run", where=folder, expected=MANIFEST,
                            remedy=f"run `make {folder.name}` first") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"unreadable manifest ({error})", where=path,
                            remedy=f"run `make {folder.name}` again") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise ArtifactError("unknown manifest schema", where=path, expected=SCHEMA,
                            got=manifest.get("schema") if isinstance(manifest, dict) else "no object",
                            remedy=f"run `make {folder.name}` again")
    if not isinstance(manifest.get("files"), dict) or not isinstance(manifest.get("info", {}), dict):
        raise ArtifactError("damaged manifest", where=path, expected="files and info", got=", ".join(sorted(manifest)),
                            remedy=f"run `make {folder.name}` again")
    if check:
        _check_files(folder, manifest)
    return Stage(folder, manifest)


def _check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    for name, digest in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise ArtifactError("file is missing", where=path, remedy=f"run `make {folder.name}` again")
        try:
            got = file_digest(path)
        except OSError as error:
            raise ArtifactError(f"file cannot be read ({error.strerror or error})", where=path) from None
        if got != digest:
            raise ArtifactError("file was changed after the stage ended", where=path,
                                expected=str(digest)[:12], got=got[:12],
                                remedy=f"run `make {folder.name}` again")


def current_stage(folder: Path, key: Mapping[str, Any]) -> Stage | None:
    """The finished stage in ``folder`` if it was made from the same key and is intact, else None."""
    try:
        stage = load_stage(folder)
    except ArtifactError:
        return None
    return stage if stage.manifest.get("key_digest") == json_digest(key) else None


class StageWriter:
    """Where a running stage puts its files and notes; see :func:`write_stage`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info: dict[str, Any] = {}

    def path(self, name: str) -> Path:
        """The path to write file ``name`` to."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@contextlib.contextmanager
def write_stage(folder: Path, stage: str, key: Mapping[str, Any]) -> Iterator[StageWriter]:
    """Write a stage's folder as a whole: files first, manifest last, then one rename.

    ``key`` is what the result depends on (configuration, digests of inputs); JSON values only.
    On any exception, Ctrl-C included, the temporary folder goes and the previous result stays.
    """
    folder, temporary = Path(folder), None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        temporary.chmod(0o755)
        writer = StageWriter(temporary)
        yield writer
        _write_manifest(writer, stage, key)
        _replace_folder(temporary, folder)
    except OSError as error:
        raise ArtifactError(f"cannot write the stage ({error.strerror or error})", where=folder,
                            remedy="free disk space or choose another folder, then run it again") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _write_manifest(writer: StageWriter, stage: str, key: Mapping[str, Any]) -> None:
    files = {
        path.relative_to(writer.folder).as_posix(): file_digest(path)
        for path in sorted(writer.folder.rglob("*")) if path.is_file()
    }
    manifest = {"schema": SCHEMA, "stage": stage, "key": key, "key_digest": json_digest(key),
                "info": writer.info, "files": files}
    path = writer.folder / MANIFEST
    path.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _replace_folder(temporary: Path, folder: Path) -> None:
    """Put ``temporary`` in the place of ``folder``; if that fails or is interrupted the old one comes back."""
    if not folder.exists():
        os.replace(temporary, folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
    try:
        os.replace(folder, old)
        os.replace(temporary, folder)
    except BaseException:
        if not folder.exists():
            os.replace(old, folder)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
