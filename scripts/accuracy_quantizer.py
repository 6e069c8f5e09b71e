"""What each quantization recipe loses on trained networks: `make accuracy-quantizer`.

    .venv/bin/python scripts/accuracy_quantizer.py build/chars74k build/mobilenet_cifar10 [--recipes vendor,auto]

Each FOLDER holds a train stage (calibration, validation and test sets) and a freeze stage. Recipes
that search see the validation set, never a test set. Printed are accuracies on the test sets with
Wilson's interval, and the loss against float with a bootstrap interval over pictures: both networks
see the same pictures. ``--views`` adds shifted and inverted copies of gray pictures; the interval
then draws whole pictures with their copies. Emulated bit for bit, not run on hardware.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dpuedge.image import normalize
from dpuflow.arrays import read_arrays
from dpuflow.artifact import Stage, load_stage
from dpuflow.calibration.accuracy import Runner, class_scores, float_runner, quantized_runner
from dpuflow.cli.common import add_debug, run_command
from dpuflow.data.classes import accuracy
from dpuflow.errors import ConfigError, DataError
from dpuflow.files import atomic_path
from dpuflow.formats.graphdef import TFGraph, read_graphdef
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.job import QuantizeJob
from dpuflow.quant.network import find_config
from dpuflow.quant.recipes import find_recipe

BATCH, DRAWS = 256, 4000


@dataclass(frozen=True)
class Pictures:
    """Inputs, class numbers, and which original picture each input shows."""

    x: Any
    labels: Any
    picture: Any


@dataclass(frozen=True)
class Case:
    """One trained network with its data."""

    name: str
    graph: TFGraph
    config: QuantizeConfig
    calibration: Any
    validation: Pictures
    tests: Mapping[str, Pictures]
    fake_class: int | None


def views(gray: Any) -> list[Any]:
    """The pictures, moved by one pixel in four directions, and inverted."""
    padded = np.pad(gray, ((0, 0), (1, 1), (1, 1)), mode="edge")
    moves = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
    return [*(padded[:, top:top + gray.shape[1], left:left + gray.shape[2]] for top, left in moves), 255 - gray]


def pictures_of(stage: Stage, name: str, with_views: bool) -> Pictures:
    """One of a train stage's sets."""
    arrays = read_arrays(stage.path(name))
    if not isinstance(arrays, dict) or "labels" not in arrays:
        raise DataError("no labelled pictures", where=stage.path(name))
    x, labels = arrays["x"].astype(np.float32), arrays["labels"]
    if not with_views or "gray" not in arrays:
        return Pictures(x, labels, np.arange(len(x)))
    copies = [normalize(view, stage.info["preprocessing"])[..., None] for view in views(arrays["gray"])]
    return Pictures(np.concatenate(copies), np.tile(labels, len(copies)), np.tile(np.arange(len(x)), len(copies)))


def open_case(folder: Path, with_views: bool) -> Case:
    """A folder with train and freeze stages."""
    train, freeze = load_stage(folder / "train"), load_stage(folder / "freeze")
    graph = read_graphdef(freeze.path("frozen_model.pb"))
    calibration = read_arrays(train.path("calibration.npz"))
    assert isinstance(calibration, dict)
    tests = {name.removesuffix(".npz"): pictures_of(train, name, with_views)
             for name in sorted(train.manifest["files"]) if name.startswith("test") and name.endswith(".npz")}
    return Case(folder.name, graph, find_config(graph), calibration["x"].astype(np.float32),
                pictures_of(train, "validation.npz", with_views), tests, train.info.get("fake_class"))


def right(case: Case, run: Runner, pictures: Pictures) -> Any:
    """For every input whether the network is right."""
    parts = []
    for at in range(0, len(pictures.x), BATCH):
        scores = class_scores(run(pictures.x[at:at + BATCH])[case.config.output_nodes[0]], case.fake_class)
        parts.append(scores.argmax(axis=1) == pictures.labels[at:at + BATCH])
    return np.concatenate(parts)


