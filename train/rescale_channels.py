#!/usr/bin/env python
r"""Scale a trained CIFAR-10 network's channels apart without changing what it computes: a hard case for quantizers.

    .venv/bin/python train/rescale_channels.py --train build/mobilenet_cifar10/train --out build/mobilenet_hard/train

Networks with depthwise convolutions that train for long come to have channels whose weights differ
by orders of magnitude once batch normalisation is folded, and lose much with one position for all
channels. A short training does not get there; this does, by the freedom that ReLU leaves: each
channel's batch normalisation is multiplied by 2**-u, the weights that read it are divided by it.
Channels that ReLU6 clips on the calibration images stay.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from dpuflow.artifact import load_stage, write_stage
from dpuflow.cli.common import add_debug, run_command
from dpuflow.errors import DataError

RELU6_LIMIT = 5.8


def triples(model: Any) -> list[tuple[Any, Any, Any]]:
    """Batch normalisation, its ReLU, and the convolution that alone reads it."""
    from keras import layers

    found = []
    for norm, act, reader in zip(model.layers, model.layers[1:], model.layers[2:], strict=False):
        if isinstance(norm, layers.BatchNormalization) and isinstance(act, layers.ReLU) and isinstance(
                reader, layers.DepthwiseConv2D | layers.Conv2D):
            found.append((norm, act, reader))
    return found


def rescale(model: Any, x: Any, octaves: float, seed: int) -> int:
    """Scale the channels between each pair of layers; the number of channels that moved."""
    import keras

    pairs, rng, moved = triples(model), np.random.default_rng(seed), 0
    probe = keras.Model(model.inputs, [act.output for _, act, _ in pairs])
    tops = [np.asarray(value).max(axis=(0, 1, 2)) for value in probe.predict_on_batch(x)]
    for (norm, _, reader), top in zip(pairs, tops, strict=True):
        scale = np.where(top < RELU6_LIMIT, 2.0 ** -rng.uniform(0, octaves, len(top)), 1.0).astype(np.float32)
        gamma, beta, mean, variance = norm.get_weights()
        norm.set_weights([gamma * scale, beta * scale, mean, variance])
        kernel, *rest = reader.get_weights()
        reader.set_weights([kernel / scale[:, None], *rest])
        moved += int(np.sum(scale != 1))
    return moved


def run(options: argparse.Namespace) -> None:
    """Write a train stage like the one read, with the other network."""
    import keras

    train = load_stage(options.train)
    model = keras.models.load_model(train.path("model.keras"), compile=False)
    x = np.load(train.path("calibration.npz"))["x"][:256]
    before = model.predict_on_batch(x)
    moved = rescale(model, x, options.octaves, options.seed)
    difference = float(np.abs(np.asarray(model.predict_on_batch(x)) - np.asarray(before)).max())
    if difference > 1e-2:
        raise DataError("the network's outputs changed", where=options.train, got=difference)
    key = {"train": train.manifest["key_digest"], "octaves": options.octaves, "seed": options.seed}
    with write_stage(options.out, "train", key) as stage:
        for name in train.manifest["files"]:
            shutil.copyfile(train.path(name), stage.path(name))
        model.save(stage.path("model.keras"))
        stage.info.update(train.info, rescaled_octaves=options.octaves)
    print(f"rescaled {moved} channels by up to 2**-{options.octaves:g}; outputs differ by {difference:.2g} at most; "
          f"wrote {options.out}")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = argparse.ArgumentParser(prog="rescale_channels", description=__doc__.splitlines()[0])
    parse.add_argument("--train", type=Path, required=True, help="folder of the train stage")
    parse.add_argument("--out", type=Path, required=True, help="folder of the stage to write")
    parse.add_argument("--octaves", type=float, default=6.0, help="the largest scale is 2**-OCTAVES")
    parse.add_argument("--seed", type=int, default=0)
    add_debug(parse)
    return parse


if __name__ == "__main__":
    sys.exit(run_command("rescale_channels", run, parser().parse_args()))
