"""Collects instructions and gives them their tokens: what each must wait for follows from what it touches.

Instructions come in an order that is right if they run one after the other. From each one's reads
and writes follows on which instructions of the other queues it depends; a token is spent only where
no earlier token already tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dpuflow.ir.graph import Array
from dpuflow.program.instructions import OPERATIONS, QUEUES, Instruction, make


class Track:
    """Who wrote and who read each part of a memory area last: for every queue an instruction's number, 0 none."""

    def __init__(self, *shape: int, inherit: Array | None = None) -> None:
        self.written = np.zeros((len(QUEUES), *shape), np.int64)
        self.read = np.zeros((len(QUEUES), *shape), np.int64)
        if inherit is not None:  # what lay here before: to be written only when all that is done
            self.read += inherit.reshape(-1, *[1] * len(shape))

    def latest(self) -> Array:
        """The last access of each queue to any part."""
        flat = np.maximum(self.written, self.read).reshape(len(QUEUES), -1)
        return np.asarray(flat.max(axis=1, initial=0))


Touch = tuple[Track, Any]  # an area and which parts of it: an index behind the queue's


class Spans:
    """Areas over one memory's addresses: a new one waits for whoever used its addresses before."""

    def __init__(self) -> None:
        self.areas: list[tuple[int, int, Track]] = []

    def open(self, start: int, end: int, *shape: int) -> Track:
        """A new area over the addresses start..end."""
        inherit = np.zeros(len(QUEUES), np.int64)
        kept = []
        for area in self.areas:
            if area[0] < end and area[1] > start:
                inherit = np.maximum(inherit, area[2].latest())
                if start <= area[0] and area[1] <= end:
                    continue
            kept.append(area)
        track = Track(*shape, inherit=inherit)
        self.areas = [*kept, (start, end, track)]
        return track


class Builder:
    """The instructions so far. ``serial``: every step waits for the one before it to end, as the baseline does."""

    def __init__(self, serial: bool = False) -> None:
        self.serial = serial
        self.made: list[tuple[str, int, Mapping[str, int]]] = []
        self.waits: list[int] = []
        self.signals: list[int] = []
        self._known = np.zeros((len(QUEUES), len(QUEUES)), np.int64)  # by queue: the last of each known to be done
        self._at_start: list[Array] = [np.zeros(len(QUEUES), np.int64)]
        self._last = np.zeros(len(QUEUES), np.int64)
        self._barrier = np.zeros(len(QUEUES), np.int64)

    def barrier(self) -> None:
        """All that follows waits for all that is there."""
        self._barrier = self._last.copy()

    def emit(self, op: str, layer: int, fields: Mapping[str, int], reads: Iterable[Touch],
             writes: Iterable[Touch]) -> None:
        """Add an instruction; wait for those that wrote what it reads, and that used what it writes."""
        queue, number = QUEUES.index(OPERATIONS[op][1]), len(self.made) + 1
        reads, writes = tuple(reads), tuple(writes)
        need = self._barrier.copy()
        for track, part in reads:
            np.maximum(need, _latest(track.written, part), out=need)
        for track, part in writes:
            np.maximum(need, _latest(track.written, part), out=need)
            np.maximum(need, _latest(track.read, part), out=need)
        self.made.append((op, layer, fields))
        self.waits.append(0)
        self.signals.append(0)
        self._take_tokens(queue, need)
        self._known[queue, queue] = number
        self._at_start.append(self._known[queue].copy())
        self._last[queue] = number
        for track, part in reads:
            at = (queue, *part)
            track.read[at] = number
        for track, part in writes:
            at = (queue, *part)
            track.written[at] = number

    def _take_tokens(self, queue: int, need: Array) -> None:
        known = self._known[queue]
        for giver in np.argsort(-need):
            number = int(need[giver])
            if giver == queue or number <= known[giver]:
                continue
            self.signals[number - 1] |= 2**queue
            self.waits[-1] |= 2 ** int(giver)
            np.maximum(known, self._at_start[number], out=known)

    def finished(self) -> tuple[Instruction, ...]:
        """All instructions with their tokens."""
        return tuple(make(op, layer, fields, wait, signal) for (op, layer, fields), wait, signal
                     in zip(self.made, self.waits, self.signals, strict=True))


def _latest(numbers: Array, part: Any) -> Array:
    at = (slice(None), *part)
    return np.asarray(numbers[at].reshape(len(QUEUES), -1).max(axis=1, initial=0))
