"""Train a network that reads captchas; called by ``train.py`` for configurations whose task is "ctc"."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from captcha_config import CaptchaConfig, load_captcha_config
from captcha_networks import NETWORKS, STEPS, layer_table
from train_config import parse_setting

import dpuedge.ctc
import dpuedge.fixed
import dpuedge.gray
import dpuedge.image
import dpuflow.data
from dpuedge.image import to_input
from dpuflow.artifact import current_stage, file_digest, json_digest, write_stage
from dpuflow.errors import ConfigError

if TYPE_CHECKING:
    from captcha_augment import Source
    from captcha_data import TextSet
    from captcha_trainer import Progress, Trainer, Validation

SCHEMA = 1  # of the stage's files: raise it when what is written changes
_OWN = ("augment", "config", "data", "keras", "networks", "outputs", "train", "trainer")
_OTHERS = ("fonts", "mode", "labelled_share", "samples")  # options of the other task


def text_overrides(options: argparse.Namespace) -> Mapping[str, Any]:
    """The configuration entries that the command line gives; ConfigError for options of the other task."""
    wrong = [f"--{name.replace('_', '-')}" for name in _OTHERS if getattr(options, name) is not None]
    if wrong:
        raise ConfigError("an option that captcha networks do not have", where=options.model, got=", ".join(wrong),
                          remedy="lengths are given with --epochs, other entries with --set NAME=VALUE")
    given = {name: getattr(options, name) for name in ("data", "batch", "seed") if getattr(options, name) is not None}
    if options.epochs is not None:
        given["epochs"] = max(int(options.epochs), 1)
    return {**dict(parse_setting(text) for text in options.set), **given}


def _config(options: argparse.Namespace) -> CaptchaConfig:
    given = text_overrides(options)
    if "epochs" in given and "frame_epochs" not in given:  # a short run keeps its share of them
        plain = load_captcha_config(options.model, {})
        given = {**given, "frame_epochs": min(plain.frame_epochs, -(-int(given["epochs"]) // 4))}
    return load_captcha_config(options.model, given)


def _sources() -> Iterable[Path]:
    own = [Path(__file__).with_name(f"captcha_{name}.py") for name in _OWN]
    data = sorted(Path(dpuflow.data.__file__).parent.glob("*.py"))
    board = (dpuedge.ctc, dpuedge.fixed, dpuedge.gray, dpuedge.image)
    return [*own, *data, *(Path(module.__file__) for module in board)]


def stage_key(config: CaptchaConfig, options: argparse.Namespace) -> dict[str, Any]:
    """What the stage's result depends on: options, the files read, and the code that learns from them."""
    from captcha_data import SPEC, data_digest, resolve_data

    return {"schema": SCHEMA, "config": dict(config.as_json()), "time_limit_s": options.time_limit,
            "preprocessing": dict(SPEC), "data": [resolve_data(config, options.data_root),
                                                  data_digest(config, options.data_root)],
            "code": json_digest([file_digest(path) for path in _sources()])}


def run_text(options: argparse.Namespace) -> None:
    """Load the data, train unless the stage is current, and write the stage."""
    from captcha_data import load_text_splits

    config = _config(options)
    out = options.out or Path("build") / Path(options.model).stem / "train"
    key = stage_key(config, options)
    if not options.force and current_stage(out, key) is not None:
        print(f"train: {out} is up to date")
        return
    splits = load_text_splits(config, options.data_root)
    print(layer_table(NETWORKS[config.network]), end="")
    print(f"train: {len(splits.train.gray)} captchas to learn from; {len(splits.validation.gray)} to choose by and "
          f"{len(splits.test.gray)} to test on ({splits.record['data']}, fold {config.fold} of {config.folds})",
          flush=True)
    _train(config, options, splits, out, key)


