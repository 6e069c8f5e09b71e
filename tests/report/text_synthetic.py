"""Artefacts of a network that reads text, made up from drawn words and scores, to try its page on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from dpuflow.arrays import write_arrays
from dpuflow.artifact import write_stage

SYMBOLS = ("a", "b", "c")
BLANK = len(SYMBOLS)
STEPS = 6
SPEC = {"id": "words6x4-v1", "height": STEPS, "width": 4, "channels": 1, "fit": "stretch", "normalize": "unit",
        "clip": None}
TRUTH = ("ab", "ac", "bb", "ca", "cb", "ba")
READ = ("ab", "bc", "b", "cab", "cb", "ba")  # one symbol replaced, one missing, one inserted


def scores_of(words: tuple[str, ...]) -> np.ndarray:
    """Float32 scores (N, STEPS, 1, 4) whose best path spells the words, a blank after each symbol."""
    scores = np.zeros((len(words), STEPS, 1, BLANK + 1), np.float32)
    scores[..., BLANK] = 2.0
    for row, word in enumerate(words):
        for at, symbol in enumerate(word):
            scores[row, 2 * at, 0, SYMBOLS.index(symbol)] = 5.0
    return scores


def write_train(build: Path, **info: Any) -> None:
    random = np.random.default_rng(1)
    gray = random.integers(0, 256, (len(TRUTH), STEPS, 4), np.uint8)
    labels = np.array([[SYMBOLS.index(symbol) for symbol in word] for word in TRUTH])
    curve = [{"step": s, "epoch": s, "loss": 2.0 / s, "validation_loss": 2.5 / s, "validation_word_accuracy": s / 3}
             for s in (1, 2, 3)]
    with write_stage(build / "train", "train", {"seed": 1}) as writer:
        writer.info.update({"task": "ctc", "network": "tiny", "labels": list(SYMBOLS), "blank": BLANK,
                            "fake_class": None, "preprocessing": SPEC, **info})
        training = {"curve": curve, "parameters": 1234, "seconds": 3.5, "stopped_by": ""}
        writer.path("training.json").write_text(json.dumps(training), encoding="utf-8")
        writer.path("layers.txt").write_text("layer table <of> the network\n", encoding="utf-8")
        write_arrays(writer.path("test.npz"), {"gray": gray, "labels": labels,
                                               "x": gray[..., None].astype(np.float32)})


def write_compile(build: Path, name: str) -> None:
    blob = b"no real model either"
    manifest = {
        "schema": 1, "name": name, "kernel": name, "tool": "dpuflow 0.1.0", "task": "ctc", "blank": BLANK,
        "inputs": [{"name": "image", "shape": [1, STEPS, 4, 1], "fix_point": 7}],
        "outputs": [{"name": "scores", "shape": [1, STEPS, 1, BLANK + 1], "fix_point": 3}],
        "cpu_tail": [{"name": "out", "op": "softmax"}], "preprocessing": SPEC, "labels": list(SYMBOLS),
        "fake_class": None, "core": {"name": "B1152", "target": "zedboard"},
        "files": {f"{name}.xmodel": hashlib.sha256(blob).hexdigest()}}
    layers = [{"name": "conv", "cycles": 9000, "ms": 0.1, "macs": 1000, "bytes": 2000, "bound": "conv"}]
    estimate = {"target": "zedboard", "core": "B1152", "total_ms": 0.1, "fps": 1e4, "clock_mhz": 90.0,
                "layers": layers, "error_band": "+-10 %"}
    with write_stage(build / "compile", "compile", {"target": "zedboard"}) as writer:
        writer.path(f"{name}.xmodel").write_bytes(blob)
        writer.path(f"{name}.json").write_text(json.dumps(manifest), encoding="utf-8")
        writer.path("estimate.json").write_text(json.dumps(estimate), encoding="utf-8")
        writer.path("kernels.txt").write_text("kernels\n", encoding="utf-8")


def _share(right: int, count: int) -> dict[str, Any]:
    return {"accuracy": right / count, "low": 0.2, "high": 0.9, "count": count}


def write_emulate(build: Path, labels: np.ndarray | None = None) -> None:
    figures = {"words": _share(3, 6), "characters": _share(9, 12), "substitutions": 1, "insertions": 1, "deletions": 1,
               "agreement_with_float": 0.5}
    measures = {
        "engines": {"tensors_compared": 9, "tensors_different": 0, "images": len(TRUTH)}, "images": len(TRUTH),
        "layers": [{"name": "conv", "op": "conv2d", "fix_point": 3, "min": 0.0, "max": 7.0, "saturated_share": 0.0,
                    "sqnr_db": 33.0, "cosine": 0.999}],
        "accuracy": dict.fromkeys(("float", "quantized", "reference", "fast"), figures),
        "beam": {**figures, "width": 10},
        "host_times": {"tail": [{"name": "memory/forward", "op": "lstm", "ms": 0.5, "macs": 4000},
                                {"name": "joined", "op": "concat", "ms": 0.25, "macs": 0}],
                       "tail_ms": 0.75, "greedy_ms": 0.25, "beam_ms": 1.5}}
    read = scores_of(READ)
    with write_stage(build / "emulate", "emulate", {"model": "cd"}) as writer:
        write_arrays(writer.path("evaluation.npz"), {
            "labels": np.load(build / "train" / "test.npz")["labels"] if labels is None else labels,
            "confidence": np.linspace(0.4, 0.9, len(TRUTH)), "float_logits": scores_of(TRUTH),
            "quantized_logits": read, "reference_logits": read, "fast_logits": read})
        writer.path("evaluation.json").write_text(json.dumps(measures), encoding="utf-8")


def write_quantize(build: Path) -> None:
    choice = {"tensor": "crossing", "fix_point": 2, "fix_point_by_rule": 3, "output_error": {"2": 1e-6, "3": 2e-6}}
    with write_stage(build / "quantize", "quantize", {}) as writer:
        writer.path("boundary.json").write_text(json.dumps([choice]), encoding="utf-8")


def write_text_network(build: Path) -> Path:
    """All stages that the page needs; the build folder."""
    write_train(build)
    write_compile(build, build.name)
    write_emulate(build)
    return build
