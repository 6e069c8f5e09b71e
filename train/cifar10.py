#!/usr/bin/env python
r"""Train a CIFAR-10 network and write the train stage: the Keras model and the data sets for quantizing it.

    .venv/bin/python train/cifar10.py --model mobilenet_cifar10 --out build/mobilenet_cifar10/train
    .venv/bin/python train/freeze.py --from build/mobilenet_cifar10/train/model.keras \
        --out build/mobilenet_cifar10/freeze

The training pictures are JPEG; accuracy is given for the JPEG test pictures and for the lossless
test rows apart. A stopped run goes on from its last epoch with ``--resume``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from cifar10_config import CifarConfig, load_cifar_config
from train_config import parse_setting

from dpuflow.artifact import StageWriter, current_stage, file_digest, write_stage
from dpuflow.cli.common import add_debug, run_command
from dpuflow.data.cifar10 import CLASSES, JPEG, LOSSLESS, Images, load_jpeg, load_lossless_test
from dpuflow.data.root import VARIABLE

CALIBRATION_IMAGES = 1280


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = argparse.ArgumentParser(prog="cifar10.py", description=__doc__.splitlines()[0])
    add = parse.add_argument
    add("--model", default="mobilenet_cifar10", help="a configuration in train/configs, or a .toml file")
    add("--out", type=Path, help="folder of the stage (default build/MODEL/train)")
    add("--data-root", metavar="DIR", help=f"folder of the data (default: ${VARIABLE})")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="any entry of the configuration")
    add("--resume", action="store_true", help="go on from the checkpoint of a stopped run, if there is one")
    add_debug(parse)
    return parse


def to_input(x: Any) -> Any:
    """Pixels 0..255 as the network takes them: -1..1."""
    return (np.asarray(x, np.float32) - np.float32(127.5)) / np.float32(127.5)


def split(images: Images, config: CifarConfig) -> tuple[Images, Images]:
    """Training and validation images, at random by the split seed."""
    order = np.random.default_rng(config.split_seed).permutation(len(images))
    held = config.validation_images
    return images.take(order[held:]), images.take(order[:held])


def augmented(x: Any, shift: int, rng: np.random.Generator) -> Any:
    """Each picture mirrored or not and moved by up to ``shift`` pixels, the edge repeated."""
    mirrored = np.where((rng.random(len(x)) < 0.5)[:, None, None, None], x[:, :, ::-1], x)
    padded = np.pad(mirrored, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="reflect")
    rows, columns = rng.integers(0, 2 * shift + 1, (2, len(x)))
    grid = np.arange(x.shape[1])
    return padded[np.arange(len(x))[:, None, None], rows[:, None, None] + grid[:, None], columns[:, None, None] + grid]


def compiled_model(config: CifarConfig, steps: int) -> Any:
    """The network with its optimiser: one warm-up and a cosine to zero."""
    import keras
    from cifar10_networks import NETWORKS

    keras.utils.set_random_seed(config.seed)
    model = NETWORKS[config.network](config.width)
    warm = int(config.warmup_share * steps)
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps - warm, warmup_target=config.learning_rate,
                                                  warmup_steps=warm)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=config.label_smoothing)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=config.weight_decay), loss, metrics=["accuracy"],
                  jit_compile=False)
    return model


def train(config: CifarConfig, data: Images, held: Images, checkpoint: Path, resume: bool) -> Any:
    """The trained model; a checkpoint after every epoch."""
    import keras

    per_epoch = len(data) // config.batch
    total = max(int(config.epochs * per_epoch), 1)
    model, done = compiled_model(config, total), 0
    if resume and checkpoint.exists():
        model = keras.models.load_model(checkpoint)
        done = int(np.asarray(model.optimizer.iterations))
        print(f"train: going on from step {done} of {total}", flush=True)
    while done < total:
        rng = np.random.default_rng([config.seed, done])
        order = rng.permutation(len(data))
        for at in range(min(per_epoch, total - done)):
            chosen = order[at * config.batch:(at + 1) * config.batch]
            x = to_input(augmented(data.x[chosen], config.shift, rng))
            result = model.train_on_batch(x, np.eye(len(CLASSES), dtype=np.float32)[data.labels[chosen]],
                                          return_dict=True)
            done += 1
        model.reset_metrics()
        model.save(checkpoint)
        print(f"train: step {done} of {total}, loss {float(result['loss']):.3f}, "
              f"training {float(result['accuracy']):.2%}, validation {accuracy(model, held):.2%}", flush=True)
    return model


def accuracy(model: Any, images: Images) -> float:
    """Top-1, 0..1."""
    right = 0
    for at in range(0, len(images), 500):
        scores = np.asarray(model.predict_on_batch(to_input(images.x[at:at + 500])))
        right += int(np.sum(scores.argmax(axis=1) == images.labels[at:at + 500]))
    return right / len(images)


def _write(stage: StageWriter, config: CifarConfig, model: Any, data: Images, sets: Mapping[str, Images]) -> None:
    model.save(stage.path("model.keras"))
    chosen = np.random.default_rng([config.split_seed, 2]).permutation(len(data))[:CALIBRATION_IMAGES]
    np.savez_compressed(stage.path("calibration.npz"), x=to_input(data.x[chosen]))
    figures = {}
    for name, images in sets.items():
        np.savez_compressed(stage.path(f"{name}.npz"), x=to_input(images.x), labels=images.labels)
        figures[name] = accuracy(model, images)
        print(f"train: {name} {figures[name]:.2%} of {len(images)}", flush=True)
    stage.path("training.json").write_text(json.dumps({"accuracy": figures}, indent=1) + "\n", encoding="utf-8")
    stage.info.update({"labels": list(CLASSES), "accuracy": figures, "config": dict(config.as_json()),
                       "data": {"archives": [JPEG[1], LOSSLESS[1]], "training_images": len(data)}})


def run(options: argparse.Namespace) -> None:
    """Train unless the stage is current."""
    config = load_cifar_config(options.model, dict(parse_setting(text) for text in options.set))
    out = options.out or Path("build") / Path(options.model).stem / "train"
    key = {"config": dict(config.as_json()), "archives": [JPEG[1], LOSSLESS[1]],
           "networks": file_digest(Path(__file__).with_name("cifar10_networks.py"))}
    if current_stage(out, key) is not None:
        print(f"train: {out} is up to date")
        return
    everything, test = load_jpeg(options.data_root)
    data, held = split(everything, config)
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = out.parent / f".{out.name}.checkpoint.keras"
    model = train(config, data, held, checkpoint, options.resume)
    sets = {"validation": held, "test": test, "test_lossless": load_lossless_test(options.data_root)}
    with write_stage(out, "train", key) as stage:
        _write(stage, config, model, data, sets)
    checkpoint.unlink(missing_ok=True)
    print(f"train: wrote {out}")


if __name__ == "__main__":
    sys.exit(run_command("train", run, parser().parse_args()))
