"""Batches that stream and can be run through again: what calibration, linter and report read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from dpuflow.ir.graph import Array, Graph

Batch = Mapping[str, Array]
USUAL_BATCH = 128
MAP_VALUES = 1 << 26  # of the largest feature map of a batch: 256 MB, of which a few are there at a time


def affordable_batch(network: Graph) -> int:
    """128 images, or fewer where a feature map of that many is larger than 256 MB; by the network's size alone."""
    largest = max((math.prod(node.shape[1:]) for node in network.nodes if node.data is None), default=1)
    return max(1, min(USUAL_BATCH, MAP_VALUES // max(largest, 1)))


@dataclass(frozen=True)
class CalibrationSet:
    """Batches ``{input node: (N, H, W, C) float32}``; every ``iter()`` opens the source anew.

    ``images`` is None where only reading tells. ``labels`` are the class numbers of the images in
    order, None if unknown. ``notes`` say in words what was assumed while reading.
    """

    description: str
    open: Callable[[], Iterator[Batch]]
    images: int | None = None
    labels: Array | None = None
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Batch]:
        """The batches from the first on."""
        return self.open()

    def head(self, images: int) -> CalibrationSet:
        """The first images only, at least one batch."""
        return CalibrationSet(self.description, lambda: _first(self.open(), images),
                              None if self.images is None else min(self.images, images), self.labels, self.notes)


def _first(batches: Iterator[Batch], images: int) -> Iterator[Batch]:
    left = images
    for batch in batches:
        yield {name: array[:left] for name, array in batch.items()}
        left -= min((len(array) for array in batch.values()), default=0)
        if left <= 0:
            return


def take(batches: CalibrationSet, count: int) -> list[Batch]:
    """The first batches as a list."""
    return list(islice(iter(batches), count))
