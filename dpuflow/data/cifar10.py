"""CIFAR-10 (A. Krizhevsky, 2009) as this project has it: all images as JPEG, and the first rows of each batch lossless.

The two must not be joined: the JPEG tree holds the lossless rows too. Archives are verified and read in memory.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dpuflow.data.root import data_root, read_verified, tar_members, unpack_xz
from dpuflow.errors import DataError
from dpuflow.ir.graph import Array

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
JPEG = ("cifar10/cifar10-jpg-full.tar.xz", "3107e048ae600fa105a622c9186bbd137bb9a91e20379d305492cbfaaf2f71a4")
LOSSLESS = ("cifar10/cifar-10-batches-py-head1017.tar.xz",
            "1765f8c91f5e0a58dfc5c892634ed5a1a02e5f5a4837e0aa5ff54a6825fd8c0d")
_PICKLED = {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}


@dataclass(frozen=True)
class Images:
    """``x`` uint8 (N, 32, 32, 3), red first, and the class number of each."""

    x: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Array) -> Images:
        """The images at ``indices``, in that order."""
        return Images(self.x[indices], self.labels[indices])


def load_jpeg(argument: str | Path | None) -> tuple[Images, Images]:
    """Training (50000) and test (10000) images of the JPEG archive, sorted by class."""
    path, content = _archive(argument, *JPEG)
    parts: dict[str, list[tuple[Array, int]]] = {"train": [], "test": []}
    for name, data in tar_members(content, path):
        _, part, label, _ = name.split("/")
        parts[part].append((_decode(data, name, path), CLASSES.index(label)))
    return _images(parts["train"]), _images(parts["test"])


def load_lossless_test(argument: str | Path | None) -> Images:
    """The lossless rows of the test batch (1017)."""
    path, content = _archive(argument, *LOSSLESS)
    for name, data in tar_members(content, path):
        if name.endswith("/test_batch"):
            return _rows(_RestrictedUnpickler(io.BytesIO(data), encoding="latin1").load(), path)
    raise DataError("the archive holds no test batch", where=path)


def _archive(argument: str | Path | None, archive: str, sha256: str) -> tuple[Path, bytes]:
    path = data_root(argument, archive) / archive
    return path, unpack_xz(read_verified(path, sha256), path)


def _decode(data: bytes, name: str, where: Path) -> Array:
    import cv2

    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None or image.shape != (32, 32, 3):
        raise DataError("a picture cannot be read", where=where, got=name)
    return np.asarray(image[..., ::-1])


def _images(items: list[tuple[Array, int]]) -> Images:
    return Images(np.stack([image for image, _ in items]), np.array([label for _, label in items]))


def _rows(batch: Mapping[str, Any], where: Path) -> Images:
    data = np.asarray(batch["data"])
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072:
        raise DataError("not a CIFAR-10 batch", where=where, expected="rows of 3072 bytes", got=data.shape)
    return Images(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), np.asarray(batch["labels"]))


class _RestrictedUnpickler(pickle.Unpickler):
    """Arrays of numbers only: a pickle may otherwise run any code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PICKLED:
            raise DataError("the batch holds something other than arrays", where=LOSSLESS[0], got=f"{module}.{name}")
        return super().find_class(module, name)
