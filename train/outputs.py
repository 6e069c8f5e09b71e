"""What a finished training run writes: weights, calibration, test and validation sets, records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gan
import numpy as np
from datasets import Source, Splits, inputs
from nonchars import nonchar_pictures
from trainer import Progress, Trainer

from dpuedge.image import normalize
from dpuedge.scores import softmax
from dpuflow.artifact import StageWriter
from dpuflow.data.classes import FAKE_CLASS, LABELS, score
from dpuflow.data.pictures import Pictures, join

CALIBRATION_IMAGES = 1280
SAMPLES = 100


def write_outputs(stage: StageWriter, trainer: Trainer, source: Source, splits: Splits, progress: Progress) -> None:
    """All files of the train stage and the notes in its manifest; ``trainer`` is finished."""
    spec, config = trainer.spec, trainer.config
    np.savez(stage.path("weights.npz"), **gan.export_weights(trainer.model))
    np.savez(stage.path("generator.npz"), **{variable.path: np.asarray(variable)
                                             for variable in trainer.generator.variables})
    samples = trainer.generate(SAMPLES, config.seed) if config.mode == "gan" else np.zeros((0, 32, 32), np.uint8)
    np.savez_compressed(stage.path("samples.npz"), samples=samples)
    np.savez_compressed(stage.path("calibration.npz"), x=_calibration(splits, spec, config.split_seed))
    results = {name: _write_set(stage, name, pictures, trainer)
               for name, pictures in (("validation", splits.validation), ("test", splits.test))}
    results["test_with_views"] = _with_views(splits.test, trainer)
    gray, kinds = nonchar_pictures(splits.test, samples, config.split_seed)
    np.savez_compressed(stage.path("nonchars.npz"), x=normalize(gray, spec)[..., None], gray=gray, kinds=kinds)
    training = {
        "curve": progress.curve, "accuracy": results, "mode": config.mode, "seed": config.seed,
        "labelled_share": config.labelled_share, "labelled_images": int(source.labelled.sum()),
        "training_images": len(source.labels), "samples_seen": progress.step * config.batch,
        "steps": progress.step, "seconds": round(progress.seconds, 1), "stopped_by": progress.stopped_by,
    }
    stage.path("training.json").write_text(json.dumps(training, indent=1) + "\n", encoding="utf-8")
    stage.info.update({
        "labels": list(LABELS), "fake_class": FAKE_CLASS, "preprocessing": dict(spec), "epsilon": gan.EPSILON,
        "dataset": dict(splits.record), "split_seed": config.split_seed, "accuracy": results,
        "mode": config.mode, "seed": config.seed, "config": dict(config.as_json()),
    })


def _calibration(splits: Splits, spec: Mapping[str, Any], seed: int) -> Any:
    """Training images as they are, drawn from all parts alike; again from the start if there are few."""
    train = join(list(splits.train.values()))
    order = np.random.default_rng([seed, 2]).permutation(len(train))
    chosen = np.resize(order, max(CALIBRATION_IMAGES, min(len(order), CALIBRATION_IMAGES)))
    return inputs(train.take(chosen), spec)[1]


def _write_set(stage: StageWriter, name: str, pictures: Pictures, trainer: Trainer) -> Mapping[str, Any]:
    gray, x = inputs(pictures, trainer.spec)
    np.savez_compressed(stage.path(f"{name}.npz"), x=x, gray=gray, labels=pictures.labels,
                        names=np.array(list(pictures.names), dtype=np.str_))
    logits = trainer.predict(x)
    return score(pictures.labels, logits[:, :FAKE_CLASS].argmax(axis=1))


def _with_views(pictures: Pictures, trainer: Trainer) -> Mapping[str, Any]:
    """Accuracy when the probabilities of six views of each picture are averaged: apart from the plain figure."""
    gray, spec = inputs(pictures, trainer.spec)[0], trainer.spec
    logits = (trainer.predict(normalize(view, spec)[..., None])[:, :FAKE_CLASS] for view in views(gray))
    total = sum(softmax(part) for part in logits)
    return score(pictures.labels, np.asarray(total).argmax(axis=1))


def views(gray: Any) -> list[Any]:
    """The pictures uint8 (N, H, W) themselves, moved by one pixel in four directions, and inverted."""
    padded = np.pad(gray, ((0, 0), (1, 1), (1, 1)), mode="edge")
    moves = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
    moved = [padded[:, top:top + gray.shape[1], left:left + gray.shape[2]] for top, left in moves]
    return [*moved, 255 - gray]
