"""Compare the float network, the quantized one and both engines on a whole test set.

Nothing here is run on hardware: "emulated" throughout.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.arrays import stage_arrays, write_arrays
from dpuflow.artifact import StageWriter, load_stage
from dpuflow.engines import open_engine
from dpuflow.engines.evaluate import evaluate
from dpuflow.formats.tf_import import import_tf
from dpuflow.ir.graph import Array, Graph
from dpuflow.model import Model, load
from dpuflow.tasks import Evaluated, Task, task_of
from dpuflow.tasks.base import FORMS

_BATCH_VALUES = 1 << 18  # of the input at once: 256 pictures of 32 x 32


@dataclass(frozen=True)
class Files:
    """The model in its four forms."""

    float_: Model
    evaluation: Model
    compiled: Model


def logits_name(graph: Graph) -> str:
    """The tensor before the closing softmax, or the output itself."""
    node = graph.node(graph.outputs[0])
    while node.op in ("softmax", "identity") and node.fix is None:
        node = graph.node(node.inputs[0])
    return node.name


def _batches(x: Array) -> Iterator[Array]:
    batch = max(_BATCH_VALUES // x[:1].size, 1)
    return (x[at:at + batch] for at in range(0, len(x), batch))


def float_tensors(graph: Graph, x: Array, names: tuple[str, ...]) -> dict[str, Array]:
    """Tensors of a float graph on all images."""
    source = graph.inputs[0].name
    parts = [evaluate(graph, {source: batch}, names) for batch in _batches(x)]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def simulated_logits(model: Model, x: Array) -> Array:
    """The evaluation graph in float32 with its FixNeurons, as TensorFlow would run it."""
    assert model.tf is not None
    sinks = [node.name for node in model.tf.sinks]
    graph = import_tf(model.tf, sinks)
    name = graph.node(sinks[0]).inputs[0] if graph.node(sinks[0]).op == "softmax" else sinks[0]
    return float_tensors(graph, x, (name,))[name]


def engine_tensors(graph: Graph, x: Array, engine: str) -> dict[str, Array]:
    """Every computed tensor of a quantized graph, int8 where it is quantized."""
    runner = open_engine(graph, engine)
    names = tuple(node.name for node in graph.nodes if node.op not in ("input", "const"))
    parts = [runner.run(batch, names, int8=True) for batch in _batches(x)]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def compare_engines(first: Mapping[str, Array], second: Mapping[str, Array]) -> dict[str, int]:
    """How many tensors, values and images two engines were compared on, and how many differ."""
    different = {name: int((first[name] != second[name]).sum()) for name in first}
    return {
        "tensors_compared": len(first), "tensors_different": sum(count > 0 for count in different.values()),
        "values_compared": sum(value.size for value in first.values()), "values_different": sum(different.values()),
        "images": len(next(iter(first.values()))),
    }


def layer_error(node_name: str, op: str, pos: int, float_value: Array, ints: Array) -> dict[str, Any]:
    """How far a layer's emulated tensor is from the float network's."""
    exact = float_value.astype(np.float64).reshape(-1)
    got = fixed.dequantize(ints, pos).astype(np.float64).reshape(-1)
    noise, signal = float(np.sum((got - exact) ** 2)), float(np.sum(exact**2))
    norms = float(np.linalg.norm(got) * np.linalg.norm(exact))
    low, high = fixed.int_range(8)
    return {
        "name": node_name, "op": op, "fix_point": pos, "min": float(exact.min()), "max": float(exact.max()),
        "saturated_share": float(np.mean((ints == low) | (ints == high))),
        "sqnr_db": 10 * float(np.log10(signal / noise)) if noise and signal else None,
        "cosine": float(np.dot(got, exact) / norms) if norms else None,
    }


def layer_errors(files: Files, emulated: Mapping[str, Array], x: Array) -> list[dict[str, Any]]:
    """One record per layer that the float network and the quantized one have in common."""
    quantized = [node for node in files.evaluation.graph.nodes
                 if node.fix and node.op not in ("input", "const") and node.name in files.float_.graph.by_name]
    values = float_tensors(files.float_.graph, x, tuple(node.name for node in quantized))
    return [layer_error(node.name, node.op, node.fix.pos, values[node.name], emulated[node.name])
            for node in quantized if node.fix]


def _models(folder: Path, name: str) -> Files:
    stages = {stage: load_stage(folder / stage) for stage in ("freeze", "quantize", "compile")}
    return Files(load(stages["freeze"].path("frozen_model.pb")),
                 load(stages["quantize"].path("quantize_eval_model.pb")),
                 load(stages["compile"].path(f"{name}.xmodel")))


def _decoded(graph: Graph, tensors: Mapping[str, Array], name: str) -> Array:
    fix = graph.node(name).fix
    return fixed.dequantize(tensors[name], fix.pos) if fix else tensors[name]


def write_evaluation(folder: Path, name: str, writer: StageWriter) -> dict[str, Any]:
    """Run everything and write ``evaluation.npz`` and ``evaluation.json``; returns the latter."""
    train = load_stage(folder / "train")
    task, test = task_of(train.info), stage_arrays(train, "test.npz")
    task.check(test, train)
    files, x = _models(folder, name), test["x"]
    compiled = files.compiled.graph
    reference, fast = (engine_tensors(compiled, x, engine) for engine in ("reference", "fast"))
    last, first = logits_name(compiled), logits_name(files.float_.graph)
    logits = {
        "float": float_tensors(files.float_.graph, x, (first,))[first],
        "quantized": simulated_logits(files.evaluation, x),
        "reference": _decoded(compiled, reference, last), "fast": _decoded(compiled, fast, last),
    }
    more, measured = task.measure(Evaluated(train, test, logits, compiled, last, folder / "compile"))
    evaluated = engine_tensors(files.evaluation.graph, x, "reference")
    result = {"engines": compare_engines(reference, fast), "layers": layer_errors(files, evaluated, x),
              **measured, "images": len(x), "note": "emulated, not run on hardware"}
    write_arrays(writer.path("evaluation.npz"), {**{f"{form}_logits": logits[form] for form in FORMS}, **more})
    writer.path("evaluation.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def summary(result: Mapping[str, Any], task: Task) -> str:
    """The result in a few lines."""
    engines = result["engines"]
    return "\n".join([
        f"emulated {result['images']} test images (not run on hardware)", *task.summary(result),
        f"  engines: {engines['values_different']} of {engines['values_compared']} values differ in "
        f"{engines['tensors_compared']} tensors",
    ]) + "\n"
