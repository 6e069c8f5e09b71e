"""The figures of the report: accuracy, agreement, confusions, mistakes, P(real)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dpuedge import scores
from dpuflow.data.classes import Accuracy, accuracy
from dpuflow.ir.graph import Array
from dpuflow.report.evidence import Evidence

THRESHOLD = 0.5  # of P(real)


@dataclass(frozen=True)
class EngineRow:
    """One way to run the network over the test set.

    ``top1``, ``merged`` (letters compared without case) and ``top5`` with 95 % Wilson intervals;
    ``agreement``: pictures put into the same class as by the float network; ``gain``: right answers
    more (or fewer) than the float network has, as a share of the pictures.
    """

    engine: str
    top1: Accuracy
    merged: Accuracy
    top5: Accuracy
    agreement: Accuracy
    gain: float


@dataclass(frozen=True)
class Confusion:
    """How often class ``truth`` was read as ``predicted``; ``share`` of that class's pictures."""

    truth: str
    predicted: str
    count: int
    share: float
    is_case_twin: bool


@dataclass(frozen=True)
class Mistake:
    """A wrong answer: picture number, labels, the answer's probability and the truth's, P(real)."""

    index: int
    truth: str
    predicted: str
    probability: float
    truth_probability: float
    p_real: float


@dataclass(frozen=True)
class ClassRow:
    """Accuracy over one class and what it is taken for most often when it is read wrongly."""

    label: str
    accuracy: Accuracy
    most_taken_for: str


@dataclass(frozen=True)
class OtherKind:
    """One kind of pictures that are no characters: AUC against all characters, share below 0.5."""

    kind: str
    auc: float
    rejected: Accuracy


@dataclass(frozen=True)
class Reality:
    """P(real) of characters (N,) and of other pictures (M,), and how well it tells them apart."""

    characters: Array
    others: Array
    auc: float
    characters_kept: Accuracy
    others_rejected: Accuracy
    kinds: Sequence[OtherKind]


def case_groups(labels: Sequence[str]) -> Array:
    """A number per label, the same for the two cases of a letter.

    >>> case_groups(["1", "A", "a"]).tolist()
    [0, 1, 1]
    """
    groups: dict[str, int] = {}
    return np.array([groups.setdefault(label.lower(), len(groups)) for label in labels])


def engine_rows(evidence: Evidence) -> list[EngineRow]:
    """A row per engine, float first."""
    truth, groups = evidence.truth, case_groups(evidence.labels)
    float_class = scores.classify(evidence.logits["float"], evidence.fake_class)
    rows = []
    for engine, logits in evidence.logits.items():
        predicted = scores.classify(logits, evidence.fake_class)
        right = predicted == truth
        rows.append(EngineRow(
            engine, accuracy(right), accuracy(groups[predicted] == groups[truth]),
            accuracy(in_top(logits, truth, evidence.fake_class, 5)), accuracy(predicted == float_class),
            (np.count_nonzero(right) - np.count_nonzero(float_class == truth)) / max(len(truth), 1),
        ))
    return rows


def in_top(logits: Array, truth: Array, fake_class: int | None, count: int) -> Array:
    """Whether the true class is among the ``count`` best of (N, C) logits; ties as in ``top_k``."""
    real = scores.drop_fake(logits, fake_class)
    best = np.argsort(-real, axis=-1, kind="stable")[:, :count]
    result: Array = (best == truth[:, None]).any(axis=-1)
    return result


def equal_rows(evidence: Evidence, one: str, other: str) -> int:
    """Pictures for which two engines give the same logits, every bit of them."""
    return int(np.count_nonzero((evidence.logits[one] == evidence.logits[other]).all(axis=-1)))


def confusion_matrix(truth: Array, predicted: Array, classes: int) -> Array:
    """Counts (classes, classes): row the truth, column the answer."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (truth, predicted), 1)
    return counts


def frequent_confusions(counts: Array, labels: Sequence[str], limit: int) -> list[Confusion]:
    """The most frequent wrong cells of a confusion matrix, most frequent first."""
    wrong = counts * (1 - np.eye(len(labels), dtype=counts.dtype))
    order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
    rows, columns = np.unravel_index(order, wrong.shape)
    return [
        Confusion(labels[i], labels[j], int(wrong[i, j]), float(wrong[i, j] / counts[i].sum()),
                  labels[i].lower() == labels[j].lower())
        for i, j in zip(rows, columns, strict=True) if wrong[i, j]
    ]


def class_rows(counts: Array, labels: Sequence[str]) -> list[ClassRow]:
    """A row per class of a confusion matrix, in the order of the classes."""
    rows = []
    for index, label in enumerate(labels):
        wrong = counts[index].copy()
        wrong[index] = 0
        right = np.repeat([True, False], [counts[index, index], wrong.sum()])
        taken = f"{labels[int(wrong.argmax())]} ({int(wrong.max())}×)" if wrong.any() else "–"
        rows.append(ClassRow(label, accuracy(right), taken))
    return rows


def worst_mistakes(evidence: Evidence, logits: Array, limit: int) -> list[Mistake]:
    """The wrong answers that were given with the greatest certainty, worst first."""
    probabilities = scores.drop_fake(scores.softmax(logits), evidence.fake_class)
    predicted, labels = probabilities.argmax(axis=-1), evidence.labels
    certainty = np.where(predicted == evidence.truth, -1.0, probabilities.max(axis=-1))
    real = scores.p_real(logits, evidence.fake_class)
    return [
        Mistake(int(i), labels[evidence.truth[i]], labels[predicted[i]], float(certainty[i]),
                float(probabilities[i, evidence.truth[i]]), float(real[i]))
        for i in np.argsort(-certainty, kind="stable")[:limit] if certainty[i] >= 0
    ]


def reality(evidence: Evidence, logits: Array) -> Reality | None:
    """How P(real) of characters compares with that of other pictures; None without a fake class."""
    if evidence.fake_class is None or not len(evidence.nonchar_logits):
        return None
    characters = scores.p_real(logits, evidence.fake_class)
    others = scores.p_real(evidence.nonchar_logits, evidence.fake_class)
    kinds = [OtherKind(str(kind), auc(characters, others[evidence.nonchar_kinds == kind]),
                       accuracy(others[evidence.nonchar_kinds == kind] < THRESHOLD))
             for kind in np.unique(evidence.nonchar_kinds)]
    return Reality(characters, others, auc(characters, others), accuracy(characters >= THRESHOLD),
                   accuracy(others < THRESHOLD), kinds)


def auc(positive: Array, negative: Array) -> float:
    """Area under the ROC curve: P(positive > negative) + P(equal) / 2.

    >>> auc(np.array([0.9, 0.5]), np.array([0.1, 0.5]))
    0.875
    """
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left")
    up_to = np.searchsorted(ordered, positive, "right")
    return float((below + up_to).sum() / (2.0 * len(positive) * len(negative)))


def series(history: Sequence[Mapping[str, float]]) -> dict[str, tuple[list[float], list[float]]]:
    """The curves of a training history: name -> (epochs, values), only epochs that have a value."""
    names = sorted({name for row in history for name, value in row.items()
                    if name != "epoch" and isinstance(value, (int, float)) and not isinstance(value, bool)})
    curves = {}
    for name in names:
        points = [(float(row.get("epoch", index + 1)), float(row[name]))
                  for index, row in enumerate(history) if row.get(name) is not None]
        curves[name] = ([x for x, _ in points], [y for _, y in points])
    return curves
