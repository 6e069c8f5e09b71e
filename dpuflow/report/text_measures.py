"""The figures of the page of a network that reads text: errors by kind, place and symbol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dpuflow.data.classes import Accuracy, accuracy
from dpuflow.data.words import Edit, edits
from dpuflow.ir.graph import Array

NOTHING = "∅"  # a symbol that is not there


@dataclass(frozen=True)
class Mistake:
    """A word read wrongly: picture number, the word, what was read, the confidence, and the edits."""

    index: int
    truth: str
    read: str
    confidence: float
    edits: Sequence[Edit]


@dataclass(frozen=True)
class SymbolRow:
    """How one symbol was read: its accuracy over all places, and what it is taken for most often."""

    symbol: str
    accuracy: Accuracy
    most_taken_for: str


def mistakes(truth: Sequence[str], read: Sequence[str], confidence: Array) -> list[Mistake]:
    """All words read wrongly, the surest first."""
    found = [Mistake(index, t, r, float(confidence[index]), edits(t, r))
             for index, (t, r) in enumerate(zip(truth, read, strict=True)) if t != r]
    return sorted(found, key=lambda mistake: -mistake.confidence)


def position_accuracy(truth: Sequence[str], read: Sequence[str]) -> list[Accuracy]:
    """For each place of a word, how often its symbol was read: neither replaced nor missing."""
    right = [[True] * len(word) for word in truth]
    for row, (t, r) in enumerate(zip(truth, read, strict=True)):
        for edit in edits(t, r):
            if edit.truth:
                right[row][edit.position] = False
    length = max(map(len, truth), default=0)
    return [accuracy(np.array([row[place] for row in right if place < len(row)], bool)) for place in range(length)]


def symbol_confusion(truth: Sequence[str], read: Sequence[str], symbols: Sequence[str]) -> Array:
    """Counts (S + 1, S + 1): row the true symbol, column the one read; the last of each is "nothing"."""
    place = {symbol: at for at, symbol in enumerate(symbols)}
    counts = np.zeros((len(symbols) + 1, len(symbols) + 1), np.int64)
    for t, r in zip(truth, read, strict=True):
        wrong = edits(t, r)
        touched = {edit.position for edit in wrong if edit.truth}
        for at, symbol in enumerate(t):
            if at not in touched:
                counts[place[symbol], place[symbol]] += 1
        for edit in wrong:
            counts[place.get(edit.truth, len(symbols)), place.get(edit.read, len(symbols))] += 1
    return counts


def symbol_rows(counts: Array, symbols: Sequence[str]) -> list[SymbolRow]:
    """A row per symbol of a confusion matrix."""
    names, made = [*symbols, NOTHING], []
    for index, symbol in enumerate(symbols):
        wrong = counts[index].copy()
        wrong[index] = 0
        right = np.repeat([True, False], [counts[index, index], wrong.sum()])
        taken = f"{names[int(wrong.argmax())]} ({int(wrong.max())}×)" if wrong.any() else "–"
        made.append(SymbolRow(symbol, accuracy(right), taken))
    return made


def error_kinds(found: Sequence[Mistake]) -> Mapping[str, int]:
    """How many edits of each kind the mistakes need."""
    kinds = [edit.kind for mistake in found for edit in mistake.edits]
    return {kind: kinds.count(kind) for kind in ("substitution", "insertion", "deletion")}
