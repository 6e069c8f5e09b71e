#!/usr/bin/env python
"""The accuracy measures: several trainings, their spread, and the GAN against its supervised control.

    DPUFLOW_DATA=DIR .venv/bin/python scripts/accuracy.py [--only real-gan] [--seeds 1 2 3]

Every training is a stage of its own below build/accuracy: what is there and current is not trained
again, and a stopped training goes on. Without a data folder only the glyph experiments run.
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
from dpuedge.errors import DpuError
from dpuedge.image import normalize

from dpuflow.artifact import Stage, atomic_path, load_stage
from dpuflow.data.classes import score
from dpuflow.errors import DpuflowError

TRAIN = Path(__file__).resolve().parent.parent / "train"
REAL = ("--data", "good+bad+hnd+glyphs")
CONTROL = ("--mode", "supervised")
TENTH = ("--labelled-share", "0.1")
EXPERIMENTS: Mapping[str, tuple[str, ...]] = {
    "real-supervised": (*REAL, *CONTROL),
    "real-gan": (*REAL, "--mode", "gan"),
    "real-supervised-tenth": (*REAL, *CONTROL, *TENTH),
    "real-gan-tenth": (*REAL, "--mode", "gan", *TENTH),
    "glyphs-packages": ("--data", "glyphs", "--fonts", "packages", "--mode", "gan"),
    "glyphs-system": ("--data", "glyphs", "--fonts", "packages+system", "--mode", "gan"),
}
PAIRS = (("real-gan", "real-supervised"), ("real-gan-tenth", "real-supervised-tenth"))


def train(name: str, seed: int, options: argparse.Namespace) -> Stage:
    """Run one training to its end and load its stage."""
    out = options.out / f"{name}-{seed}" / "train"
    length = options.real_samples if name.startswith("real") else options.glyph_samples
    command = [sys.executable, str(TRAIN / "train.py"), *EXPERIMENTS[name], "--seed", str(seed), "--samples",
               str(length), "--out", str(out), "--resume"]
    print(f"accuracy: {name}, seed {seed}", flush=True)
    if subprocess.run(command, check=False).returncode:
        raise DpuflowError("a training failed", where=f"{name}, seed {seed}", remedy="see the message above")
    return load_stage(out)


def measure(stage: Stage) -> dict[str, Any]:
    """The figures of one training: as recorded, and with test-time views apart."""
    training = json.loads(stage.path("training.json").read_text(encoding="utf-8"))
    test, views = stage.info["accuracy"]["test"], _with_views(stage)
    figures = {kind: test[kind]["accuracy"] for kind in ("top1", "case_merged")}
    figures.update({f"{kind}_views": views[kind]["accuracy"] for kind in figures.copy()})
    return {**figures, "count": test["top1"]["count"], "low": test["top1"]["low"], "high": test["top1"]["high"],
            "seconds": training["seconds"], "samples": training["samples_seen"]}


def _with_views(stage: Stage) -> Mapping[str, Any]:
    """Test accuracy when the probabilities of six views of each picture are averaged."""
    sys.path.insert(0, str(TRAIN))
    import gan

    with np.load(stage.path("weights.npz")) as weights, np.load(stage.path("test.npz")) as test:
        model = gan.load_weights(weights)
        spec, gray, labels = stage.info["preprocessing"], test["gray"], test["labels"]
    padded = np.pad(gray, ((0, 0), (1, 1), (1, 1)), mode="edge")
    moves = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
    pictures = [padded[:, top:top + gray.shape[1], left:left + gray.shape[2]] for top, left in moves] + [255 - gray]
    total = sum(gan.probabilities(model, normalize(view, spec)[..., None]) for view in pictures)
    return score(labels, total[:, :gan.FAKE].argmax(axis=1))


def table(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The means and spreads as text."""
    lines = [f"{'experiment':<24}{'seeds':>6}{'top-1 %':>16}{'case-merged %':>16}{'with views %':>16}"
             f"{'test images':>13}{'seconds':>9}"]
    for name, runs in results.items():
        cells = [_spread([run[kind] for run in runs]) for kind in ("top1", "case_merged", "top1_views")]
        lines.append(f"{name:<24}{len(runs):>6}" + "".join(f"{cell:>16}" for cell in cells)
                     + f"{runs[0]['count']:>13}{np.mean([run['seconds'] for run in runs]):>9.0f}")
    for gan_name, control in PAIRS:
        if gan_name in results and control in results:
            gain = np.mean([r["top1"] for r in results[gan_name]]) - np.mean([r["top1"] for r in results[control]])
            lines.append(f"{gan_name} against {control}: {100 * gain:+.2f} points")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    """Mean, and half the distance from the smallest to the largest."""
    return f"{100 * float(np.mean(values)):.2f} +-{50 * (max(values) - min(values)):.2f}"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parse = argparse.ArgumentParser(prog="accuracy.py", description=__doc__.splitlines()[0])
    add = parse.add_argument
    add("--only", nargs="+", choices=tuple(EXPERIMENTS), metavar="NAME", help=f"some of {', '.join(EXPERIMENTS)}")
    add("--seeds", nargs="+", type=int, default=[1, 2, 3], metavar="N")
    add("--real-samples", type=int, default=4_000_000, metavar="N", help="length of the trainings on real data")
    add("--glyph-samples", type=int, default=500_000, metavar="N", help="length of the trainings on glyphs")
    add("--out", type=Path, default=Path("build/accuracy"))
    return parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; the exit status."""
    options = parser().parse_args(arguments)
    data = bool(os.environ.get("DPUFLOW_DATA"))
    names = options.only or [name for name in EXPERIMENTS if data or not name.startswith("real")]
    try:
        results = {name: [measure(train(name, seed, options)) for seed in options.seeds] for name in names}
        with atomic_path(options.out / "accuracy.json") as path:
            path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    except DpuError as error:
        print(f"accuracy.py: error: {error}", file=sys.stderr)
        return 1
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
