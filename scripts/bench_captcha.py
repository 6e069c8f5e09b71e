"""How fast captchas are read on this computer: emulator with decoding by batch, and the layers behind the DPU.

    .venv/bin/python scripts/bench_captcha.py build/captcha_conv build/captcha

The emulator's speed says nothing about a board's.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as run_dpu.py does

import numpy as np

from dpuedge import ctc, fixed, manifest, tail, tasks
from dpuflow.arrays import stage_arrays
from dpuflow.artifact import load_stage
from dpuflow.cli.common import add_debug, run_command
from dpuflow.engines import open_engine

BATCH = 64


def seconds(work: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Median and shortest time of a call; the first calls, which make things ready, do not count."""
    for _ in range(3):
        work()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken)), min(taken)


def rates(folder: Path, repeats: int) -> Sequence[str]:
    """The lines of one network."""
    model = manifest.load(str(folder / "compile"))
    engine = open_engine(model.path)
    x = stage_arrays(load_stage(folder / "train"), "test.npz")["x"]
    images = fixed.quantize(np.resize(x, (BATCH, *x.shape[1:])), model.inputs[0].fix_point, "half_up")
    name, fix = model.outputs[0].name, model.outputs[0].fix_point

    def emulate() -> Any:
        return engine.run({model.inputs[0].name: images}, (name,), int8=True)[name]

    def read() -> Any:
        scores = tasks.steps_of(model, fixed.dequantize(emulate(), fix))
        words = ctc.greedy(scores, model.blank)
        return words, ctc.word_probabilities(scores, words, model.blank)

    one = fixed.dequantize(emulate()[:1], fix)
    lines = [f"{folder.name}: batches of {BATCH}, {repeats} repetitions, median (best)"]
    for what, work in (("DPU's part, emulated", emulate), ("words and probabilities", read)):
        lines.append(f"  {what:<24} " + "  ".join(f"({BATCH / t:,.0f})" if at else f"{BATCH / t:,.0f} images/s"
                                                  for at, t in enumerate(seconds(work, repeats))))
    if tail.layers(model.cpu_tail):
        median, best = seconds(lambda: tail.scores(model, one), repeats)
        lines.append(f"  {'layers behind, one image':<24} {1e3 * median:.2f} ms  ({1e3 * best:.2f})")
    return lines


def run(options: argparse.Namespace) -> None:
    for folder in options.folders:
        print("\n".join(rates(folder, options.repeats)), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench_captcha", description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="build folders of networks that read text")
    parser.add_argument("--repeats", type=int, default=60)
    add_debug(parser)
    return run_command("bench_captcha", run, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
