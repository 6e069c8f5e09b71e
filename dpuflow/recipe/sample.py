"""A bounded number of calibration images: some to fit parameters to, others held out to judge by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from dpuflow.ir.graph import Array, Graph
from dpuflow.quant.calibrate import check_batch

FIT_IMAGES = 512
HELD_IMAGES = 256
_BUDGET_BYTES = 96 << 20  # of the largest map over all fitting images
_FEWEST = 8


@dataclass(frozen=True)
class Sample:
    """``fit`` and ``held``: arrays by input node. With too few images both are the same ones (``shared``)."""

    fit: Mapping[str, Array]
    held: Mapping[str, Array]
    shared: bool


def image_limit(network: Graph, wanted: int) -> int:
    """As many images as the largest feature map allows, at most ``wanted``."""
    largest = max((4 * int(np.prod(node.shape[1:])) for node in network.nodes if node.data is None), default=4)
    return max(min(wanted, _BUDGET_BYTES // largest), _FEWEST)


def draw_sample(batches: Iterable[Mapping[str, Array]], placeholders: tuple[str, ...], network: Graph) -> Sample:
    """The first images of the batches: every third to judge by, the others to fit to."""
    fit, held = image_limit(network, FIT_IMAGES), image_limit(network, HELD_IMAGES)
    images = _first(batches, placeholders, fit + held)
    count = min(len(array) for array in images.values())
    if count < 3:
        return Sample(images, images, True)
    chosen = np.arange(count) % 3 == 2
    return Sample({name: array[:count][~chosen][:fit] for name, array in images.items()},
                  {name: array[:count][chosen][:held] for name, array in images.items()}, False)


def _first(batches: Iterable[Mapping[str, Array]], placeholders: tuple[str, ...], count: int) -> dict[str, Array]:
    parts: dict[str, list[Array]] = {name: [] for name in placeholders}
    seen = 0
    for index, batch in enumerate(batches):
        arrays = check_batch(batch, placeholders, index)
        for name, array in arrays.items():
            parts[name].append(array[:count - seen])
        seen += min(len(array) for array in arrays.values())
        if seen >= count:
            break
    return {name: np.concatenate(part) for name, part in parts.items()}
