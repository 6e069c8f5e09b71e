"""Where the data lies, and archives read in memory: verified, with checked paths."""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from dpuflow.errors import DataError

VARIABLE = "DPUFLOW_DATA"
MAX_MEMBER_BYTES = 64 << 20


def data_root(argument: str | Path | None, archive: str) -> Path:
    """The folder of the data: ``argument`` (--data-root), else the environment's DPUFLOW_DATA.

    DataError naming both, and ``archive``, when neither is given or the folder is not there.
    """
    chosen = argument or os.environ.get(VARIABLE)
    if not chosen:
        raise DataError("no data folder given", expected=archive,
                        remedy=f"give --data-root DIR or set {VARIABLE}; nothing is downloaded")
    root = Path(chosen)
    if not root.is_dir():
        raise DataError("the data folder does not exist", where=root, expected=f"a folder with {archive}",
                        remedy=f"give --data-root DIR or set {VARIABLE} to the right folder")
    return root


def read_verified(path: Path, sha256: str) -> bytes:
    """The bytes of a file whose SHA-256 is as expected, else DataError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the archive ({error.strerror or error})", where=path,
                        remedy=f"check --data-root or {VARIABLE}") from None
    got = hashlib.sha256(data).hexdigest()
    if got != sha256:
        raise DataError("the archive is damaged or another version", where=path, expected=f"SHA-256 {sha256[:16]}...",
                        got=f"{got[:16]}... ({len(data)} bytes)", remedy="copy the archive again")
    return data


def place_digest(place: Path) -> str:
    """SHA-256 over a file, or over the names and bytes of all pictures below a folder."""
    files = sorted(place.rglob("*.png")) if place.is_dir() else [place]
    digest = hashlib.sha256()
    try:
        for path in files:
            digest.update(f"{path.relative_to(place)} {path.stat().st_size} ".encode() + path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read the data ({error.strerror or error})", where=place) from None
    return digest.hexdigest()


def unpack_xz(data: bytes, where: Path) -> bytes:
    """The content of an .xz file; DataError if it is damaged."""
    try:
        return lzma.decompress(data)
    except lzma.LZMAError as error:
        raise DataError(f"cannot unpack the archive ({error})", where=where, remedy="copy the archive again") from None


def tar_members(data: bytes, where: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each regular file of a tar archive, sorted by name, nothing written to disk.

    DataError for a damaged archive, and for a member that would lie outside its folder.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as archive:
            for member in sorted(archive.getmembers(), key=lambda item: item.name):
                if member.isfile():
                    _check_member(member, where)
                    stream = archive.extractfile(member)
                    yield member.name, stream.read() if stream else b""
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError, ValueError) as error:
        raise DataError(f"cannot unpack the archive ({error})", where=where, remedy="copy the archive again") from None


def _check_member(member: tarfile.TarInfo, where: Path) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name or ":" in member.name:
        raise DataError("the archive holds a file outside its own folder", where=where, got=member.name,
                        remedy="do not use this archive")
    if member.size > MAX_MEMBER_BYTES:
        raise DataError("a file in the archive is far too large", where=where,
                        got=f"{member.name}: {member.size} bytes", remedy="do not use this archive")
