"""``decent_q dump``: every tensor of an evaluation graph as files (quantizer specification, section 9)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.engines.evaluate import evaluate
from dpuflow.errors import QuantizeError
from dpuflow.files import atomic_path
from dpuflow.formats.graphdef import TFGraph, TFNode, base_name, new_node, rewire
from dpuflow.formats.tf_import import import_tf
from dpuflow.formats.tf_values import FLOAT, TShape
from dpuflow.ir.graph import Array, Graph, Shape
from dpuflow.quant.calibrate import check_batch
from dpuflow.quant.strip import between

WEIGHT_FOLDER, BATCH_FOLDER = "dump_results_weights", "dump_results_{}"
Say = Callable[[str], None]


def file_stem(name: str) -> str:
    """A node's name as a file name: ``/`` becomes ``_``; nothing that could leave the folder stays."""
    return re.sub(r"[\\/\0]", "_", name)


def _write(folder: Path, stem: str, values: Array, texts: Iterable[str]) -> None:
    with atomic_path(folder / f"{stem}.bin") as path:
        path.write_bytes(np.ascontiguousarray(values).tobytes())
    with atomic_path(folder / f"{stem}.txt") as path:
        path.write_text("".join(f"{text}\n" for text in texts), encoding="ascii")


def write_integers(folder: Path, name: str, value: Array, pos: int, bits: int) -> None:
    """``NAME.bin`` (int8, wider than 8 bits int32; NHWC with the batch) and ``NAME.txt`` (one integer a line)."""
    pos = 0 if pos == fixed.ALL_ZERO_POS else pos
    ints = fixed.quantize(value, pos, "half_up", bits).reshape(-1)
    _write(folder, file_stem(name), ints, map(str, ints.tolist()))


def write_floats(folder: Path, name: str, value: Array) -> None:
    """``NAME_float.bin`` (float32) and ``NAME_float.txt``."""
    flat = np.asarray(value, np.float32).reshape(-1)
    _write(folder, f"{file_stem(name)}_float", flat, map(str, flat))


def _fix_neurons(graph: TFGraph) -> tuple[TFNode, ...]:
    found = tuple(node for node in graph.nodes if node.op == "FixNeuron")
    if not found:
        raise QuantizeError("the graph holds no FixNeuron", where=graph.source,
                            expected="quantize_eval_model.pb", remedy="run `decent_q quantize` first")
    return found


def _dump_fixes(folder: Path, neurons: Iterable[TFNode], values: Mapping[str, Array], say: Say) -> None:
    chosen = tuple(neurons)
    for index, neuron in enumerate(chosen):
        say(f"INFO: Dumping ({index + 1}/{len(chosen)}): {neuron.name}")
        write_integers(folder, neuron.name, values[neuron.name], int(neuron.get("quantize_pos", 0)),
                       int(neuron.get("bit_width", 8)))


def feed_tensor(graph: TFGraph, tensor: str) -> TFGraph:
    """The graph with ``image_tensor`` [?, ?, ?, 3] in place of a tensor (``--dump_input_tensors``)."""
    name = base_name(tensor)
    graph.node(name)
    feed = new_node("image_tensor", "Placeholder", dtype=FLOAT, shape=TShape((-1, -1, -1, 3)))
    nodes = rewire(graph.nodes, {name: feed.name})
    fed = graph.replace([feed, *nodes])
    needed = between(fed, (), [node.name for node in fed.sinks if node.name != name])
    return fed.replace(node for node in fed.nodes if node.name in needed)


def _shapes(batch: Mapping[str, Array]) -> dict[str, Shape]:
    """Input shapes as the data have them: a fed tensor's size is known from its images only."""
    return {name: (1, *array.shape[1:]) for name, array in batch.items()}


def dump(graph: TFGraph, batches: Iterator[Mapping[str, Any]], count: int, folder: Path, with_floats: bool,
         say: Say) -> None:
    """Run ``count`` batches and write weights once, activations per batch.

    With floats every operator is written, weights as well per batch: the weights' folder stays
    empty, as in release 1.2.
    """
    neurons = _fix_neurons(graph)
    weights = () if with_floats else tuple(neuron for neuron in neurons if neuron.name.endswith("wquant"))
    others = tuple(neuron for neuron in neurons if neuron not in weights)
    (folder / WEIGHT_FOLDER).mkdir(parents=True, exist_ok=True)
    say(f"INFO: Start Dumping for {count} batches")
    for index in range(count):
        batch = check_batch(next(batches), [node.name for node in graph.placeholders], index)
        network = import_tf(graph, [node.name for node in (*graph.sinks, *neurons)], _shapes(batch))
        wanted = [node.name for node in (network.nodes if with_floats else neurons)]
        values = evaluate(network, {node.name: batch[node.name] for node in network.inputs}, wanted)
        if index == 0:
            say("INFO: Dumping weights/biases...")
            _dump_fixes(folder / WEIGHT_FOLDER, weights, values, say)
            say(f"INFO: Start Dumping for {count} batches")
        say(f"INFO: Dumping for batch: {index + 1}/{count} ...")
        place = folder / BATCH_FOLDER.format(index)
        _dump_fixes(place, others, values, say)
        if with_floats:
            _dump_floats(place, network, values)
    say(f"INFO: Dump results are saved in {folder}.")


def _dump_floats(folder: Path, network: Graph, values: Mapping[str, Array]) -> None:
    for node in network.nodes:
        if node.name in values:
            write_floats(folder, node.name, values[node.name])
