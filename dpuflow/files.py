"""Whole files: read at once, written under a temporary name and renamed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from dpuflow.errors import ArtifactError, FormatError


def read_bytes(path: Path | str) -> bytes:
    """A file's bytes; FormatError for what cannot be read or is empty."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FormatError("no such file", where=path) from None
    except IsADirectoryError:
        raise FormatError("a folder was given", where=path, expected="a file") from None
    except OSError as error:
        raise FormatError(f"cannot read the file ({error.strerror or error})", where=path) from None
    if not data:
        raise FormatError("the file is empty", where=path)
    return data


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that is renamed to it on success and removed on failure."""
    path = Path(path)
    if path.is_dir():
        raise ArtifactError("a folder stands where a file should be written", where=path,
                            remedy="give the name of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        import tempfile  # on demand: it costs a start several milliseconds

        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise ArtifactError(f"cannot write the file ({error.strerror or error})", where=path) from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise ArtifactError(f"cannot write the file ({error.strerror or error})", where=path,
                            remedy="free disk space or choose another folder") from error
    finally:
        temporary.unlink(missing_ok=True)
