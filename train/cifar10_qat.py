#!/usr/bin/env python
r"""Train a CIFAR-10 network further with quantization in the loop, and write the quantized graphs.

    .venv/bin/python train/cifar10_qat.py --train build/mobilenet_cifar10/train --out build/mobilenet_cifar10/qat

Starts from a trained network's train stage; thresholds and folded parameters train together. The
best epoch by the validation images is kept; the test images are looked at once, at the end.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from cifar10 import accuracy, augmented, split, to_input
from cifar10_config import CifarConfig

from dpuflow.artifact import current_stage, load_stage, write_stage
from dpuflow.cli.common import add_debug, run_command
from dpuflow.data.cifar10 import Images, load_jpeg, load_lossless_test
from dpuflow.data.root import VARIABLE


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = argparse.ArgumentParser(prog="cifar10_qat", description=__doc__.splitlines()[0])
    add = parse.add_argument
    add("--train", type=Path, required=True, help="folder of the train stage to start from")
    add("--out", type=Path, required=True, help="folder of the stage to write")
    add("--data-root", metavar="DIR", help=f"folder of the data (default: ${VARIABLE})")
    add("--epochs", type=int, default=2)
    add("--learning-rate", type=float, default=3e-4)
    add_debug(parse)
    return parse


def train(network: Any, config: CifarConfig, data: Images, held: Images, epochs: int, rate: float) -> list[float]:
    """Train; the network ends with the weights of the best epoch, the start counted as one."""
    import keras

    steps = len(data) // config.batch
    network.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, epochs * steps)),
                    keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    curve, best = [accuracy(network, held)], network.get_weights()
    print(f"qat: before training, validation {curve[0]:.2%}", flush=True)
    for epoch in range(epochs):
        rng = np.random.default_rng([config.seed, 7, epoch])
        order = rng.permutation(len(data))
        for at in range(0, steps * config.batch, config.batch):
            chosen = order[at:at + config.batch]
            network.train_on_batch(to_input(augmented(data.x[chosen], config.shift, rng)), data.labels[chosen])
        network.settle()
        curve.append(accuracy(network, held))
        print(f"qat: epoch {epoch + 1} of {epochs}, validation {curve[-1]:.2%}", flush=True)
        if curve[-1] == max(curve):
            best = network.get_weights()
    network.set_weights(best)
    return curve


def run(options: argparse.Namespace) -> None:
    """Train unless the stage is current."""
    import keras

    from dpuflow.qat import export, quantization_aware

    stage = load_stage(options.train)
    key = {"train": stage.manifest["key_digest"], "epochs": options.epochs, "learning_rate": options.learning_rate}
    if current_stage(options.out, key) is not None:
        print(f"qat: {options.out} is up to date")
        return
    config = CifarConfig(**stage.info["config"])
    everything, test = load_jpeg(options.data_root)
    data, held = split(everything, config)
    network = quantization_aware(keras.models.load_model(stage.path("model.keras"), compile=False),
                                 np.load(stage.path("calibration.npz"))["x"])
    curve = train(network, config, data, held, options.epochs, options.learning_rate)
    with write_stage(options.out, "qat", key) as writer:
        export(network, writer.folder)
        figures = {"test": accuracy(network, test),
                   "test_lossless": accuracy(network, load_lossless_test(options.data_root))}
        writer.info.update(accuracy=figures, validation_by_epoch=curve, note="emulated, not run on hardware")
    before = stage.info["accuracy"]
    print(f"qat: test {figures['test']:.2%}, lossless test {figures['test_lossless']:.2%}; float was "
          f"{before['test']:.2%} and {before['test_lossless']:.2%}; wrote {options.out}")


if __name__ == "__main__":
    sys.exit(run_command("qat", run, parser().parse_args()))
