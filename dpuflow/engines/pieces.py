"""Large batches in pieces of so many images as the processor's cache holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dpuflow.ir.graph import Array

Infer = Callable[[Sequence[Array]], Sequence[Array]]  # inputs to outputs, in memory that the next call writes again


def piece_size(batch: int, at_once: int) -> int:
    """The images of a piece: from half of ``at_once`` on the size with the fewest images in all, of these the largest.
    """
    if batch <= at_once:
        return batch
    return min(range(at_once, (at_once - 1) // 2, -1), key=lambda size: -(-batch // size) * size)


def compute_in_pieces(infer: Infer, given: Sequence[Array], at_once: int) -> list[Array]:
    """The outputs of all images, each copied once from the library's memory.

    All pieces have one size, the one that the library is made ready for: the last images are computed with some
    before them once more.
    """
    batch = given[0].shape[0]
    size = piece_size(batch, at_once)
    if size == batch:
        return [own.copy() for own in infer(given)]
    results: list[Array] = []
    for first in (min(first, batch - size) for first in range(0, batch, size)):
        outputs = infer([array[first:first + size] for array in given])
        results = results or [np.empty((batch, *own.shape[1:]), own.dtype) for own in outputs]
        for result, own in zip(results, outputs, strict=True):
            result[first:first + size] = own
        del outputs, own  # LiteRT does not run while somebody looks at its memory
    return results
