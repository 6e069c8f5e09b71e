"""Graphs for training with quantization: ``--mode train`` and ``--mode eval`` (quantizer specification, section 1).

A training graph holds FixNeurons of phase 2, which find a position in every step and leave it in
``<output_dir>/temp``; the evaluation graph holds them in phase 1 with those positions. Both are meta
graphs, so that checkpoints go on to fit.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from dpuflow.errors import FormatError
from dpuflow.files import atomic_path
from dpuflow.formats.graphdef import TFGraph, TFNode, const_node
from dpuflow.formats.tf_values import FLOAT, TShape
from dpuflow.quant.adjust import adjust_positions
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.insert import Group, insert_fix_neurons, place_fix_neurons
from dpuflow.quant.order import topological
from dpuflow.quant.partition import check_nodes, merge, partition
from dpuflow.quant.positions import fix_neurons
from dpuflow.quant.prepare import SIMULATE, Step
from dpuflow.quant.prepare.fold_batch_norm_training import fold_batch_norm_training
from dpuflow.quant.quantizer import with_positions

TEMPORARY, GROUPS = "temp", "node_groups"
TRAINING = 2  # FixNeuron phase
_NO_BIAS = "NULL"
_VARIABLES = ("VariableV2", "Variable", "VarHandleOp")
_NO_POSITION = 0  # the vendor's, where nothing was found


def training_graph(graph: TFGraph, config: QuantizeConfig) -> tuple[TFGraph, tuple[Group, ...]]:
    """The graph with FixNeurons of phase 2, and its compute groups; errors are typed and name the node."""
    check_nodes(graph, config)
    folded = fold_batch_norm_training(graph)
    for step in SIMULATE:
        folded = _with_constants(folded, step, config)
    cut = partition(folded, config)
    placement = place_fix_neurons(cut.main, config)
    # The operator writes its position below output_dir in every release that can train.
    trains = replace(config, version="1.2") if not config.release.writes_output_dir else config
    inserted = insert_fix_neurons(cut.main, placement.fixes.values(), trains)
    trained = inserted.replace(node.with_attrs(phase=TRAINING) if node.op == "FixNeuron" else node
                               for node in inserted.nodes)
    return topological(merge(trained, cut)), placement.groups


def _with_constants(graph: TFGraph, step: Step, config: QuantizeConfig) -> TFGraph:
    """A step that needs shapes, on a graph whose variables are zeros meanwhile."""
    variables = {node.name for node in graph.nodes if node.op in _VARIABLES}
    reads = {node.name for node in graph.nodes if node.op == "ReadVariableOp" and node.operands[0] in variables}
    before = {node.name: node for node in graph.nodes if node.name in variables | reads}
    made = step(graph.replace(_as_constant(node) if node.name in variables else
                              node.replace(op="Identity").with_attrs(drop=("dtype",), T=FLOAT) if node.name in reads
                              else node for node in graph.nodes), config)
    return made.replace(before.get(node.name, node) for node in made.nodes)


def _as_constant(variable: TFNode) -> TFNode:
    shape = variable.get("shape", TShape(None))
    sizes = tuple(max(size, 0) for size in shape.dims or ())
    return const_node(variable.name, np.broadcast_to(np.float32(0), sizes))


def position_file(folder: Path, name: str) -> Path:
    """Where a FixNeuron leaves its position (quantizer specification, section 5)."""
    return folder / TEMPORARY / name.replace("/", "_")


def write_groups(folder: Path, groups: tuple[Group, ...]) -> None:
    """The compute groups as the vendor's tool notes them: a line each, five names."""
    lines = [" ".join((group.compute, group.input, group.last, group.weights, group.biases or _NO_BIAS))
             for group in sorted(groups)]
    path = folder / TEMPORARY / GROUPS
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_groups(folder: Path) -> tuple[Group, ...]:
    """The compute groups of a training graph; none, with a warning, where there is no such file."""
    path = folder / TEMPORARY / GROUPS
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        warnings.warn(f"[DECENT_WARNING] Cannot find node groups file: {path}; shifts are not adjusted", stacklevel=3)
        return ()
    wrong = next((row for row in rows if len(row) != len(Group.__dataclass_fields__)), None)
    if wrong is not None:
        raise FormatError("not a line of node groups", where=path, got=" ".join(wrong), expected="five node names")
    return tuple(Group(compute, input_, last, weights, "" if biases == _NO_BIAS else biases)
                 for compute, input_, last, weights, biases in rows)


def write_position(folder: Path, name: str, bits: int, pos: int) -> None:
    """Leave a FixNeuron's position as the vendor's operator does."""
    path = position_file(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(f"{name} {bits} {pos}\n", encoding="utf-8")


def read_position(folder: Path, name: str) -> int:
    """The position that a FixNeuron found in training; 0, with a warning, where it left none."""
    path = position_file(folder, name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        warnings.warn(f"[DECENT_WARNING] Cannot find quantize info file: {path}. Use default quantize info.",
                      stacklevel=4)
        return _NO_POSITION
    parts = text.split()
    if len(parts) != 3 or parts[0] != name or not parts[2].lstrip("-").isdigit():
        raise FormatError("not a FixNeuron's position", where=path, got=text.strip(), expected=f"{name} BITS POSITION")
    return int(parts[2])


def evaluation_graph(graph: TFGraph, config: QuantizeConfig, folder: Path) -> TFGraph:
    """A training graph's FixNeurons in phase 1, with the positions that training left in ``folder``."""
    check_nodes(graph, config)
    found: Mapping[str, int] = {name: read_position(folder, name) for name in fix_neurons(graph)}
    if not found:
        raise FormatError("the graph holds no FixNeuron", where=graph.source,
                          expected="the meta graph of `quantize --mode train`")
    return with_positions(graph, adjust_positions(graph, read_groups(folder), found, config))
