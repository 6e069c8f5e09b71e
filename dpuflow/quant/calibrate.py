"""Positions from data (quantizer specification, section 5).

In every iteration each FixNeuron finds the position of what it receives, quantizes with it, so
that everything downstream sees quantized data, and votes. The most frequent position wins, among
equals the smallest.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from dpuedge import fixed
from dpuflow.engines.evaluate import evaluate
from dpuflow.errors import QuantizeError
from dpuflow.formats.graphdef import TFGraph, TFNode
from dpuflow.formats.tf_import import import_tf
from dpuflow.ir.graph import Array, Graph, Node, Shape
from dpuflow.quant.position import find_position, snap_blocks

Batches = Iterable[Mapping[str, Array]]


@dataclass
class _Votes:
    """What each FixNeuron decided in each iteration."""

    neurons: Mapping[str, TFNode]
    activation_rounding: str
    counts: dict[str, Counter[int]] = field(default_factory=dict)

    def __call__(self, node: Node, value: Array) -> Array:
        neuron = self.neurons[node.name]
        mode, bits = int(neuron.get("mode", 1)), int(neuron.get("bit_width", 8))
        rounding = self.activation_rounding if mode == 1 else "half_away"
        pos = find_position(value, int(neuron.get("method", 1)), rounding, bits, mode == 2,
                            f"node '{neuron.operands[0]}'")
        self.counts.setdefault(node.name, Counter())[pos] += 1
        if pos == fixed.ALL_ZERO_POS:
            return np.zeros_like(value, np.float32)
        return snap_blocks(value, pos, rounding, bits)


def winner(votes: Counter[int]) -> int:
    """The most frequent position, among equals the smallest."""
    return min(votes, key=lambda pos: (-votes[pos], pos))


def _freeze_constants(graph: Graph, votes: _Votes) -> Graph:
    """Replace fixed constants by their quantized values: they vote the same every time."""
    from dpuflow.ir.graph import const

    nodes = []
    for node in graph.nodes:
        source = graph.by_name[node.inputs[0]] if node.op == "fix" else None
        if source is not None and source.data is not None:
            nodes.append(const(node.name, votes(node, source.data)))
        else:
            nodes.append(node)
    return graph.replace(nodes)


def check_batch(batch: Mapping[str, Array], placeholders: Iterable[str], iteration: int) -> dict[str, Array]:
    """The batch as float32 arrays; QuantizeError for what an input_fn must not return."""
    where = f"input_fn(iter={iteration})"
    names = tuple(placeholders)
    if not isinstance(batch, Mapping):
        raise QuantizeError("input_fn must return a dict", where=where, got=type(batch).__name__,
                            expected=f"{{{names[0]!r}: array}}" if names else "{}")
    missing = [name for name in names if name not in batch]
    if len(batch) != len(names) or missing:
        raise QuantizeError("input_fn's dict does not fit the graph's placeholders", where=where,
                            expected=", ".join(names), got=", ".join(map(str, batch)) or "nothing")
    return {name: _checked_array(batch[name], name, where) for name in names}


_NUMBERS = "fiubO"  # floats, integers, truth values, and objects that may be such


def _checked_array(value: object, name: str, where: str) -> Array:
    try:
        given = np.asarray(value)
        if given.dtype.kind not in _NUMBERS:
            raise TypeError(given.dtype)
        with np.errstate(over="ignore"):  # beyond float32: found below
            array = given.astype(np.float32)
    except (TypeError, ValueError, OverflowError):
        raise QuantizeError("a value is not an array of numbers", where=where, got=type(value).__name__,
                            expected=f"an NHWC array for '{name}'") from None
    if array.size == 0:
        raise QuantizeError("an empty batch", where=where, got=array.shape)
    if not np.isfinite(array).all():
        raise QuantizeError("the calibration data hold NaN or infinity", where=where, got=f"input '{name}'",
                            remedy="clean the images or the preprocessing")
    return array


def calibrate(graph: TFGraph, outputs: Iterable[str], shapes: Mapping[str, Shape],
              batches: Batches, activation_rounding: str = "half_up") -> dict[str, int]:
    """The position of every FixNeuron of ``graph``, by name."""
    neurons = {node.name: node for node in graph.nodes if node.op == "FixNeuron"}
    wanted = tuple(dict.fromkeys((*outputs, *neurons)))
    votes = _Votes(neurons, activation_rounding)
    network = _freeze_constants(import_tf(graph, wanted, shapes), votes)
    placeholders = [node.name for node in graph.placeholders]
    read = {node.name for node in network.inputs}
    constant = True
    done = 0
    for iteration, batch in enumerate(batches):
        arrays = check_batch(batch, placeholders, iteration)
        constant = constant and all(float(np.ptp(array)) == 0 for array in arrays.values())
        with np.errstate(all="ignore"):  # what is not finite is found at the next FixNeuron
            evaluate(network, {name: array for name, array in arrays.items() if name in read}, (), votes)
        done += 1
    if not done:
        raise QuantizeError("no calibration data", remedy="give at least one batch of images")
    if constant:
        raise QuantizeError("every calibration image is constant", remedy="calibrate with real images, "
                            "preprocessed as the network was trained")
    positions = {name: winner(votes.counts[name]) for name in neurons}
    _warn_zero(positions)
    return positions


def _warn_zero(positions: Mapping[str, int]) -> None:
    zero = [name for name, pos in positions.items() if pos == fixed.ALL_ZERO_POS]
    if zero:
        warnings.warn(f"[DECENT_WARNING] all values are zero in: {', '.join(zero)}", stacklevel=3)


def count_batches(calib_iter: int, input_fn: Callable[[int], Mapping[str, Array]]) -> Batches:
    """The batches of an input_fn, iteration by iteration."""
    return (input_fn(iteration) for iteration in range(calib_iter))