def _train(config: CaptchaConfig, options: argparse.Namespace, splits: Any, out: Path, key: Mapping[str, Any]) -> None:
    from captcha_augment import Source
    from captcha_data import SPEC
    from captcha_outputs import write_text_outputs
    from captcha_trainer import Progress, Trainer

    source = Source(splits.train.gray, splits.train.symbols, SPEC, config, STEPS)
    trainer = Trainer(config, config.epochs * source.per_epoch)
    resumed = json_digest({**key, "time_limit_s": None})  # the time limit is no part of what a checkpoint must fit
    checkpoint = out.parent / f".{out.name}.checkpoint.npz"
    progress = Progress()
    if options.resume and checkpoint.exists():
        progress = replace(trainer.restore(checkpoint, resumed), stopped_by="")
        print(f"train: going on from step {progress.step} of {trainer.steps}", flush=True)
    validation = _validation(splits.validation, config)
    _loop(trainer, source, validation, progress, options, checkpoint, resumed, out)
    trainer.put(trainer.best)
    with write_stage(out, "train", key) as stage:
        write_text_outputs(stage, trainer, splits, progress)
    if progress.stopped_by != "time limit":
        checkpoint.unlink(missing_ok=True)
    _say_result(stage.info["accuracy"]["test"], progress, out)


def _validation(part: TextSet, config: CaptchaConfig) -> Validation:
    """The validation pictures and the same random views of them at every look."""
    from captcha_augment import views
    from captcha_data import SPEC
    from captcha_trainer import Validation

    rng = np.random.default_rng([config.split_seed, 3])
    gray = np.concatenate([part.gray, *(views(part.gray, rng, config)[0] for _ in range(config.validation_views))])
    symbols = np.tile(part.symbols, (config.validation_views + 1, 1))
    return Validation(np.ascontiguousarray(to_input(gray, SPEC)), symbols, len(part.gray))


def _loop(trainer: Trainer, source: Source, validation: Validation, progress: Progress, options: argparse.Namespace,
          checkpoint: Path, key: str, out: Path) -> None:
    """Train to the end, to early stopping or to the time limit; a checkpoint now and then, and one when stopped."""
    from captcha_trainer import Events
    from tqdm import tqdm

    terminal, seen = sys.stderr.isatty(), len(progress.curve)
    events = Events(out.parent / "tensorboard")
    with tqdm(total=trainer.steps, initial=progress.step, unit="step", desc="train", disable=not terminal) as bar:
        try:
            for _ in trainer.run(source, validation, progress):
                bar.update()
                if len(progress.curve) > seen:
                    seen = len(progress.curve)
                    _say_entry(progress.curve[-1], bar, trainer.steps, terminal)
                    events.add(progress.curve[-1])
                if progress.step % trainer.config.checkpoint_steps == 0:
                    trainer.save(checkpoint, progress, key)
                if options.time_limit and progress.seconds > options.time_limit and progress.step < trainer.steps:
                    progress.stopped_by = "time limit"
                    trainer.save(checkpoint, progress, key)
                    break
        except KeyboardInterrupt:
            trainer.save(checkpoint, progress, key)
            raise


def _say_entry(entry: Mapping[str, float], bar: Any, steps: int, terminal: bool) -> None:
    text = (f"loss {entry['loss']:.4f}, validation loss {entry['validation_loss']:.4f}, "
            f"words {entry['validation_word_accuracy']:.2%}")
    if terminal:
        bar.set_postfix_str(text)
        return
    print(f"train: step {entry['step']:.0f} of {steps}, {text}, {entry['seconds']:.0f} s", flush=True)


def _say_result(test: Mapping[str, Any], progress: Progress, out: Path) -> None:
    words, characters = test["words"], test["characters"]
    print(f"train: test words {words['accuracy']:.2%} ({words['low']:.2%}..{words['high']:.2%}) of {words['count']}, "
          f"characters {characters['accuracy']:.3%}, in {progress.seconds:.0f} s"
          f"{', stopped by the ' + progress.stopped_by if progress.stopped_by else ''} -> {out}")
