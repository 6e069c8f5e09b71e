"""The 62 character classes, their case twins, and accuracy over them.

Two figures are reported. *Top-1* compares the 62 classes. *Case-merged* compares letters without
regard to case, over 36 classes: once a crop is scaled to a square, c/C, o/O, s/S, v/V, w/W, x/X and
z/Z cannot be told apart, and the other letters are merged with them so that the figure has one
plain meaning (data specification, "Chars74K").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpuflow.ir.graph import Array

DIGITS = "0123456789"
UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LABELS: tuple[str, ...] = tuple(DIGITS + UPPER + UPPER.lower())
FAKE_CLASS = len(LABELS)
CASE_TWINS = "cosvwxz"  # letters whose two cases have the same shape


def merge_case(labels: Array) -> Array:
    """Class numbers with lower-case letters replaced by their capitals.

    >>> merge_case(np.array([0, 10, 36, 61])).tolist()
    [0, 10, 10, 35]
    """
    first_lower = len(DIGITS) + len(UPPER)
    labels = np.asarray(labels)
    return np.where(labels >= first_lower, labels - len(UPPER), labels)


@dataclass(frozen=True)
class Accuracy:
    """A share of right answers among ``count`` images with its 95 % Wilson interval."""

    share: float
    low: float
    high: float
    count: int

    def as_json(self) -> Mapping[str, Any]:
        """The same as a JSON object; shares rounded to six places."""
        return {"accuracy": round(self.share, 6), "low": round(self.low, 6), "high": round(self.high, 6),
                "count": self.count}


def accuracy(right: Array) -> Accuracy:
    """Accuracy of a list of right (True) and wrong (False) answers; NaN for none at all.

    The interval is E. B. Wilson's score interval for a binomial share, z = 1.96.
    """
    right = np.asarray(right, dtype=bool)
    count, z = right.size, 1.959964
    if not count:
        return Accuracy(math.nan, math.nan, math.nan, 0)
    share = float(np.count_nonzero(right)) / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return Accuracy(share, max(centre - half, 0.0), min(centre + half, 1.0), count)


def score(labels: Array, predicted: Array) -> Mapping[str, Any]:
    """Top-1 and case-merged accuracy of predicted classes, as a JSON object."""
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    return {
        "top1": accuracy(labels == predicted).as_json(),
        "case_merged": accuracy(merge_case(labels) == merge_case(predicted)).as_json(),
    }
