"""The captcha training loop: frame by frame first, then CTC; averages, early stopping, checkpoints."""

from __future__ import annotations

import json
import math
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from captcha_augment import Source
from captcha_config import CaptchaConfig
from captcha_keras import build
from captcha_networks import NETWORKS

from dpuedge import ctc
from dpuflow.errors import ArtifactError, DataError
from dpuflow.files import atomic_path

_AHEAD = 3  # batches made while the network is busy


@dataclass
class Progress:
    """How far a run has come: steps, seconds, the curve, and the best look at the validation set so far."""

    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    best_errors: int = -1  # none looked at yet
    best_step: int = 0
    looks_since_best: int = 0
    stopped_by: str = ""
    curve: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Validation:
    """The pictures that choose the best weights: inputs (N, 200, 50, 1) and symbols (N, L).

    The first ``plain`` are the pictures themselves; views of them follow, because so few pictures, all
    read rightly, would say little. Words read wrongly are counted, not the loss: one picture that nobody
    can read would rule it. The last look whose count lies within one standard deviation of the smallest
    is the best: the learning rate falls all the time, and a lucky look proves nothing.
    """

    x: Any
    symbols: Any
    plain: int


def ctc_loss(scores: Any, symbols: Any) -> Any:
    """The mean negative log likelihood of the words under scores (N, T, C), the blank last."""
    length = symbols.shape[1]
    batch = tf.shape(scores)[0]
    rows = tf.repeat(tf.range(batch, dtype=tf.int64), length)
    places = tf.tile(tf.range(length, dtype=tf.int64), [batch])
    labels = tf.SparseTensor(tf.stack([rows, places], axis=1), tf.cast(tf.reshape(symbols, [-1]), tf.int32),
                             tf.cast(tf.stack([batch, length]), tf.int64))
    steps = tf.fill([batch], scores.shape[1])
    losses = tf.nn.ctc_loss(labels, scores, None, steps, logits_time_major=False, blank_index=-1)
    return tf.reduce_mean(losses)


