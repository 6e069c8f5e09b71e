"""Artefacts of all stages made up from drawn letters and random logits, to try the report on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dpuedge.image import DEFAULT_SPEC
from dpuflow.arrays import write_arrays
from dpuflow.artifact import write_stage
from dpuflow.data.classes import FAKE_CLASS, LABELS

OPS = ("conv2d", "conv2d_1", "conv2d_2", "conv2d_3", "conv2d_4", "conv2d_5", "Mean", "dense")
BOUNDS = ("conv", "load", "load", "load", "load", "conv", "fixed cost", "ddr")


def draw(label: str, random: np.random.Generator) -> np.ndarray:
    """A 32x32 picture of a character."""
    picture = np.full((32, 32), 235, np.uint8)
    place = (int(random.integers(3, 9)), int(random.integers(22, 28)))
    cv2.putText(picture, label, place, cv2.FONT_HERSHEY_SIMPLEX, float(random.uniform(0.8, 1.05)), 20, 2, cv2.LINE_AA)
    return picture


def logits_of(labels: np.ndarray, random: np.random.Generator, real: bool = True) -> np.ndarray:
    """Plausible float32 logits (N, 63)."""
    logits = random.normal(0, 1.4, (len(labels), FAKE_CLASS + 1))
    logits[np.arange(len(labels)), labels] += 5.0 if real else 0.5
    logits[:, FAKE_CLASS] += -3.0 if real else 4.0
    return logits.astype(np.float32)


def write_train(build: Path, count: int, others: int, epochs: int) -> np.ndarray:
    """The training stage; its test labels."""
    random = np.random.default_rng(1)
    labels = np.arange(count) % len(LABELS)
    gray = np.stack([draw(LABELS[label], random) for label in labels])
    curves = [{"epoch": e, "loss_supervised": 3 / e, "loss_generator": 1 + 1 / e, "loss_unlabelled": 0.7 + 0.3 / e,
               "validation_accuracy": 0.95 - 0.6 / e} for e in range(1, epochs + 1)]
    key = {"config": {"mode": "gan", "seed": 7, "epochs": epochs}}
    with write_stage(build / "train", "train", key) as writer:
        writer.info.update(labels=list(LABELS), fake_class=FAKE_CLASS, preprocessing=dict(DEFAULT_SPEC),
                           dataset={"train": 100_000, "validation": 2000, "test": count, "digest": "ab" * 32})
        training = {"mode": "gan", "seed": 7, "samples_seen": 500_000, "seconds": 201.5, "curve": curves}
        writer.path("training.json").write_text(json.dumps(training), encoding="utf-8")
        write_arrays(writer.path("samples.npz"), {"samples": random.integers(0, 256, (48, 32, 32), np.uint8)})
        write_arrays(writer.path("test.npz"), {"gray": gray, "labels": labels,
                                               "x": gray[..., None].astype(np.float32)})
        noise = random.integers(0, 256, (others, 32, 32), np.uint8)
        write_arrays(writer.path("nonchars.npz"), {"gray": noise, "x": noise[..., None].astype(np.float32),
                                                   "kinds": np.array(["noise", "texture"])[np.arange(others) % 2]})
    return labels


def write_compile(build: Path) -> None:
    """The compile stage: a model that is no model, its manifest, the estimate, the kernel table."""
    blob = b"not a real xmodel"
    manifest = {
        "schema": 1, "name": "chars74k", "kernel": "chars74k", "tool": "dpuflow 0.1.0",
        "inputs": [{"name": "input_real", "shape": [1, 32, 32, 1], "fix_point": 5}],
        "outputs": [{"name": "discriminator/dense/BiasAdd", "shape": [1, 63], "fix_point": 3}],
        "cpu_tail": [{"name": "discriminator/out", "op": "softmax"}], "preprocessing": dict(DEFAULT_SPEC),
        "labels": list(LABELS), "fake_class": FAKE_CLASS, "core": {"name": "B1152", "target": "zedboard"},
        "files": {"chars74k.xmodel": hashlib.sha256(blob).hexdigest()},
    }
    layers = [{"name": f"discriminator/{op}", "cycles": 12_000 + 4000 * i, "ms": round(0.02 + 0.013 * i, 4),
               "macs": 100_000 * (i + 1), "bytes": 30_000 * (i + 1), "bound": bound}
              for i, (op, bound) in enumerate(zip(OPS, BOUNDS, strict=True))]
    total = sum(layer["ms"] for layer in layers)
    estimate = {"target": "zedboard", "core": "B1152", "total_ms": total, "fps": 1e3 / total, "clock_mhz": 90.0,
                "layers": layers,
                "error_band": "+-10 % compute-bound, +-40 % for small-image nets limited by loading weights"}
    with write_stage(build / "compile", "compile", {"target": "zedboard"}) as writer:
        writer.path("chars74k.xmodel").write_bytes(blob)
        writer.path("chars74k.json").write_text(json.dumps(manifest), encoding="utf-8")
        writer.path("estimate.json").write_text(json.dumps(estimate), encoding="utf-8")
        writer.path("kernels.txt").write_text("kernel list info for network \"chars74k\"\n" + "x" * 160 + "\n",
                                              encoding="utf-8")


def write_emulate(build: Path, truth: np.ndarray, others: int, **changes: Any) -> None:
    """The emulate stage; ``changes`` replace arrays of evaluation.npz."""
    random = np.random.default_rng(2)
    float_logits = logits_of(truth, random)
    quantized = np.round(float_logits * 8 + random.normal(0, 0.6, float_logits.shape)).astype(np.float32) / 8
    arrays = {"labels": truth, "float_logits": float_logits, "quantized_logits": quantized,
              "reference_logits": quantized, "fast_logits": quantized,
              "nonchar_logits": logits_of(np.arange(others) % len(LABELS), random, real=False), **changes}
    layers = [{"name": f"discriminator/{op}/Relu", "op": "conv2d", "fix_point": 4 - i % 3,
               "min": 0.0 if i < 6 else -5.5, "max": 7.5 - i / 2, "saturated_share": 0.0004 * i,
               "sqnr_db": None if i == 6 else 34.0 - 2.1 * i, "cosine": 0.9999 - 0.0006 * i}
              for i, op in enumerate(OPS)]
    measures = {"engines": {"tensors_compared": 14, "tensors_different": 0, "images": len(truth)}, "layers": layers}
    with write_stage(build / "emulate", "emulate", {"model": "cd" * 32}) as writer:
        write_arrays(writer.path("evaluation.npz"), arrays)
        writer.path("evaluation.json").write_text(json.dumps(measures), encoding="utf-8")


def write_all(build: Path, count: int = 124, others: int = 30, epochs: int = 3, **changes: Any) -> Path:
    """All stages that the report needs; the build folder."""
    labels = write_train(build, count, others, epochs)
    write_compile(build)
    write_emulate(build, labels, others, **changes)
    return build
