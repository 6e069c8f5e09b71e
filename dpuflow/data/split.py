"""De-duplication and splits: nothing that is learned from appears again in a test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from dpuflow.data.pictures import Pictures, pixel_key
from dpuflow.errors import DataError

T = TypeVar("T")


@dataclass(frozen=True)
class Deduplicated:
    """A set without exact duplicates, and how many pictures went."""

    pictures: Pictures
    duplicates: int
    conflicts: int

    def as_json(self) -> Mapping[str, int]:
        """The counts for a stage's records."""
        return {"duplicates_dropped": self.duplicates, "conflicting_dropped": self.conflicts}


def deduplicate(pictures: Pictures) -> Deduplicated:
    """Keep the first of pixel-equal pictures; drop all of them if they carry different labels."""
    places: dict[str, list[int]] = defaultdict(list)
    for index, image in enumerate(pictures.images):
        places[pixel_key(image)].append(index)
    kept, conflicts = [], 0
    for same in places.values():
        if len({int(pictures.labels[index]) for index in same}) > 1:
            conflicts += len(same)
        else:
            kept.append(same[0])
    kept.sort()
    return Deduplicated(pictures.take(kept), len(pictures) - len(kept) - conflicts, conflicts)


def without(pictures: Pictures, *others: Pictures) -> Pictures:
    """Those pictures whose pixels occur in none of the other sets."""
    taken = {pixel_key(image) for other in others for image in other.images}
    return pictures.take(i for i, image in enumerate(pictures.images) if pixel_key(image) not in taken)


def split_by_class(pictures: Pictures, shares: Sequence[float], seed: int) -> list[Pictures]:
    """Disjoint sets with the given shares of every class, which add up to one.

    Counts go to the nearest whole number; the first set takes the rest.
    """
    _check_shares(shares)
    rng = np.random.default_rng(seed)
    parts: list[list[int]] = [[] for _ in shares]
    for label in np.unique(pictures.labels):
        members = rng.permutation(np.flatnonzero(pictures.labels == label))
        for part, chunk in zip(parts, _cut(members.tolist(), shares), strict=True):
            part.extend(chunk)
    return [pictures.take(sorted(part)) for part in parts]


def split_by_group(pictures: Pictures, shares: Sequence[float], seed: int) -> list[Pictures]:
    """As :func:`split_by_class`, but whole groups (font families) go to one set."""
    _check_shares(shares)
    groups = sorted(set(pictures.groups))
    if len(groups) < len(shares):
        raise DataError("too few groups (font families) to split", got=len(groups), expected=f"at least {len(shares)}",
                        remedy="add fonts, for example those of the system")
    order = [groups[i] for i in np.random.default_rng(seed).permutation(len(groups))]
    sets = [set(chunk) for chunk in _cut(order, shares, least=1)]
    return [pictures.take(i for i, group in enumerate(pictures.groups) if group in chosen) for chosen in sets]


def _check_shares(shares: Sequence[float]) -> None:
    if not shares or min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise DataError("shares of a split must not be negative and must add up to one", got=list(shares))


def _cut(members: list[T], shares: Sequence[float], least: int = 0) -> list[list[T]]:
    """Cut a list at the shares: all but the first part hold the nearest count, at least ``least``."""
    counts = [max(int(share * len(members) + 0.5), least) for share in shares[1:]]
    start = len(members) - sum(counts)
    parts = [members[:max(start, 0)]]
    for count in counts:
        parts.append(members[max(start, 0):start + count])
        start += count
    return parts