class Trainer:
    """A network, its optimiser, the running average of its weights and the best average so far."""

    def __init__(self, config: CaptchaConfig, steps: int) -> None:
        keras.utils.set_random_seed(config.seed)
        self.config, self.steps = config, steps
        self.model = build(NETWORKS[config.network])
        warmup = max(int(config.warmup_share * steps), 1)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, max(steps - warmup, 1), warmup_target=config.learning_rate, warmup_steps=warmup)
        self.optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay, beta_2=0.99,
                                                global_clipnorm=config.clip_norm)
        self.optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        self.optimizer.build(self.model.trainable_variables)
        self.averages = [tf.Variable(value) for value in self._averaged()]
        self.best = [np.asarray(value) for value in self._averaged()]
        self._step = tf.function(self._train_step, reduce_retracing=True)
        self._predict = tf.function(lambda x: self.model(x, training=False), reduce_retracing=True)

    def _averaged(self) -> list[Any]:
        return [variable for variable in self.model.variables if "seed_gen" not in variable.path]

    def _train_step(self, x: Any, symbols: Any, targets: Any, framewise: bool) -> Any:
        with tf.GradientTape() as tape:
            scores = self.model(x, training=True)
            if framewise:
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, scores))
            else:
                loss = ctc_loss(scores, symbols)
        self.optimizer.apply(tape.gradient(loss, self.model.trainable_variables), self.model.trainable_variables)
        # A young average follows quickly, so that short runs do not remember their start.
        count = tf.cast(self.optimizer.iterations, tf.float32)
        decay = tf.minimum(self.config.average_decay, (1 + count) / (10 + count))
        for average, variable in zip(self.averages, self._averaged(), strict=True):
            average.assign_add((1 - decay) * (variable.value - average))
        return loss

    def run(self, source: Source, validation: Validation, progress: Progress) -> Iterator[Progress]:
        """Train from ``progress`` until the end or until ``patience`` is over; yields after each step."""
        start = time.monotonic() - progress.seconds
        frame_steps = self.config.frame_epochs * source.per_epoch
        every = self.config.look_epochs * source.per_epoch
        for number, (x, symbols, targets) in _batches(source, progress.step, self.steps):
            loss = float(self._step(tf.constant(x), tf.constant(symbols), tf.constant(targets), number < frame_steps))
            if not np.isfinite(loss):
                raise DataError("training diverged: a loss is not finite", where=f"step {number}",
                                remedy="lower learning_rate, or use another seed")
            progress.step, progress.seconds = number + 1, time.monotonic() - start
            progress.loss_sum += loss
            if progress.step % every == 0 or progress.step == self.steps:
                self._look(progress, validation, source, (progress.step - 1) % every + 1)
            yield progress
            if progress.looks_since_best >= self.config.patience and progress.step > frame_steps:
                progress.stopped_by = "early stopping"
                return

    def _look(self, progress: Progress, validation: Validation, source: Source, steps: int) -> None:
        """Add to the curve what the averaged weights do on the validation set; keep them if they are the best."""
        with_averages = [np.asarray(average) for average in self.averages]
        scores = self.with_weights(with_averages, lambda: self.predict(validation.x))
        loss = float(ctc_loss(tf.constant(scores), tf.constant(validation.symbols)))
        words = ctc.greedy(scores, self.config.alphabet.blank)
        right = [word == tuple(true) for word, true in zip(words, validation.symbols.tolist(), strict=True)]
        errors = right.count(False)
        progress.curve.append({
            "step": progress.step, "epoch": round(progress.step / source.per_epoch, 3),
            "loss": progress.loss_sum / steps, "validation_loss": loss,
            "validation_word_accuracy": float(np.mean(right[:validation.plain])),
            "validation_views_accuracy": float(np.mean(right)), "seconds": round(progress.seconds, 3)})
        progress.loss_sum = 0.0
        progress.looks_since_best += 1
        progress.best_errors = errors if progress.best_errors < 0 else min(errors, progress.best_errors)
        if errors <= progress.best_errors + math.sqrt(progress.best_errors):
            progress.best_step, progress.looks_since_best = progress.step, 0
            self.best = with_averages

    def with_weights(self, weights: list[Any], work: Any) -> Any:
        """The result of ``work()`` with other weights in the network; its own return after it."""
        kept = [np.asarray(variable) for variable in self._averaged()]
        try:
            self.put(weights)
            return work()
        finally:
            self.put(kept)

    def put(self, weights: list[Any]) -> None:
        """Other weights in the network."""
        for variable, value in zip(self._averaged(), weights, strict=True):
            variable.assign(value)

    def predict(self, x: Any) -> Any:
        """Scores before the softmax, float32 (N, T, C), of pictures in the network's input scale."""
        return np.concatenate([self._predict(tf.constant(x[at:at + 128])).numpy() for at in range(0, len(x), 128)])

    # -- checkpoints ------------------------------------------------------------------------------------

    def _state(self) -> list[Any]:
        return [*self.model.variables, *self.optimizer.variables, *self.averages]

    def save(self, path: Path, progress: Progress, key: str) -> None:
        """Write everything a later process needs to go on, atomically."""
        arrays = {f"v{index:04d}": np.asarray(value) for index, value in enumerate(self._state())}
        arrays.update({f"b{index:04d}": value for index, value in enumerate(self.best)})
        note = json.dumps({"key": key, "progress": asdict(progress)}).encode()
        with atomic_path(path) as temporary:
            np.savez(temporary, note=np.frombuffer(note, np.uint8), **arrays)

    def restore(self, path: Path, key: str) -> Progress:
        """Go back to a checkpoint; ArtifactError if it is damaged or of another run."""
        state = self._state()
        try:
            with open(path, "rb") as stream, np.load(stream) as saved:
                note = json.loads(saved["note"].tobytes())
                arrays = [saved[f"v{index:04d}"] for index in range(len(state))]
                best = [saved[f"b{index:04d}"] for index in range(len(self.best))]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ArtifactError(f"unreadable checkpoint ({error})", where=path,
                                remedy="delete it, or train without --resume") from None
        if note["key"] != key:
            raise ArtifactError("the checkpoint is of a run with other data or options", where=path,
                                remedy="repeat the options of that run, or train without --resume")
        for variable, value in zip(state, arrays, strict=True):
            variable.assign(value)
        self.best = best
        return Progress(**note["progress"])


class Events:
    """The curve as TensorBoard sees it: one event file a run, written look by look."""

    def __init__(self, folder: Path) -> None:
        self.writer = tf.summary.create_file_writer(str(folder))

    def add(self, entry: dict[str, float]) -> None:
        """One look at the validation set."""
        values = [tf.compat.v1.Summary.Value(tag=name, simple_value=value) for name, value in entry.items()
                  if name not in ("step", "seconds")]
        with self.writer.as_default():
            tf.summary.experimental.write_raw_pb(tf.compat.v1.Summary(value=values).SerializeToString(),
                                                 step=int(entry["step"]))
        self.writer.flush()


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


