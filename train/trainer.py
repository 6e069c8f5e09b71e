"""The training loop: steps, averages of the weights, checkpoints, and the curve it leaves."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gan
import keras
import numpy as np
import tensorflow as tf
from datasets import Source
from keras import ops
from train_config import TrainConfig

from dpuflow.errors import ArtifactError, DataError
from dpuflow.files import atomic_path

_AHEAD = 3  # batches made while the network is busy


@dataclass
class Progress:
    """How far a run has come, and the curve so far: one entry per look at the validation set."""

    step: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])  # sums since the last look
    stopped_by: str = ""


class Trainer:
    """The two networks, their optimisers and averages; every number of it goes into a checkpoint."""

    def __init__(self, config: TrainConfig, spec: Mapping[str, Any]) -> None:
        keras.utils.set_random_seed(config.seed)
        self.config, self.spec = config, spec
        self.model = gan.Discriminator(config.dropout, config.seed)
        self.generator = gan.Generator(config.seed + 1000)
        self.model(np.zeros((1, 32, 32, 1), np.float32))
        self.generator(np.zeros((1, gan.NOISE), np.float32))
        rate = _schedule(config.steps, config.warmup_share, config.learning_rate)
        self.optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay,
                                                beta_2=0.99, clipnorm=None)
        self.optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        self.optimizer.build(self.model.trainable_variables)
        turns = max(config.steps // config.generator_every, 1)
        generator_rate = _schedule(turns, config.warmup_share, config.generator_rate)
        self.generator_optimizer = keras.optimizers.Adam(generator_rate, beta_1=0.5)
        self.generator_optimizer.build(self.generator.trainable_variables)
        self.averages = [tf.Variable(value) for value in self._averaged()]
        self._step = tf.function(self._gan_step if config.mode == "gan" else self._supervised_step)
        self._predict = tf.function(lambda x: self.model(x, training=False)[0], reduce_retracing=True)

    def _averaged(self) -> list[Any]:
        """The variables whose running average is the result: weights and statistics."""
        seeds = ("seed_generator_state",)
        return [variable for variable in self.model.variables if variable.name not in seeds]

    # -- one step ---------------------------------------------------------------------------------------

    def step(self, batch: tuple[Any, Any, Any], number: int) -> tuple[float, ...]:
        """Train on one batch; class loss, real-or-fake loss and matching loss."""
        fakes = max(int(self.config.fake_share * self.config.batch), 2)
        rng = np.random.default_rng([self.config.seed, number, 1])
        noise = rng.standard_normal((fakes, gan.NOISE), dtype=np.float32)
        turn = number % self.config.generator_every == 0
        losses = self._step(*(tf.constant(part) for part in batch), tf.constant(noise), turn)
        return tuple(losses)

    def _supervised_step(self, x: Any, labels: Any, unlabelled: Any, noise: Any, turn: bool) -> tuple[Any, ...]:
        with tf.GradientTape() as tape:
            logits, _ = self.model(x, training=True, real=self.config.batch)
            loss = gan.class_loss(logits, labels, self.config.label_smoothing)
        self._update(tape.gradient(loss, self.model.trainable_variables))
        return loss, tf.zeros(()), tf.zeros(())

    def _gan_step(self, x: Any, labels: Any, unlabelled: Any, noise: Any, turn: bool) -> tuple[Any, ...]:
        """Both networks (the generator only if it is its turn) from one pass over all kinds of pictures."""
        config = self.config
        with tf.GradientTape(persistent=True) as tape:
            images = gan.to_input_scale(self.generator(noise, training=True), self.spec)
            real = ops.concatenate([x, unlabelled]) if config.labelled_share < 1 else x
            count = real.shape[0]
            logits, features = self.model(ops.concatenate([real, images]), training=True, real=count)
            class_loss = gan.class_loss(logits[:config.batch], labels, config.label_smoothing)
            fake_loss = gan.real_or_fake_loss(logits[:count], logits[count:])
            loss = class_loss + config.fake_weight * fake_loss
            matching = gan.matching_loss(ops.stop_gradient(features[:count]), features[count:])
        own, other = self.model.trainable_variables, self.generator.trainable_variables
        gradients = tape.gradient(loss, own)
        if turn:
            self.generator_optimizer.apply(tape.gradient(matching, other), other)
        self._update(gradients)
        return class_loss, fake_loss, matching

    def _update(self, gradients: Any) -> None:
        self.optimizer.apply(gradients, self.model.trainable_variables)
        # A young average follows quickly, so that short runs do not remember their start.
        count = tf.cast(self.optimizer.iterations, tf.float32)
        decay = tf.minimum(self.config.average_decay, (1 + count) / (10 + count))
        for average, variable in zip(self.averages, self._averaged(), strict=True):
            average.assign_add((1 - decay) * (variable.value - average))

    # -- the loop ---------------------------------------------------------------------------------------

    def run(self, source: Source, progress: Progress, look: Look) -> Iterator[Progress]:
        """Train from ``progress`` to the end; yields after each step, so that the caller can stop."""
        start = time.monotonic() - progress.seconds
        for number, batch in _batches(source, progress.step, self.config.steps):
            progress.losses = [total + float(loss)
                               for total, loss in zip(progress.losses, self.step(batch, number), strict=True)]
            if not np.isfinite(progress.losses).all():
                raise DataError("training diverged: a loss is not finite", where=f"step {number}",
                                remedy="lower learning_rate, or use another seed")
            progress.step, progress.seconds = number + 1, time.monotonic() - start
            if progress.step % look.every == 0 or progress.step == self.config.steps:
                progress.curve.append(self._entry(progress, look))
                progress.losses = [0.0, 0.0, 0.0]
            yield progress

    def _entry(self, progress: Progress, look: Look) -> dict[str, float]:
        losses = [total / _since(progress, look.every) for total in progress.losses]
        right = self.with_averages(lambda: self.predict(look.x)).argmax(axis=1) == look.labels
        return {
            "step": progress.step, "epoch": round(progress.step * self.config.batch / look.epoch_images, 3),
            "samples": progress.step * self.config.batch, "loss_class": losses[0],
            "loss_real_or_fake": losses[1], "loss_matching": losses[2],
            "validation_accuracy": float(np.mean(right)), "seconds": round(progress.seconds, 3),
        }

    def with_averages(self, work: Any) -> Any:
        """The result of ``work()`` with the averaged weights in the network; the others return after it."""
        kept = [variable.numpy() for variable in self._averaged()]
        try:
            for variable, average in zip(self._averaged(), self.averages, strict=True):
                variable.assign(average)
            return work()
        finally:
            for variable, value in zip(self._averaged(), kept, strict=True):
                variable.assign(value)

    def predict(self, x: Any) -> Any:
        """Logits of pictures in the network's input scale."""
        parts = [self._predict(tf.constant(x[i:i + 512])).numpy() for i in range(0, len(x), 512)]
        return np.concatenate(parts) if parts else np.zeros((0, gan.CLASSES), np.float32)

    def generate(self, count: int, seed: int) -> Any:
        """Generated pictures, uint8 (count, 32, 32)."""
        noise = np.random.default_rng(seed).standard_normal((count, gan.NOISE), dtype=np.float32)
        pictures = np.asarray(self.generator(noise, training=False))[..., 0]
        return np.clip((pictures + 1) * 127.5 + 0.5, 0, 255).astype(np.uint8)

    def finish(self, source: Source, batches: int = 40) -> None:
        """Put the averaged weights in place and estimate the statistics of normalisation anew for them."""
        for variable, average in zip(self._averaged(), self.averages, strict=True):
            variable.assign(average)
        terms = [term for norm in self.model.norms for term in (norm.moving_mean, norm.moving_variance)]
        sums = [np.zeros(term.shape) for term in terms]
        for norm in self.model.norms:
            norm.momentum = 0.0  # the moving statistics become those of the last batch
        observe = tf.function(lambda x: self.model(x, training=False, real=self.config.batch)[0])
        for number in range(batches):
            observe(tf.constant(source.batch(self.config.steps + number)[0]))
            sums = [total + term.numpy() for total, term in zip(sums, terms, strict=True)]
        for total, term in zip(sums, terms, strict=True):
            term.assign((total / batches).astype(np.float32))

    # -- checkpoints ------------------------------------------------------------------------------------

    def _state(self) -> list[Any]:
        return [*self.model.variables, *self.generator.variables, *self.optimizer.variables,
                *self.generator_optimizer.variables, *self.averages]

    def save(self, path: Path, progress: Progress, key: str) -> None:
        """Write everything a later process needs to go on, atomically."""
        arrays = {f"v{index:04d}": np.asarray(value) for index, value in enumerate(self._state())}
        note = {"key": key, "step": progress.step, "seconds": progress.seconds, "curve": progress.curve,
                "losses": progress.losses}
        with atomic_path(path) as temporary:
            np.savez(temporary, note=np.frombuffer(json.dumps(note).encode(), np.uint8), **arrays)

    def restore(self, path: Path, key: str) -> Progress:
        """Go back to a checkpoint; ArtifactError if it is damaged or of another run."""
        try:
            with open(path, "rb") as stream, np.load(stream) as saved:
                note = json.loads(saved["note"].tobytes())
                arrays = [saved[f"v{index:04d}"] for index in range(len(self._state()))]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ArtifactError(f"unreadable checkpoint ({error})", where=path,
                                remedy="delete it, or train without --resume") from None
        if note["key"] != key:
            raise ArtifactError("the checkpoint is of a run with other data or options", where=path,
                                remedy="repeat the options of that run, or train without --resume")
        for variable, value in zip(self._state(), arrays, strict=True):
            variable.assign(value)
        return Progress(note["step"], note["seconds"], note["curve"], note["losses"])


@dataclass(frozen=True)
class Look:
    """The validation set, how many steps lie between looks at it, and the images of one epoch."""

    x: Any
    labels: Any
    every: int
    epoch_images: int


def _since(progress: Progress, every: int) -> int:
    return progress.step % every or every


def _schedule(updates: int, warmup_share: float, peak: float) -> Any:
    """Warm-up to ``peak``, then half a cosine to zero, over all updates of a network.

    Both networks get one: a generator that kept its pace would overtake the discriminator as that
    one slows down, and cost accuracy at the very end of a run.
    """
    warmup = max(int(warmup_share * updates), 1)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(updates - warmup, 1), alpha=0.0, warmup_target=peak, warmup_steps=warmup)


def _batches(source: Source, start: int, stop: int) -> Iterator[tuple[int, tuple[Any, Any, Any]]]:
    """Batches by number, made ahead in another thread."""
    with ThreadPoolExecutor(1) as pool:
        waiting: list[Future[tuple[Any, Any, Any]]] = []
        ahead = start
        for number in range(start, stop):
            while ahead < min(stop, number + _AHEAD):
                waiting.append(pool.submit(source.batch, ahead))
                ahead += 1
            yield number, waiting.pop(0).result()
