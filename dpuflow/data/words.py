"""How well words were read: right words, right characters, and the edits that would mend the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpuflow.data.classes import accuracy

INSERTED = DELETED = ""  # what stands in the place of the symbol that is not there


@dataclass(frozen=True)
class Edit:
    """One difference: ``truth`` at ``position`` of the true word was read as ``read``.

    An empty ``truth`` is an inserted symbol (before ``position``), an empty ``read`` a missing one.
    """

    position: int
    truth: str
    read: str

    @property
    def kind(self) -> str:
        """substitution, insertion or deletion."""
        return "insertion" if not self.truth else "deletion" if not self.read else "substitution"


def edits(truth: str, read: str) -> list[Edit]:
    """The fewest edits between two words (V. Levenshtein), substitutions before others on equality.

    >>> edits("2bnny", "2bny")
    [Edit(position=3, truth='n', read='')]
    >>> [edit.kind for edit in edits("abc", "axcd")]
    ['substitution', 'insertion']
    """
    costs = np.zeros((len(truth) + 1, len(read) + 1), np.int64)
    costs[:, 0], costs[0] = np.arange(len(truth) + 1), np.arange(len(read) + 1)
    for i, t in enumerate(truth, 1):
        for j, r in enumerate(read, 1):
            costs[i, j] = min(costs[i - 1, j - 1] + (t != r), costs[i - 1, j] + 1, costs[i, j - 1] + 1)
    found, i, j = list[Edit](), len(truth), len(read)
    while i or j:
        differs = i and j and truth[i - 1] != read[j - 1]
        if i and j and costs[i, j] == costs[i - 1, j - 1] + bool(differs):
            i, j = i - 1, j - 1
            if differs:
                found.append(Edit(i, truth[i], read[j]))
        elif i and costs[i, j] == costs[i - 1, j] + 1:
            i -= 1
            found.append(Edit(i, truth[i], DELETED))
        else:
            j -= 1
            found.append(Edit(i, INSERTED, read[j]))
    return found[::-1]


def word_score(truth: Sequence[str], read: Sequence[str]) -> Mapping[str, Any]:
    """Right words and right characters with 95 % intervals, and the count of each kind of edit, as JSON.

    A character is right when no edit touches it: one minus edits per true character, not below zero.
    """
    differences = [edits(t, r) for t, r in zip(truth, read, strict=True)]
    characters = sum(map(len, truth))
    wrong = min(sum(map(len, differences)), characters)
    kinds = [edit.kind for found in differences for edit in found]
    return {
        "words": accuracy(np.array([t == r for t, r in zip(truth, read, strict=True)], bool)).as_json(),
        "characters": accuracy(np.arange(characters) >= wrong).as_json(),
        **{f"{kind}s": kinds.count(kind) for kind in ("substitution", "insertion", "deletion")},
    }
