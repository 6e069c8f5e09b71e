"""Accuracy on real data over several seeds: `make accuracy` (hours; DPUFLOW_DATA must be set).

Trains every mode with every seed, takes each network through freeze, quantize, compile and
emulate, and prints top-1 and case-merged accuracy on the held-apart test set: float and int8
emulated, mean and spread over the seeds. Finished runs are kept and skipped the next time.

    .venv/bin/python scripts/accuracy.py [--modes gan,supervised] [--seeds 1,2,3] [--only real|fonts]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpuflow.artifact import load_stage
from dpuflow.cli.common import add_debug, run_command
from dpuflow.errors import ConfigError, DataError

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Experiment:
    """One question: which training options, over which seeds."""

    name: str
    options: tuple[str, ...]
    needs_data: bool


_REAL = ("--data", "good+bad+hnd+glyphs")
_TENTH = ("--labelled-share", "0.1")
EXPERIMENTS = (
    Experiment("real-supervised", (*_REAL, "--mode", "supervised", "--samples", "2000000"), True),
    Experiment("real-gan", (*_REAL, "--mode", "gan", "--samples", "2000000"), True),
    Experiment("tenth-supervised", (*_REAL, "--mode", "supervised", "--samples", "500000", *_TENTH), True),
    Experiment("tenth-gan", (*_REAL, "--mode", "gan", "--samples", "500000", *_TENTH), True),
    Experiment("fonts-packages", ("--data", "glyphs", "--fonts", "packages", "--mode", "supervised", "--samples",
                                  "2000000"), False),
    Experiment("fonts-system", ("--data", "glyphs", "--fonts", "packages+system", "--mode", "supervised",
                                "--samples", "2000000"), False),
)


def _python(*arguments: str) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, check=False)
    if done.returncode:
        raise DataError("a step failed", where=" ".join(arguments[:2]), got=f"exit code {done.returncode}")


def run_one(experiment: Experiment, seed: int, build: Path) -> dict[str, Any]:
    """Train and emulate one network; the emulate stage's figures."""
    name = f"{experiment.name}-{seed}"
    folder = build / name
    _python("train/train.py", "--model", "chars74k", "--out", str(folder / "train"), "--seed", str(seed), "--resume",
            *experiment.options)
    _python("train/freeze.py", "--model", "chars74k", "--train", str(folder / "train"), "--out", str(folder / "freeze"))
    for stage in ("quantize", "compile", "emulate"):
        _python("scripts/stage.py", stage, "--model", name, "--build", str(build))
    result: dict[str, Any] = json.loads(load_stage(folder / "emulate").path("evaluation.json").read_text())
    return result


def spread(values: Sequence[float]) -> str:
    """Mean and range over the seeds, in percent."""
    return f"{100 * statistics.mean(values):.2f} ({100 * min(values):.2f}..{100 * max(values):.2f})"


def table_row(experiment: Experiment, results: Sequence[dict[str, Any]]) -> str:
    """One line of the table."""
    cells = [f"{experiment.name:<18} {len(results)} seeds, {results[0]['images']} test images"]
    for form in ("float", "fast"):
        for kind in ("top1", "case_merged"):
            cells.append(f"{form} {kind} " + spread([r["accuracy"][form][kind]["accuracy"] for r in results]))
    differing = sum(result["engines"]["values_different"] for result in results)
    return " | ".join(cells) + f" | values that differ between the engines: {differing}"


def run(options: argparse.Namespace) -> None:
    try:
        seeds = [int(seed) for seed in options.seeds.split(",")]
    except ValueError:
        raise ConfigError("not a list of seeds", where="--seeds", got=options.seeds) from None
    chosen = [e for e in EXPERIMENTS if not options.only or e.name in options.only.split(",")]
    if not chosen:
        raise ConfigError("no such experiment", where="--only", got=options.only,
                          expected=", ".join(e.name for e in EXPERIMENTS))
    if any(e.needs_data for e in chosen) and not os.environ.get("DPUFLOW_DATA"):
        raise DataError("no data", where="DPUFLOW_DATA", remedy="set it to the folder with the real data sets")
    rows = []
    for experiment in chosen:
        results = [run_one(experiment, seed, options.build) for seed in seeds]
        rows.append(table_row(experiment, results))
        print(rows[-1], flush=True)
    print("\n".join(["", "percent, mean (lowest..highest) over the seeds; int8 'fast' is emulated:", *rows]))


def main() -> int:
    parser = argparse.ArgumentParser(prog="accuracy", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--only", default="", help="comma list of " + ", ".join(e.name for e in EXPERIMENTS))
    parser.add_argument("--build", type=Path, default=Path("build") / "accuracy")
    add_debug(parser)
    return run_command("accuracy", run, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
