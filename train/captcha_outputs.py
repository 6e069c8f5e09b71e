"""What a finished captcha training writes: weights, calibration, test and validation sets, records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from captcha_data import SPEC, TextSet, TextSplits
from captcha_keras import EPSILON, weights_of
from captcha_networks import NETWORKS, layer_table
from captcha_trainer import Progress, Trainer

from dpuedge import ctc
from dpuflow.artifact import StageWriter
from dpuflow.data.words import word_score

CALIBRATION_IMAGES = 320


def write_text_outputs(stage: StageWriter, trainer: Trainer, splits: TextSplits, progress: Progress) -> None:
    """All files of the train stage and the notes in its manifest; the best weights are in the network."""
    config = trainer.config
    np.savez(stage.path("weights.npz"), **weights_of(trainer.model))
    order = np.random.default_rng([config.split_seed, 2]).permutation(len(splits.train.gray))
    np.savez_compressed(stage.path("calibration.npz"), x=splits.train.x[np.resize(order, CALIBRATION_IMAGES)])
    results = {name: write_set(stage, name, part, trainer)
               for name, part in (("validation", splits.validation), ("test", splits.test))}
    stage.path("layers.txt").write_text(layer_table(NETWORKS[config.network]), encoding="utf-8")
    training = {
        "curve": progress.curve, "accuracy": results, "seed": config.seed, "steps": progress.step,
        "best_step": progress.best_step, "best_validation_errors": progress.best_errors,
        "training_images": len(splits.train.gray), "seconds": round(progress.seconds, 1),
        "stopped_by": progress.stopped_by, "parameters": int(trainer.model.count_params()),
    }
    stage.path("training.json").write_text(json.dumps(training, indent=1) + "\n", encoding="utf-8")
    stage.info.update({
        "task": "ctc", "network": config.network, "labels": list(config.symbols),
        "blank": config.alphabet.blank, "fake_class": None,
        "preprocessing": dict(SPEC), "epsilon": EPSILON, "dataset": dict(splits.record), "accuracy": results,
        "calibration_batch": CALIBRATION_IMAGES // 10,
        "seed": config.seed, "config": dict(config.as_json()),
    })


def write_set(stage: StageWriter, name: str, part: TextSet, trainer: Trainer) -> Mapping[str, Any]:
    """A set as the emulator and the report read it; how well the network reads it."""
    np.savez_compressed(stage.path(f"{name}.npz"), x=part.x, gray=part.gray, labels=part.symbols,
                        names=np.array(list(part.names), dtype=np.str_))
    alphabet = trainer.config.alphabet
    read = [alphabet.decode(word) for word in ctc.greedy(trainer.predict(part.x), alphabet.blank)]
    return word_score(part.words, read)
