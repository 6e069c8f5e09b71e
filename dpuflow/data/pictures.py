"""A labelled set of gray pictures of any sizes, and operations that give a new set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpuflow.data.classes import LABELS
from dpuflow.ir.graph import Array


@dataclass(frozen=True)
class Pictures:
    """``images[i]`` is uint8 (H, W) of class ``labels[i]``, read from ``names[i]``.

    ``groups[i]`` names what must not be split (a font family, a writer), or is empty.
    """

    images: Sequence[Array]
    labels: Array
    names: Sequence[str]
    groups: Sequence[str]

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Iterable[int]) -> Pictures:
        """The pictures at ``indices``, in that order."""
        chosen = [int(index) for index in indices]
        return Pictures([self.images[i] for i in chosen], self.labels[chosen],
                        [self.names[i] for i in chosen], [self.groups[i] for i in chosen])

    def digest(self) -> str:
        """SHA-256 over the sorted list of names, labels and pixels."""
        lines = sorted(f"{name}\t{label}\t{pixel_key(image)}"
                       for name, label, image in zip(self.names, self.labels, self.images, strict=True))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Item:
    """One picture on its way into a set."""

    image: Array
    label: int
    name: str
    group: str = ""


def gather(items: Iterable[Item]) -> Pictures:
    """The set of some items."""
    found = list(items)
    return Pictures([item.image for item in found], np.array([item.label for item in found], dtype=np.int64),
                    [item.name for item in found], [item.group for item in found])


def join(sets: Sequence[Pictures]) -> Pictures:
    """All pictures of some sets, one after another."""
    labels = [part.labels for part in sets] or [np.zeros(0, np.int64)]
    return Pictures([image for part in sets for image in part.images], np.concatenate(labels),
                    [name for part in sets for name in part.names],
                    [group for part in sets for group in part.groups])


def pixel_key(image: Array) -> str:
    """A digest of a picture's size and pixels."""
    return hashlib.sha256(f"{image.shape} ".encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


def counts_per_class(pictures: Pictures) -> Mapping[str, int]:
    """How many pictures each class has."""
    counts = np.bincount(pictures.labels, minlength=len(LABELS))
    return {label: int(count) for label, count in zip(LABELS, counts, strict=True)}


def summary(pictures: Pictures) -> Mapping[str, Any]:
    """Counts and digest for the records of a stage."""
    return {"count": len(pictures), "digest": pictures.digest(),
            "groups": len({group for group in pictures.groups if group}),
            "per_class": counts_per_class(pictures)}
