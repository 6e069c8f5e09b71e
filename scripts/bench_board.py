"""What the board's runner costs beside the network, what a second thread gains, and whether it grows over many runs.

    .venv/bin/python scripts/bench_board.py [--model build/chars74k/compile] [--runs 20000] [--soak 1000000]

The network is replaced by a runner that answers at once, so that only the runner's own work is timed: a
32x32 picture from memory to int8, and the answer from its logits. Threads are timed over the tests' stand-in for the
board's library (needs a C compiler). No DPU runs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

from dpuedge import manifest, session, sources
from dpuflow.cli.common import add_debug, run_command

ROOT = Path(__file__).resolve().parent.parent
_IMPORT = "import sys; sys.path.insert(0, 'board'); import run_dpu"


class Answer:
    """A runner that costs nothing."""

    name = "none"

    def __init__(self, model: manifest.Model) -> None:
        size = 1
        for length in model.outputs[0].shape:
            size *= length
        self.logits = np.arange(size, dtype=np.int8)

    def run(self, image: np.ndarray) -> np.ndarray:
        """The same logits."""
        return self.logits


def rss_mb() -> float:
    """The process's memory now."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def _options() -> Namespace:
    return Namespace(quantize_input="round", saturate=True, repeat=1, topk=5, beam=None)


def overhead(model: manifest.Model, runs: int) -> dict[str, float]:
    """Milliseconds a picture beside the network: from uint8 pixels, and from a float array."""
    side = model.preprocessing["height"], model.preprocessing["width"]
    frame = np.random.default_rng(0).integers(0, 256, side).astype(np.uint8)
    row = np.zeros(model.inputs[0].shape[1:], np.float32)
    made = {}
    for name, source in (("pixels", sources.Frame("x", frame, model.preprocessing)), ("array", sources.Row("x", row))):
        runner, options, times = Answer(model), _options(), []
        for _ in range(runs):
            started = time.perf_counter()
            session.predict(source, model, runner, options)
            times.append(1e3 * (time.perf_counter() - started))
        made[f"{name}_ms"] = statistics.median(times)
    return made


def soak(model: manifest.Model, runs: int) -> dict[str, float]:
    """Memory after a tenth of the runs and after all of them."""
    runner, options = Answer(model), _options()
    source = sources.Row("x", np.zeros(model.inputs[0].shape[1:], np.float32))
    first = 0.0
    for at in range(runs):
        session.predict(source, model, runner, options)
        if at == runs // 10:
            first = rss_mb()
    return {"runs": runs, "after_a_tenth_mb": first, "at_the_end_mb": rss_mb()}


def import_ms(rounds: int = 9) -> float:
    """Wall milliseconds of importing run_dpu beyond an empty Python, the median of pairs."""
    def wall(code: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
        return 1e3 * (time.perf_counter() - started)

    return statistics.median(wall(_IMPORT) - wall("pass") for _ in range(rounds))


def threads(rounds: int, pictures: int = 1000, work: int = 1_000_000) -> dict[str, float]:
    """Pictures a second on one and on two threads over the stand-in library, whose runs keep a core busy."""
    sys.path.insert(0, str(ROOT / "tests" / "board"))
    import n2cube_board

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = folder / "libn2cube.so"
        n2cube_board.build_library(library)
        settings, _ = n2cube_board.make(folder, library, pictures)
        environment = {**os.environ, "N2CUBE_WORK": str(work), **{key: str(value) for key, value in settings.items()}}

        def rate(count: int) -> float:
            command = [sys.executable, str(ROOT / "board" / "run_dpu.py"), str(folder / "model" / "libdpumodeltiny.so"),
                       "--input", str(folder / "x.npy"), "--json", "--profile", "--threads", str(count)]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
            found: float = json.loads(done.stdout)["profile"]["per_second"]
            return found

        pairs = [(rate(1), rate(2)) for _ in range(rounds)]
    one, two, ratio = (statistics.median(column) for column in zip(*[(a, b, b / a) for a, b in pairs], strict=True))
    return {"one_per_second": one, "two_per_second": two, "two_over_one": ratio}


def run(options: argparse.Namespace) -> None:
    model = manifest.load(str(options.model))
    found: dict[str, Any] = {"beside the network, one picture": overhead(model, options.runs),
                             "import": {"run_dpu_ms": import_ms()}}
    if shutil.which("cc"):
        found["threads, stand-in library"] = threads(rounds=5)
    if options.soak:
        found["soak"] = soak(model, options.soak)
    print(json.dumps(found, indent=1))


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench_board", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=ROOT / "build" / "chars74k" / "compile")
    parser.add_argument("--runs", type=int, default=20000)
    parser.add_argument("--soak", type=int, default=0, metavar="N")
    add_debug(parser)
    return run_command("bench_board", run, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