def drop_interval(before: Any, after: Any, picture: Any, seed: int = 0) -> tuple[float, float, float]:
    """Loss in points with a 95 % bootstrap interval; whole pictures are drawn."""
    loss = np.bincount(picture, before.astype(float) - after) / np.bincount(picture)
    rng = np.random.default_rng(seed)
    means = [loss[rng.integers(0, len(loss), len(loss))].mean() for _ in range(DRAWS)]
    low, high = np.percentile(means, (2.5, 97.5))
    return 100 * float(loss.mean()), 100 * float(low), 100 * float(high)


def measure(case: Case, recipes: list[str], max_drop: float | None, folder: Path) -> Iterator[dict[str, Any]]:
    """One result for each recipe and test set; the float network first."""
    run = float_runner(case.graph, case.config)
    exact = {name: right(case, run, test) for name, test in case.tests.items()}
    for name, hits in exact.items():
        yield _result(case, "float", name, hits, hits, 0.0)
    validation = float(np.mean(right(case, run, case.validation)))
    source = case.config.input_nodes[0]
    batches = [{source: case.calibration[at:at + 128]} for at in range(0, len(case.calibration), 128)]
    for recipe in recipes:
        job = QuantizeJob(case.graph, case.config, batches, lambda made: float(np.mean(right(
            case, quantized_runner(made, case.config), case.validation))), max_drop, folder / case.name, 0, validation,
            len(case.validation.x))
        started = time.monotonic()
        made = find_recipe(recipe)[0](job)
        seconds = time.monotonic() - started
        for name, test in case.tests.items():
            hits = right(case, quantized_runner(made, case.config), test)
            yield _result(case, recipe, name, exact[name], hits, seconds)


def _result(case: Case, recipe: str, test: str, before: Any, after: Any, seconds: float) -> dict[str, Any]:
    pictures = case.tests[test]
    share = accuracy(after)
    drop = drop_interval(before, after, pictures.picture)
    return {"network": case.name, "test": test, "recipe": recipe, "inputs": len(after),
            "pictures": int(pictures.picture.max()) + 1, "accuracy": share.share, "wilson": [share.low, share.high],
            "drop_points": drop[0], "drop_interval": [drop[1], drop[2]],
            "same_verdict": float(np.mean(before == after)), "seconds": round(seconds, 1)}


def line(result: Mapping[str, Any]) -> str:
    """A result in one line."""
    low, high = result["drop_interval"]
    return (f"{result['network']:<20} {result['test']:<14} {result['recipe']:<8} "
            f"{100 * result['accuracy']:6.2f} % ({100 * result['wilson'][0]:.2f}..{100 * result['wilson'][1]:.2f})  "
            f"loss {result['drop_points']:+.2f} ({low:+.2f}..{high:+.2f}) points  {result['inputs']} inputs of "
            f"{result['pictures']} pictures, {result['seconds']} s")


def run(options: argparse.Namespace) -> None:
    """Measure everything asked for."""
    if not options.folders:
        raise ConfigError("no trained network given", expected="folders with a train and a freeze stage")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for path in options.folders:
            for result in measure(open_case(path, options.views), options.recipes.split(","), options.max_drop,
                                  Path(folder)):
                results.append(result)
                print(line(result), flush=True)
    print("int8 emulated, not run on hardware; recipes chose by the validation sets")
    if options.json:
        with atomic_path(options.json) as path:
            path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="accuracy_quantizer", description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="build/MODEL: train and freeze stages")
    parser.add_argument("--recipes", default="vendor,default,auto")
    parser.add_argument("--max-drop", type=float, help="points that auto may lose on the validation set (default 0.1)")
    parser.add_argument("--views", action="store_true", help="shifted and inverted copies of gray pictures too")
    parser.add_argument("--json", type=Path, help="write the results here")
    add_debug(parser)
    return run_command("accuracy_quantizer", run, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
