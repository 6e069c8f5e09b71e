"""Networks that read words with CTC: symbols and a blank at every step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dpuedge import ctc, manifest
from dpuflow.artifact import Stage
from dpuflow.data.words import word_score
from dpuflow.engines import open_engine
from dpuflow.errors import DataError
from dpuflow.tasks.base import Arrays, Evaluated, Task
from dpuflow.tasks.host_times import ONE_CORE, rows


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
    """Median milliseconds of :mod:`dpuflow.tasks.host_times`, in a process whose BLAS keeps to one core."""
    name = manifest.load(str(done.folder)).outputs[0].name
    output = open_engine(done.compiled, "fast").run(done.test["x"][:1], (name,))[name]
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "output.npy"
        np.save(saved, output)
        run = subprocess.run([sys.executable, "-m", "dpuflow.tasks.host_times", str(done.folder), str(saved)],
                             capture_output=True, text=True, check=False, env={**os.environ, **ONE_CORE})
    if run.returncode:
        raise DataError("the layers behind the DPU cannot be timed", where=done.folder, got=run.stderr.strip()[-200:])
    times: dict[str, Any] = json.loads(run.stdout)
    return times


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
