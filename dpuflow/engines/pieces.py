"""Large batches in pieces of so many images as the processor's cache holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dpuflow.ir.graph import Array

Infer = Callable[[Sequence[Array]], Sequence[Array]]  # inputs to outputs, in memory that the next call writes again


def compute_in_pieces(infer: Infer, given: Sequence[Array], at_once: int) -> list[Array]:
    """The outputs of all images, each copied once from the library's memory.

    All pieces have one size, the one that the library is made ready for: the last images are computed with some
    before them once more.
    """
    batch = given[0].shape[0]
    pieces = -(-batch // at_once)
    if pieces == 1:
        return [own.copy() for own in infer(given)]
    size = -(-batch // pieces)
    results: list[Array] = []
    for first in (min(piece * size, batch - size) for piece in range(pieces)):
        outputs = infer([array[first:first + size] for array in given])
        results = results or [np.empty((batch, *own.shape[1:]), own.dtype) for own in outputs]
        for result, own in zip(results, outputs, strict=True):
            result[first:first + size] = own
        del outputs, own  # LiteRT does not run while somebody looks at its memory
    return results
