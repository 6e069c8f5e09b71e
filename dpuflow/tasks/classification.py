"""Networks that say what a picture shows: one class, or (with a fake class) none of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dpuflow.arrays import stage_arrays
from dpuflow.artifact import Stage
from dpuflow.data.classes import FAKE_CLASS, LABELS, score
from dpuflow.engines import open_engine
from dpuflow.errors import DataError
from dpuflow.tasks.base import Arrays, Evaluated, Task


def check(test: Arrays, train: Stage) -> None:
    """An integer label for each picture, one of the classes."""
    classes, where = len(train.info.get("labels", LABELS)), train.path("test.npz")
    labels = test.get("labels", np.zeros(0))
    if labels.dtype.kind not in "iu" or len(labels) != len(test["x"]) or not len(labels):
        raise DataError("the labels do not fit the pictures", where=where, expected=f"{len(test['x'])} integers",
                        got=f"{len(labels)} {labels.dtype}", remedy="run `make train` again")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError("a label is out of range", where=where, expected=f"0..{classes - 1}",
                        got=f"{labels.min()}..{labels.max()}", remedy="run `make train` again")


def measure(done: Evaluated) -> tuple[Arrays, dict[str, Any]]:
    """Accuracy of each form, and the logits of pictures that are no characters."""
    nonchars = stage_arrays(done.train, "nonchars.npz")
    engine = open_engine(done.compiled, "fast")
    more = {"labels": done.test["labels"],
            "nonchar_logits": engine.run(nonchars["x"], (done.logits_name,))[done.logits_name]}
    return more, {"accuracy": accuracies(done.test["labels"], done.logits)}


def accuracies(labels: Any, logits: Arrays) -> dict[str, Any]:
    """Top-1 and case-merged accuracy of each form among the real classes, and agreement with float."""
    chosen = {form: value[:, :FAKE_CLASS].argmax(axis=1) for form, value in logits.items()}
    agreement = {form: float(np.mean(classes == chosen["float"])) for form, classes in chosen.items()}
    return {form: {**score(labels, classes), "agreement_with_float": agreement[form]}
            for form, classes in chosen.items()}


def summary(result: Mapping[str, Any]) -> list[str]:
    """A line per form."""
    return [f"  {form:<10} top-1 {figures['top1']['accuracy']:.4f}  "
            f"case-merged {figures['case_merged']['accuracy']:.4f}  "
            f"agrees with float {figures['agreement_with_float']:.4f}" for form, figures in result["accuracy"].items()]


TASK = Task(check, measure, summary)
