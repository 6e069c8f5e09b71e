"""Scale, offset and channel order of the input, judged by the network's first batch normalisation.

Its moving mean and variance say what arrived there in training; the calibration images must bring
about the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dpuflow.engines.evaluate import evaluate
from dpuflow.ir.graph import Array, Graph, Node

SCALE_LIMIT = 1.7  # factor between the deviations seen and expected
OFFSET_LIMIT = 1.0  # deviations between the means seen and expected, root mean square over the channels
FAR_OFF = 3.0  # a factor beyond this is a matter of scale, whatever the means
EPSILON = 1e-8


@dataclass(frozen=True)
class Problem:
    """One suspicion about the input."""

    code: str
    message: str
    remedy: str
    value: float


def first_batch_norm(network: Graph) -> Node | None:
    """The first batch normalisation with constant statistics; None if the network has none."""
    for node in network.nodes:
        if node.op == "batch_norm" and all(network.by_name[name].data is not None for name in node.inputs[1:5]):
            return node
    return None


def _moments(network: Graph, name: str, batches: Sequence[Mapping[str, Array]], flip: bool) -> tuple[Array, Array]:
    """Mean and variance of a tensor for each channel over the batches."""
    count, total, squares = 0, np.zeros(1), np.zeros(1)
    for batch in batches:
        inputs = {key: array[..., ::-1] if flip else array for key, array in batch.items()}
        value = evaluate(network, inputs, (name,))[name].astype(np.float64)
        value = value.reshape(-1, value.shape[-1])
        count, total, squares = count + len(value), total + value.sum(axis=0), squares + (value**2).sum(axis=0)
    mean = total / count
    return mean, np.maximum(squares / count - mean**2, 0)


def _distance(mean: Array, variance: Array, moving_mean: Array, moving_variance: Array) -> float:
    """Mean divergence between what is seen and what is expected, as of two normal distributions."""
    expected = moving_variance + EPSILON
    ratio = (variance + EPSILON) / expected
    return float(np.mean(ratio - 1 - np.log(ratio) + (mean - moving_mean) ** 2 / expected) / 2)


def check_against_batch_norm(network: Graph, batches: Sequence[Mapping[str, Array]]) -> list[Problem] | None:
    """What the first batch normalisation says; None without one that can be judged."""
    node = first_batch_norm(network)
    if node is None or not batches:
        return None
    part = network.replace(_upto(network, node.inputs[0]), (node.inputs[0],))
    read = {found.name for found in part.inputs}
    ready = [{name: array for name, array in batch.items() if name in read} for batch in batches]
    moving_mean, moving_variance = (np.asarray(network.by_name[name].data, np.float64) for name in node.inputs[3:5])
    mean, variance = _moments(part, node.inputs[0], ready, False)
    if moving_mean.shape != mean.shape:
        return None
    return [*_scale(node, mean, variance, moving_mean, moving_variance),
            *_order(part, node, ready, (mean, variance, moving_mean, moving_variance))]


def _upto(network: Graph, name: str) -> list[Node]:
    needed, stack = set(), [name]
    while stack:
        at = stack.pop()
        if at not in needed:
            needed.add(at)
            stack.extend(network.by_name[at].inputs)
    return [node for node in network.nodes if node.name in needed]


def _scale(node: Node, mean: Array, variance: Array, moving_mean: Array, moving_variance: Array) -> list[Problem]:
    live = moving_variance > EPSILON
    if not live.any():
        return []
    factor = float(np.exp(np.median(0.5 * np.log((variance[live] + EPSILON) / moving_variance[live]))))
    spread = np.maximum(moving_variance, variance)[live]
    shift = float(np.sqrt(np.mean((mean - moving_mean)[live] ** 2 / spread)))
    if shift > OFFSET_LIMIT and 1 / FAR_OFF <= factor <= FAR_OFF:
        return [Problem("offset", f"before '{node.name}' the means lie {shift:.2g} deviations off those of training, "
                        f"and the values spread {factor:.3g} times as wide",
                        "look for a mean that was not subtracted or was twice, or -1..1 against 0..1", shift)]
    if not 1 / SCALE_LIMIT <= factor <= SCALE_LIMIT:
        return [Problem("scale", f"before '{node.name}' the values spread {factor:.3g} times as wide as in training",
                        f"multiply the input by about {1 / factor:.3g} (0..255 against 0..1 is 0.00392)", factor)]
    return []


def _order(part: Graph, node: Node, batches: Sequence[Mapping[str, Array]],
           moments: tuple[Array, ...]) -> list[Problem]:
    mean, variance, moving_mean, moving_variance = moments
    if len(part.inputs) != 1 or part.inputs[0].shape[-1] != 3:
        return []
    given = _distance(mean, variance, moving_mean, moving_variance)
    flipped = _distance(*_moments(part, node.inputs[0], batches, True), moving_mean, moving_variance)
    if flipped > 0.6 * given or given - flipped < 0.02:
        return []
    return [Problem("channel-order", f"with the channels reversed the values before '{node.name}' fit those of "
                    f"training better (divergence {flipped:.3g} against {given:.3g})",
                    "swap red and blue (--channel-order)", given)]
