#!/usr/bin/env python
"""Train a network of this project and write the train stage: weights, data sets, records.

    .venv/bin/python train/train.py --model chars74k --out build/chars74k/train
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train_config import TrainConfig, load_config, parse_setting, task_of

import dpuedge.fixed
import dpuedge.gray
import dpuedge.image
import dpuflow.data
from dpuedge.errors import DpuError
from dpuedge.image import DEFAULT_SPEC, check_spec
from dpuflow.artifact import current_stage, file_digest, json_digest, write_stage
from dpuflow.data.root import VARIABLE

if TYPE_CHECKING:
    from datasets import Source, Splits
    from trainer import Look, Progress, Trainer

CODE = ("augment", "datasets", "gan", "nonchars", "outputs", "train", "train_config", "trainer")
SCHEMA = 1  # of the stage's files: raise it when what is written changes


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = argparse.ArgumentParser(prog="train.py", description=__doc__.splitlines()[0])
    add = parse.add_argument
    add("--model", default="chars74k", help="a configuration in train/configs, or a .toml file")
    add("--out", type=Path, help="folder of the stage (default build/MODEL/train)")
    add("--data", help="good, bad, hnd, fnt, glyphs joined by +, or auto")
    add("--data-root", metavar="DIR", help=f"folder of the data (default: ${VARIABLE})")
    add("--fonts", help="packages, system or folders, joined by +, for the glyphs")
    add("--mode", choices=("gan", "supervised"), help="semi-supervised GAN, or labels only")
    add("--labelled-share", type=float, metavar="SHARE", help="the rest is used without its labels")
    length = parse.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=float, metavar="N", help="length in passes over the training images")
    length.add_argument("--samples", type=int, metavar="N", help="length in training images seen")
    add("--batch", type=int, metavar="N")
    add("--seed", type=int, metavar="N")
    add("--time-limit", type=float, metavar="SECONDS", help="end early with what is learned by then")
    add("--resume", action="store_true", help="go on from the checkpoint of a stopped run, if there is one")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="any other entry of the configuration")
    add("--force", action="store_true", help="train again even if the stage is current")
    add("--debug", action="store_true", help="show a traceback on errors")
    return parse


def overrides(options: argparse.Namespace) -> Mapping[str, Any]:
    """The configuration entries that the command line gives."""
    names = ("data", "fonts", "mode", "labelled_share", "samples", "batch", "seed")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return {**dict(parse_setting(text) for text in options.set), **given}


def stage_key(config: TrainConfig, options: argparse.Namespace) -> dict[str, Any]:
    """What the stage's result depends on: options, the files read, and the code that learns from them."""
    from datasets import inputs_digest

    return {"schema": SCHEMA, "config": dict(config.as_json()), "epochs": options.epochs,
            "time_limit_s": options.time_limit, "preprocessing": dict(check_spec(DEFAULT_SPEC)),
            "data": dict(inputs_digest(config, options.data_root)),
            "code": json_digest([file_digest(path) for path in _sources()])}


def _sources() -> Iterable[Path]:
    """Not the whole library: a new report must not mean a new training."""
    own = [Path(__file__).with_name(f"{name}.py") for name in CODE]
    data = sorted(Path(dpuflow.data.__file__).parent.glob("*.py"))
    return [*own, *data, *(Path(module.__file__) for module in (dpuedge.fixed, dpuedge.gray, dpuedge.image))]


def run(options: argparse.Namespace) -> None:
    """Load the data, train unless the stage is current, and write the stage."""
    if task_of(options.model) == "ctc":
        from captcha_train import run_text

        run_text(options)
        return
    from datasets import load_splits

    config = _with_length(load_config(options.model, overrides(options)), options)
    out = options.out or Path("build") / Path(options.model).stem / "train"
    key = stage_key(config, options)
    if not options.force and current_stage(out, key) is not None:
        print(f"train: {out} is up to date")
        return
    splits = load_splits(config, options.data_root, lambda items: _bar(items, "drawing glyphs"))
    if options.epochs is not None:
        images = sum(len(pictures) for pictures in splits.train.values())
        config = replace(config, samples=max(int(options.epochs * images), 1))
    _say_data(splits)
    _train(config, options, splits, out, key)


def _with_length(config: TrainConfig, options: argparse.Namespace) -> TrainConfig:
    """Runs on real pictures are longer, unless the command line says how long."""
    from datasets import resolve_parts

    if "samples" in overrides(options) or resolve_parts(config, options.data_root) == ("glyphs",):
        return config
    return replace(config, samples=config.real_samples)


