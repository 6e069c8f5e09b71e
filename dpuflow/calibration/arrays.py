"""Rows of ``.npy`` and ``.npz`` files, batch by batch: a file larger than the memory streams.

A ``.npz`` member is read through the archive from front to back, compressed or not; only one batch
of it is in memory at a time.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from dpuflow.errors import DataError
from dpuflow.ir.graph import Array

# What NumPy, zipfile and zlib raise for a damaged file; MemoryError comes from a header that lies.
_DAMAGED = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, KeyError, MemoryError, NotImplementedError,
            RuntimeError, TypeError, SyntaxError)
MAX_VALUES = 1 << 28  # of one image; what claims more is damaged


class Stream(Protocol):
    """What is read from: a file, or a member of an archive."""

    def read(self, size: int = -1, /) -> bytes:
        """At most that many bytes."""

    def __enter__(self) -> Stream:
        """Itself."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None, /) -> object:
        """Close it."""


@dataclass(frozen=True)
class Rows:
    """One array of a file: its shape and type, and how to open it at its first row."""

    where: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    open: Callable[[], Stream]
    by_column: bool = False

    def checked(self) -> Rows:
        """Itself, if its rows can be read as numbers; DataError otherwise."""
        if self.dtype.hasobject or self.dtype.kind not in "fiub":
            raise DataError("not an array of numbers", where=self.where, got=self.dtype, expected="float32 or uint8")
        if self.by_column:
            raise DataError("the array is stored column by column", where=self.where,
                            remedy="write it with numpy.save(path, numpy.ascontiguousarray(array))")
        if not self.shape or min(self.shape) < 0 or math.prod(self.shape[1:]) > MAX_VALUES:
            raise DataError("an impossible shape", where=self.where, got=self.shape)
        return self

    def __len__(self) -> int:
        """How many rows there are."""
        return self.shape[0]

    def batches(self, size: int) -> Iterator[Array]:
        """Arrays of ``size`` rows, the last with the rest; DataError when the file ends early."""
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        try:
            with self.open() as stream:
                _header(stream, self.where)
                for at in range(0, len(self), size):
                    count = min(size, len(self) - at)
                    data = _read(stream, row * count)
                    if len(data) != row * count:
                        raise ValueError(f"the file ends in row {at + len(data) // max(row, 1)} of {len(self)}")
                    yield np.frombuffer(data, self.dtype).reshape(count, *self.shape[1:])
        except _DAMAGED as error:
            raise _damaged(self.where, error) from error

    def whole(self) -> Array:
        """All rows at once: for labels."""
        parts = list(self.batches(max(len(self), 1)))
        return parts[0] if parts else np.zeros(self.shape, self.dtype)


def _read(stream: Stream, count: int) -> bytes:
    parts = []
    while count > 0 and (part := stream.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _damaged(where: object, error: Exception) -> DataError:
    return DataError(f"not a readable array file ({error})", where=where, expected=".npy or .npz",
                     remedy="write it with numpy.save or numpy.savez")


def _header(stream: Stream, where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"version {version} of the format")
    return shape, fortran, dtype


def _rows(where: str, opener: Callable[[], Stream]) -> Rows:
    try:
        with opener() as stream:
            shape, fortran, dtype = _header(stream, where)
    except _DAMAGED as error:
        raise _damaged(where, error) from error
    return Rows(where, tuple(shape), dtype, opener, fortran and len(shape) > 1)


def open_rows(path: Path) -> dict[str, Rows]:
    """The arrays of a file by name (of a ``.npy``: ``""``), their headers read; DataError for any other file."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith(".npy")]
            return {(plain := name.removesuffix(".npy")): _rows(f"{path}, array '{plain}'", _member(path, name))
                    for name in names}
    except _DAMAGED as error:
        raise _damaged(path, error) from error
    return {"": _rows(str(path), lambda: path.open("rb"))}


def _member(path: Path, name: str) -> Callable[[], Stream]:
    def opener() -> _Member:
        return _Member(path, name)
    return opener


class _Member:
    """A member of an archive as a stream that closes its archive too."""

    def __init__(self, path: Path, name: str) -> None:
        self._archive = zipfile.ZipFile(path)
        self._stream = self._archive.open(name)

    def read(self, size: int = -1, /) -> bytes:
        """At most that many bytes."""
        return self._stream.read(size)

    def __enter__(self) -> _Member:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._archive.close()
