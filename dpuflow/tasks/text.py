"""Networks that read words with CTC: symbols and a blank at every step."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dpuedge import ctc, manifest, tail
from dpuflow.artifact import Stage
from dpuflow.data.words import word_score
from dpuflow.engines import open_engine
from dpuflow.errors import DataError
from dpuflow.ir.graph import Array
from dpuflow.tasks.base import Arrays, Evaluated, Task

_REPEATS = 15
_TIMED_IMAGES = 64


def check(test: Arrays, train: Stage) -> None:
    """A row of symbols for each picture, each one of the alphabet's."""
    symbols, where = len(train.info.get("labels", ())), train.path("test.npz")
    labels = test.get("labels", np.zeros(0))
    if labels.dtype.kind not in "iu" or labels.ndim != 2 or len(labels) != len(test["x"]) or not labels.size:
        raise DataError("the words do not fit the pictures", where=where, got=f"{labels.shape} {labels.dtype}",
                        expected=f"({len(test['x'])}, L) integers", remedy="run `make train` again")
    if labels.min() < 0 or labels.max() >= symbols:
        raise DataError("a symbol is out of range", where=where, expected=f"0..{symbols - 1}",
                        got=f"{labels.min()}..{labels.max()}", remedy="run `make train` again")


def words_of(symbols: Sequence[Sequence[int]], labels: Sequence[str]) -> list[str]:
    """Rows of symbols as text."""
    return ["".join(labels[int(symbol)] for symbol in row) for row in symbols]


def rows(logits: Array) -> Array:
    """Scores as (N, T, C)."""
    return logits.reshape(len(logits), -1, logits.shape[-1])


def measure(done: Evaluated) -> tuple[Arrays, dict[str, Any]]:
    """Right words and characters of each form, greedy and by beam, and the time of what the processor does."""
    labels, blank = list(done.train.info["labels"]), int(done.train.info["blank"])
    truth = words_of(done.test["labels"].tolist(), labels)
    read = {form: words_of(ctc.greedy(rows(logits), blank), labels) for form, logits in done.logits.items()}
    fast = rows(done.logits["fast"])
    beam = words_of([ctc.beam_search(scores, blank)[0][0] for scores in fast], labels)
    accuracy = {form: {**word_score(truth, words), "agreement_with_float": _share(words, read["float"])}
                for form, words in read.items()}
    more = {"labels": done.test["labels"],
            "confidence": ctc.word_probabilities(fast, ctc.greedy(fast, blank), blank)}
    return more, {"accuracy": accuracy, "beam": {**word_score(truth, beam), "width": ctc.BEAM_WIDTH},
                  "host_times": host_times(done)}


def _share(words: Sequence[str], others: Sequence[str]) -> float:
    return float(np.mean([word == other for word, other in zip(words, others, strict=True)]))


def host_times(done: Evaluated) -> dict[str, Any]:
    """Median milliseconds on this computer, one image at a time: each layer behind the DPU, and decoding."""
    model = manifest.load(str(done.folder))
    name = model.outputs[0].name
    images = done.test["x"][:_TIMED_IMAGES]
    output = open_engine(done.compiled, "fast").run(images, (name,))[name]
    values, steps = {name: output[:1]}, []
    for step in tail.layers(model.cpu_tail):
        ms, values[step["name"]] = _timed(tail.compute, step, values, model.parameters)
        macs = tail.macs(step, values, model.parameters)
        steps.append({"name": step["name"], "op": step["op"], "ms": ms, "macs": macs})
    scores = rows(np.asarray(tail.scores(model, output[:1])))
    greedy_ms, _ = _timed(lambda: ctc.word_probabilities(scores, ctc.greedy(scores, model.blank), model.blank))
    beam_ms, _ = _timed(lambda: ctc.beam_search(scores[0], model.blank))
    return {"tail": steps, "tail_ms": sum(step["ms"] for step in steps), "greedy_ms": greedy_ms, "beam_ms": beam_ms}


def _timed(work: Any, *arguments: Any) -> tuple[float, Any]:
    taken, result = [], None
    for _ in range(_REPEATS):
        start = time.perf_counter()
        result = work(*arguments)
        taken.append(1e3 * (time.perf_counter() - start))
    return statistics.median(taken), result


def summary(result: Mapping[str, Any]) -> list[str]:
    """A line per form, and the processor's time."""
    lines = []
    for form, figures in result["accuracy"].items():
        words, characters = figures["words"], figures["characters"]
        lines.append(f"  {form:<10} words {words['accuracy']:.4f} ({words['low']:.4f}..{words['high']:.4f})  "
                     f"characters {characters['accuracy']:.5f}  "
                     f"agrees with float {figures['agreement_with_float']:.4f}")
    times = result["host_times"]
    lines.append(f"  behind the DPU, on this computer: {times['tail_ms']:.2f} ms of layers, "
                 f"{times['greedy_ms']:.2f} ms of decoding per image")
    return lines


TASK = Task(check, measure, summary)
