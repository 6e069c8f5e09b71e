"""A layer with weights as a matrix problem: rows of inputs, blocks of weights, targets.

Convolutions, depthwise convolutions and dense layers all become ``G`` independent blocks of ``K``
inputs and ``O`` outputs: one block for a convolution or a dense layer, one for every group, one for
every channel of a depthwise convolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dpuflow.ir.graph import Array, Node
from dpuflow.ops.base import windows

FITTED = ("conv2d", "depthwise_conv2d", "dense")
# Input rows that a layer's statistics are taken from: so many for each input, within bounds.
ROWS_PER_INPUT, FEWEST_ROWS, MOST_ROWS = 4, 8192, 24576
_BLOCK_BYTES = 48 << 20


def blocks(node: Node, weights: Array) -> Array:
    """Weights as (G, K, O)."""
    if node.op == "dense":
        return np.asarray(weights[None])
    height, width, inputs, outputs = weights.shape
    if node.op == "depthwise_conv2d":
        return np.asarray(weights.reshape(height * width, inputs, outputs).transpose(1, 0, 2))
    flat = weights.reshape(height * width * inputs, node.attrs.groups, outputs // node.attrs.groups)
    return np.asarray(flat.transpose(1, 0, 2))


def unblocked(node: Node, made: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of :func:`blocks`."""
    if node.op == "dense":
        return np.asarray(made[0])
    return np.asarray(made.transpose(1, 0, 2).reshape(shape))


def _rows(node: Node, x: Array, shape: tuple[int, ...], at: Array, places: tuple[int, int]) -> Array:
    """Some of the inputs of single outputs: (rows, G, K); ``at`` counts outputs over images, rows, columns."""
    if node.op == "dense":
        return np.asarray(x[at][:, None])
    a = node.attrs
    view = windows(x, (shape[0], shape[1]), a.stride, a.padding, a.dilation)
    image, place = np.divmod(at, places[0] * places[1])
    taken = view[image, place // places[1], place % places[1]]  # (rows, KH, KW, C)
    if node.op == "depthwise_conv2d":
        return np.asarray(taken.reshape(len(at), -1, shape[2]).transpose(0, 2, 1))
    grouped = taken.reshape(len(at), shape[0] * shape[1], a.groups, shape[2])
    return np.asarray(grouped.transpose(0, 2, 1, 3).reshape(len(at), a.groups, -1))


@dataclass(frozen=True)
class Moments:
    """Second moments of a layer's inputs and targets, centred: what every least-squares question needs.

    ``inputs`` (G, K, K) and ``cross`` (G, K, O) are per row; ``mean_in`` (G, K), ``mean_out`` (G, O).
    """

    inputs: Array
    cross: Array
    mean_in: Array
    mean_out: Array
    target_power: Array  # (G, O) variance of the targets
    rows: int  # that the moments were taken from

    def error(self, weights: Array) -> float:
        """Mean squared error of the outputs with these weights (G, K, O) and the best bias."""
        quadratic = np.einsum("gko,gko->", weights, self.inputs @ weights - 2 * self.cross)
        return float(quadratic + self.target_power.sum())

    def bias(self, weights: Array) -> Array:
        """The bias (channels,) that leaves no mean error."""
        best: Array = self.mean_out - np.einsum("gk,gko->go", self.mean_in, weights)
        return best.reshape(-1)


def moments(node: Node, x: Array, target: Array, shape: tuple[int, ...], seed: int) -> Moments:
    """The moments of a layer's input ``x`` and of its ``target`` output before the nonlinearity."""
    places = (target.shape[1], target.shape[2]) if target.ndim == 4 else (1, 1)
    total = target.shape[0] * places[0] * places[1]
    groups = shape[2] if node.op == "depthwise_conv2d" else getattr(node.attrs, "groups", 1)
    flat = target.reshape(total, groups, -1)
    inner = int(np.prod(shape[:2] if node.op == "depthwise_conv2d" else shape[:-1]))
    rows = min(max(ROWS_PER_INPUT * inner, FEWEST_ROWS), MOST_ROWS)
    chosen = np.arange(total)
    if total > rows:
        chosen = np.sort(np.random.default_rng(seed).choice(total, rows, replace=False))
    return _accumulate(node, x, shape, flat, chosen, (groups, inner), places)


def _accumulate(node: Node, x: Array, shape: tuple[int, ...], flat: Array, chosen: Array, size: tuple[int, int],
                places: tuple[int, int]) -> Moments:
    groups, inner = size
    step = max(_BLOCK_BYTES // (8 * groups * inner), 1)
    square = np.zeros((groups, inner, inner))
    cross = np.zeros((groups, inner, flat.shape[2]))
    sum_in, sum_out = np.zeros((groups, inner)), np.zeros((groups, flat.shape[2]))
    power = np.zeros((groups, flat.shape[2]))
    for at in range(0, len(chosen), step):
        part = chosen[at:at + step]
        rows = _rows(node, x, shape, part, places).transpose(1, 0, 2)  # (G, rows, K)
        out = flat[part].transpose(1, 0, 2)
        turned = rows.transpose(0, 2, 1)
        square += turned @ rows
        cross += turned @ out
        sum_in += rows.sum(axis=1, dtype=np.float64)
        sum_out += out.sum(axis=1, dtype=np.float64)
        power += np.sum(np.square(out, dtype=np.float64), axis=1)
    count = len(chosen)
    mean_in, mean_out = sum_in / count, sum_out / count
    return Moments(square / count - mean_in[:, :, None] * mean_in[:, None, :],
                   cross / count - mean_in[:, :, None] * mean_out[:, None, :],
                   mean_in, mean_out, power / count - mean_out**2, count)