def _say_data(splits: Splits) -> None:
    parts = ", ".join(f"{len(pictures)} {part}" for part, pictures in splits.train.items())
    print(f"train: {parts} to learn from; {len(splits.validation)} to choose by and {len(splits.test)} to test on "
          f"({splits.record['judged_on']})", flush=True)


def _train(config: TrainConfig, options: argparse.Namespace, splits: Splits, out: Path, key: Mapping[str, Any]) -> None:
    from datasets import Source, inputs
    from outputs import write_outputs
    from trainer import Look, Progress, Trainer

    trainer = Trainer(config, DEFAULT_SPEC)
    source = Source(splits.train, DEFAULT_SPEC, config, splits.record["judged_on"])
    # The length and the time limit of a run are no part of what the checkpoint must agree with ...
    resumed = json_digest({**key, "time_limit_s": None, "steps": config.steps})  # ... but its schedule is.
    checkpoint = out.parent / f".{out.name}.checkpoint.npz"
    progress = Progress()
    if options.resume and checkpoint.exists():
        progress = trainer.restore(checkpoint, resumed)
        print(f"train: going on from step {progress.step} of {config.steps}", flush=True)
    epoch_images = len(source.labels)
    look = Look(inputs(splits.validation, DEFAULT_SPEC)[1], splits.validation.labels,
                max(config.steps // 40, -(-epoch_images // config.batch), 1), epoch_images)
    _loop(trainer, source, progress, look, options, checkpoint, resumed)
    trainer.finish(source)
    with write_stage(out, "train", key) as stage:
        write_outputs(stage, trainer, source, splits, progress)
    if not progress.stopped_by:
        checkpoint.unlink(missing_ok=True)
    _say_result(stage.info["accuracy"], progress, out)


def _loop(trainer: Trainer, source: Source, progress: Progress, look: Look, options: argparse.Namespace,
          checkpoint: Path, key: str) -> None:
    """Train to the end or to the time limit; a checkpoint now and then, and one when stopped."""
    from tqdm import tqdm

    steps, terminal = trainer.config.steps, sys.stderr.isatty()
    seen = len(progress.curve)
    with tqdm(total=steps, initial=progress.step, unit="step", desc="train", disable=not terminal) as bar:
        try:
            for _ in trainer.run(source, progress, look):
                bar.update()
                if len(progress.curve) > seen:
                    seen = len(progress.curve)
                    _say_entry(progress.curve[-1], bar, steps, terminal)
                if progress.step % trainer.config.checkpoint_steps == 0:
                    trainer.save(checkpoint, progress, key)
                if options.time_limit and progress.seconds > options.time_limit and progress.step < steps:
                    progress.stopped_by = "time limit"
                    trainer.save(checkpoint, progress, key)
                    return
        except KeyboardInterrupt:
            trainer.save(checkpoint, progress, key)
            raise


def _say_entry(entry: Mapping[str, float], bar: Any, steps: int, terminal: bool) -> None:
    text = f"class loss {entry['loss_class']:.3f}, validation {entry['validation_accuracy']:.2%}"
    if terminal:
        bar.set_postfix_str(text)
        return
    left = entry["seconds"] / entry["step"] * (steps - entry["step"])
    print(f"train: step {entry['step']:.0f} of {steps}, {text}, {entry['seconds']:.0f} s, {left:.0f} s left",
          flush=True)


def _say_result(accuracy: Mapping[str, Any], progress: Progress, out: Path) -> None:
    test = accuracy["test"]
    share, merged = test["top1"], test["case_merged"]
    print(f"train: test {share['accuracy']:.2%} ({share['low']:.2%}..{share['high']:.2%}) of {share['count']}, "
          f"case-merged {merged['accuracy']:.2%}, in {progress.seconds:.0f} s"
          f"{', stopped by the ' + progress.stopped_by if progress.stopped_by else ''} -> {out}")


def _bar(items: Sequence[Any], text: str) -> Iterable[Any]:
    from tqdm import tqdm

    return tqdm(items, desc=text, disable=not sys.stderr.isatty())  # type: ignore[no-any-return]


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; the exit status."""
    options = parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        run(options)
    except DpuError as error:
        if options.debug:
            raise
        print(f"train.py: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("train.py: stopped; train with --resume to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
