"""What the processor's part of a network that reads words takes here, one image at a time on one core.

    python -m dpuflow.tasks.host_times MODEL_FOLDER OUTPUT.npy

OUTPUT.npy: the DPU's int8 output for one image. Prints JSON. A process of its own, because NumPy's BLAS reads
the number of its threads once: threads only hinder products as small as an LSTM step's, most of all on a busy computer.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from dpuedge import ctc, manifest, tail
from dpuflow.ir.graph import Array

ONE_CORE = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_REPEATS = 15


def rows(logits: Array) -> Array:
    """Scores as (N, T, C)."""
    return logits.reshape(len(logits), -1, logits.shape[-1])


def measured(folder: Path, output: Array) -> dict[str, Any]:
    """Median milliseconds of each layer behind the DPU, and of decoding by best path and by beam."""
    model = manifest.load(str(folder))
    values: dict[str, Array] = {model.outputs[0].name: output}
    steps = []
    for step in tail.layers(model.cpu_tail):
        ms, values[step["name"]] = _timed(tail.compute, step, values, model.parameters)
        macs = tail.macs(step, values, model.parameters)
        steps.append({"name": step["name"], "op": step["op"], "ms": ms, "macs": macs})
    scores = rows(np.asarray(tail.scores(model, output)))
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


if __name__ == "__main__":
    json.dump(measured(Path(sys.argv[1]), np.load(sys.argv[2])), sys.stdout)
