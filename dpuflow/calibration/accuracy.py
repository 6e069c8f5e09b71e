"""The user's measure of accuracy, the same for the float network and every quantized one.

``module.function`` is called as ``function(run)`` and returns the accuracy, a number from 0 to 1.
``run(batch)`` takes one NHWC array (or a dict by input node) and returns ``{output node: array}``,
float32; ``run.inputs`` and ``run.outputs`` hold the names. An ``.npz`` with images and ``labels``
measures top-1. The data choose recipes and positions: never give the test set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dpuflow.calibration.batches import CalibrationSet
from dpuflow.calibration.sources import Reading, array_batches
from dpuflow.engines import open_engine
from dpuflow.engines.evaluate import evaluate
from dpuflow.errors import ConfigError, DataError, EngineError, QuantizeError
from dpuflow.formats.graphdef import TFGraph
from dpuflow.formats.tf_import import import_tf
from dpuflow.ir.graph import Array, Graph
from dpuflow.model import model_from_tf
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.quantizer import Quantized

Compute = Callable[[Mapping[str, Array]], Mapping[str, Array]]
Measure = Callable[["Runner"], float]


@dataclass(frozen=True)
class Runner:
    """A network to call: ``run(batch)`` gives ``{output node: float32 array}``."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    compute: Compute

    def __call__(self, batch: Mapping[str, Array] | Array) -> dict[str, Array]:
        """Run one batch: an array for the only input, or arrays by input node."""
        arrays = batch if isinstance(batch, Mapping) else {self.inputs[0]: batch}
        ready = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
        return dict(self.compute(ready))


def float_runner(graph: TFGraph, config: QuantizeConfig) -> Runner:
    """The float network between the configured nodes."""
    network = import_tf(graph, config.output_nodes, config.shapes)
    read = {node.name for node in network.inputs}

    def compute(arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        results = evaluate(network, {name: array for name, array in arrays.items() if name in read})
        return dict(zip(config.output_nodes, (results[name] for name in network.outputs), strict=True))

    return Runner(config.input_nodes, config.output_nodes, compute)


def simulated_runner(graph: Graph, config: QuantizeConfig) -> Runner:
    """An imported graph with ``fix`` nodes, in float32 as TensorFlow would run it; any width."""
    def compute(arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        results = evaluate(graph, arrays)
        return dict(zip(config.output_nodes, (results[name] for name in graph.outputs), strict=True))

    return Runner(config.input_nodes, config.output_nodes, compute)


def quantized_runner(quantized: Quantized, config: QuantizeConfig) -> Runner:
    """The quantized network, bit for bit: the fast engine where it can serve, else the simulation."""
    evaluation = quantized.evaluation
    names = tuple(quantized_name(evaluation, name) for name in config.output_nodes)
    try:
        model = model_from_tf(evaluation, "quantized", config.shapes)
        found = tuple(_tensor(model.graph, name, plain) for name, plain in zip(names, config.output_nodes, strict=True))
        engine = open_engine(model.graph, "fast")
    except EngineError:
        return simulated_runner(import_tf(evaluation, names, config.shapes), config)

    def compute(arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        results = engine.run(arrays, found)
        return {plain: results[name] for plain, name in zip(config.output_nodes, found, strict=True)}

    return Runner(config.input_nodes, config.output_nodes, compute)


def _tensor(graph: Graph, name: str, plain: str) -> str:
    return name if name in graph.by_name else graph.node(plain).name


def quantized_name(evaluation: TFGraph, name: str) -> str:
    """The evaluation graph's node that holds an output: its FixNeuron, where it has one."""
    fix = f"{name}/aquant"
    return fix if fix in evaluation.by_name else name


def counted(measure: Measure, run: Runner) -> tuple[float, int]:
    """What a measure says of a network, and how many images it ran."""
    images = 0

    def compute(arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        nonlocal images
        images += max((len(array) for array in arrays.values() if array.ndim), default=0)
        return run.compute(arrays)

    return measure(Runner(run.inputs, run.outputs, compute)), images


def load_measure(spec: str, config: QuantizeConfig, batch: int = 256, fake_class: int | None = None) -> Measure:
    """``module.function`` or an ``.npz`` with labels as a measure; ConfigError or DataError if it is neither."""
    path = Path(spec)
    if path.suffix.lower() == ".npz" or path.is_file():
        if not path.is_file():
            raise DataError("no such file", where=spec)
        data = array_batches(path, config.shapes, Reading(batch=batch))
        return top1_measure(data, config, fake_class)
    return _function(spec)


def _function(spec: str) -> Measure:
    from dpuflow.quant.input_fn import load_function

    function = load_function(spec, "--evaluate")

    def measure(run: Runner) -> float:
        try:
            value = float(function(run))
        except QuantizeError:
            raise
        except Exception as error:  # whatever the user's function raises
            raise QuantizeError(f"the evaluation failed: {type(error).__name__}: {error}", where=spec,
                                remedy="run it by hand; --debug shows the traceback") from error
        if not math.isfinite(value) or not 0 <= value <= 1:
            raise QuantizeError("the evaluation did not return an accuracy", where=spec, got=value, expected="0 to 1",
                                remedy="return the share of right answers, not per cent or a loss")
        return value

    return measure


def top1_measure(data: CalibrationSet, config: QuantizeConfig, fake_class: int | None = None) -> Measure:
    """The share of images whose largest output is their label; ``fake_class`` is no answer."""
    labels = data.labels
    if labels is None:
        raise DataError("the evaluation file holds no labels", where=data.description,
                        expected="an array 'labels' with one class number for each image")
    if len(config.output_nodes) != 1:
        raise ConfigError("top-1 needs one output", where="--evaluate", got=", ".join(config.output_nodes),
                          remedy="choose it with --output-nodes, or give a module.function")

    def measure(run: Runner) -> float:
        right, at = 0, 0
        for batch in data:
            scores = class_scores(run(batch)[config.output_nodes[0]], fake_class)
            chosen = scores.argmax(axis=1)
            _check_labels(labels, scores.shape[1], data.description)
            right += int(np.sum(chosen == labels[at:at + len(chosen)]))
            at += len(chosen)
        return right / max(at, 1)

    return measure


def class_scores(output: Array, fake_class: int | None = None) -> Array:
    """An output as (N, classes), the class that means "none of them" left out."""
    scores = output.reshape(len(output), -1)
    if fake_class is None:
        return scores
    return np.delete(scores, fake_class, axis=1) if fake_class < scores.shape[1] else scores


def _check_labels(labels: Array, classes: int, where: str) -> None:
    if labels.dtype.kind not in "iu" or (len(labels) and not 0 <= labels.min() <= labels.max() < classes):
        raise DataError("a label is out of range", where=where, expected=f"whole numbers 0..{classes - 1}",
                        got=f"{labels.min()}..{labels.max()} ({labels.dtype})")


def agreement(first: Sequence[Array], second: Sequence[Array]) -> float:
    """The share of images on which two outputs have the same largest value."""
    same = [a.reshape(len(a), -1).argmax(axis=1) == b.reshape(len(b), -1).argmax(axis=1)
            for a, b in zip(first, second, strict=True)]
    return float(np.mean(np.concatenate(same)))
