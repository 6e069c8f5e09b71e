"""Accuracy of the captcha networks by cross-validation: every picture is tested once.

Trains each network on each fold of the real set (DPUFLOW_DATA), takes it through freeze, quantize,
compile and emulate, and prints right words and characters over all folds with 95 % intervals, float
and int8, beside parameters, bytes and predicted milliseconds. Finished folds are kept and skipped the
next time, a stopped training goes on from its checkpoint.

    .venv/bin/python scripts/accuracy_captcha.py [--networks twin_medium,crnn] [--folds 0,1,2,3,4]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dpuflow.artifact import load_stage
from dpuflow.cli.common import add_debug, run_command
from dpuflow.data.classes import accuracy
from dpuflow.errors import ConfigError, DataError
from dpuflow.files import atomic_path

ROOT = Path(__file__).resolve().parent.parent
MODELS = {"twin_small": "captcha_conv", "twin_medium": "captcha_conv", "twin_large": "captcha_conv", "crnn": "captcha"}
FORMS = ("float", "fast")  # fast: int8, emulated


def _python(*arguments: str) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, check=False)
    if done.returncode:
        raise DataError("a step failed", where=" ".join(arguments[:2]), got=f"exit code {done.returncode}")


def run_one(network: str, fold: int, build: Path, flags: Sequence[str]) -> dict[str, Any]:
    """Train and emulate one network on one fold; its figures."""
    name = f"{network}-{fold}"
    folder = build / name
    _python("train/train.py", "--model", MODELS[network], "--out", str(folder / "train"), "--resume",
            "--set", f"network={network}", "--set", f"fold={fold}", *flags)
    _python("train/freeze.py", "--model", name, "--train", str(folder / "train"), "--out", str(folder / "freeze"))
    for stage in ("quantize", "compile", "emulate"):
        _python("scripts/stage.py", stage, "--model", name, "--build", str(build))
    training = json.loads(load_stage(folder / "train").path("training.json").read_text())
    compiled = load_stage(folder / "compile")
    result: dict[str, Any] = json.loads(load_stage(folder / "emulate").path("evaluation.json").read_text())
    files = [path for path in compiled.manifest["files"] if path.endswith((".xmodel", ".npz"))]
    return {
        "fold": fold, **{form: result["accuracy"][form] for form in FORMS}, "engines": result["engines"],
        "train_seconds": training["seconds"], "parameters": training["parameters"],
        "dpu_ms": json.loads(compiled.path("estimate.json").read_text())["total_ms"],
        "tail_host_ms": result["host_times"]["tail_ms"],
        "bytes": sum((folder / "compile" / file).stat().st_size for file in files),
    }


def pooled(results: Sequence[Mapping[str, Any]], form: str, kind: str) -> Mapping[str, Any]:
    """One share over the test pictures of all folds, with its interval."""
    figures = [result[form][kind] for result in results]
    right = [round(figure["accuracy"] * figure["count"]) for figure in figures]
    count = sum(figure["count"] for figure in figures)
    return accuracy(np.arange(count) < sum(right)).as_json()


def _percent(figure: Mapping[str, Any], digits: int) -> str:
    return "{:.{d}f} ({:.{d}f}-{:.{d}f})".format(*(100 * figure[k] for k in ("accuracy", "low", "high")), d=digits)


def summary(network: str, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A network over its folds."""
    return {
        "network": network, "folds": len(results), "images": pooled(results, "fast", "words")["count"],
        **{form: {kind: pooled(results, form, kind) for kind in ("words", "characters")} for form in FORMS},
        "values_different": sum(result["engines"]["values_different"] for result in results),
        "parameters": results[0]["parameters"], "bytes": results[0]["bytes"],
        "dpu_ms": float(np.mean([result["dpu_ms"] for result in results])),
        "tail_host_ms": float(np.mean([result["tail_host_ms"] for result in results])),
        "train_seconds": float(np.mean([result["train_seconds"] for result in results])), "by_fold": list(results),
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The summaries as text; percent with 95 % intervals."""
    lines = ["| network | folds, images | words, float | words, int8 | characters, int8 | parameters | bytes | DPU ms "
             "(predicted) | tail ms (this host) | training s |", "|" + "---|" * 10]
    for row in rows:
        cells = (row["network"], f"{row['folds']}, {row['images']}", _percent(row["float"]["words"], 2),
                 _percent(row["fast"]["words"], 2), _percent(row["fast"]["characters"], 3), f"{row['parameters']:,}",
                 f"{row['bytes']:,}", f"{row['dpu_ms']:.3f}", f"{row['tail_host_ms']:.2f}",
                 f"{row['train_seconds']:.0f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Words read by the int8 network against predicted milliseconds, as SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        words = row["fast"]["words"]
        error = [[100 * (words["accuracy"] - words["low"])], [100 * (words["high"] - words["accuracy"])]]
        axes.errorbar([row["dpu_ms"]], [100 * words["accuracy"]], yerr=error, marker="o", capsize=3)
        axes.annotate(row["network"], (row["dpu_ms"], 100 * words["accuracy"]), xytext=(6, -4),
                      textcoords="offset points")
    axes.set(xlabel="predicted ms on the ZedBoard's DPU (not run on hardware)", ylabel="words read, int8 [%]")
    axes.grid(alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})


def run(options: argparse.Namespace) -> None:
    networks, folds = options.networks.split(","), options.folds.split(",")
    unknown = [name for name in networks if name not in MODELS] + [fold for fold in folds if not fold.isdigit()]
    if unknown:
        raise ConfigError("no such network or fold", got=", ".join(unknown), expected=", ".join(MODELS))
    if not os.environ.get("DPUFLOW_DATA"):
        raise DataError("no data", where="DPUFLOW_DATA", remedy="set it to the folder with the real captchas")
    rows = []
    for network in networks:
        results = [run_one(network, int(fold), options.build, options.train_flags.split()) for fold in folds]
        rows.append(summary(network, results))
        with atomic_path(options.build / "results.json") as path:
            path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        draw(rows, options.build / "accuracy_ms.svg")
        print("\n" + table(rows), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="accuracy_captcha", description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(MODELS), help="comma list of " + ", ".join(MODELS))
    parser.add_argument("--folds", default="0,1,2,3,4", help="comma list")
    parser.add_argument("--build", type=Path, default=Path("build") / "accuracy_captcha")
    parser.add_argument("--train-flags", default="", help="further options for train.py, as one text")
    add_debug(parser)
    return run_command("accuracy_captcha", run, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
