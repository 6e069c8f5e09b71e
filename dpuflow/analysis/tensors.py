"""What quantization does to each tensor: range, histogram, saturation, error against float."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.analysis.simulation import ALL, Simulation
from dpuflow.ir.graph import Array
from dpuflow.ops.elementwise import FixAttrs
from dpuflow.quant.positions import tensor_kind

BINS = 64  # over twice the range of the integers, so that what saturates shows
_FLOOR = 1e-30


@dataclass
class TensorStatistics:
    """Sums over all images of one tensor; see :meth:`as_json` for what they mean."""

    name: str
    kind: str
    attrs: FixAttrs
    count: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    signal: float = 0.0
    noise: float = 0.0
    own_noise: float = 0.0
    cross: float = 0.0
    quantized_signal: float = 0.0
    error_sum: float = 0.0
    saturated: int = 0
    ties: int = 0
    zeroed: int = 0
    largest: float = 0.0
    histogram: Array = field(default_factory=lambda: np.zeros(BINS + 2, np.int64))
    channel_error: Array | None = None

    def add(self, exact: Array, got: Array) -> None:
        """One batch: the float network's values and the quantized network's."""
        e, q = exact.astype(np.float64).reshape(-1), got.astype(np.float64).reshape(-1)
        self.count += e.size
        self.low, self.high = min(self.low, float(e.min())), max(self.high, float(e.max()))
        self.signal += float(e @ e)
        self.quantized_signal += float(q @ q)
        self.cross += float(e @ q)
        error = q - e
        self.noise += float(error @ error)
        self.error_sum += float(error.sum())
        self._channels(error.reshape(exact.shape))
        self._grid(exact, e)

    def _channels(self, error: Array) -> None:
        sums = error.reshape(-1, error.shape[-1]).sum(axis=0) if error.ndim else error.reshape(1)
        self.channel_error = sums if self.channel_error is None else self.channel_error + sums

    def _grid(self, exact: Array, e: Array) -> None:
        if self.attrs.pos == fixed.ALL_ZERO_POS:
            return
        alone = fixed.snap(exact, self.attrs.pos, self.attrs.rounding, self.attrs.bits).astype(np.float64).reshape(-1)
        self.own_noise += float(np.sum((alone - e) ** 2))
        units = e * 2.0**self.attrs.pos
        low, high = fixed.int_range(self.attrs.bits)
        self.saturated += int(np.sum((units >= high + 0.5) | (units < low - 0.5)))
        twice = 2 * units
        self.ties += int(np.sum((twice == fixed.trunc(twice)) & (units != fixed.trunc(units))))
        self.zeroed += int(np.sum((alone == 0) & (e != 0)))
        self.largest = max(self.largest, float(np.abs(alone).max()) * 2.0**self.attrs.pos)
        edges = np.linspace(2 * low, -2 * low, BINS + 1)
        self.histogram += np.bincount(np.digitize(units, edges), minlength=BINS + 2)

    def as_json(self) -> dict[str, Any]:
        """JSON values.

        ``sqnr_db`` and ``cosine`` compare with the float network and so hold all errors made up to
        here; ``own_sqnr_db`` is the rounding of this tensor alone. ``histogram`` counts float values
        in ``len - 2`` equal bins from ``histogram_from`` to ``histogram_to`` integer units, the first
        and last entry what lies outside. ``largest_integer`` is the largest magnitude in
        use, ``mean_error_share`` how much of the error is a constant offset of its channels.
        """
        low, _ = fixed.int_range(self.attrs.bits)
        total = max(self.count, 1)
        bias = 0.0
        if self.channel_error is not None and self.noise:
            means = self.channel_error * (len(self.channel_error) / total)
            bias = float(np.sum(means**2)) * total / len(self.channel_error) / self.noise
        return {
            "name": self.name, "kind": self.kind, "bits": self.attrs.bits, "pos": self.attrs.pos,
            "all_zero": self.attrs.pos == fixed.ALL_ZERO_POS, "min": self.low, "max": self.high,
            "saturated_share": self.saturated / total, "tie_share": self.ties / total,
            "zeroed_share": self.zeroed / total, "largest_integer": self.largest,
            "sqnr_db": decibel(self.signal, self.noise), "own_sqnr_db": decibel(self.signal, self.own_noise),
            "cosine": self._cosine(), "mean_error_share": min(bias, 1.0),
            "histogram": self.histogram.tolist(), "histogram_from": 2 * low, "histogram_to": -2 * low,
        }

    def _cosine(self) -> float | None:
        norms = (self.signal * self.quantized_signal) ** 0.5
        return self.cross / norms if norms > _FLOOR else None


def decibel(signal: float, noise: float) -> float | None:
    """Ten times the logarithm of signal over noise; None without noise or signal."""
    return 10 * float(np.log10(signal / noise)) if noise > _FLOOR and signal > _FLOOR else None


def tensor_statistics(simulation: Simulation, batches: Iterable[Mapping[str, Array]]) -> list[TensorStatistics]:
    """The statistics of every quantized tensor, in the graph's order, float against quantized."""
    network = simulation.network
    found = {name: TensorStatistics(network.by_name[name].name.rpartition("/")[0],
                                    tensor_kind(simulation.evaluation, simulation.evaluation.by_name[name]),
                                    network.by_name[name].attrs)
             for name in simulation.fixes}
    constant = set(simulation.constants)
    first = True
    for batch in batches:
        wanted = [name for name in simulation.fixes if first or name not in constant]
        exact, got = simulation.run(batch, wanted, ALL), simulation.run(batch, wanted)
        for name in wanted:
            found[name].add(exact[name], got[name])
        first = False
    return list(found.values())


def channel_spread(weights: Array, depthwise: bool) -> float:
    """How much larger the largest output channel's weights are than the median channel's."""
    flat = np.abs(weights).reshape(-1, weights.shape[-1] * (weights.shape[-2] if depthwise else 1))
    ranges = flat.max(axis=0)
    middle = float(np.median(ranges[ranges > 0])) if (ranges > 0).any() else 0.0
    return float(ranges.max()) / middle if middle else 1.0
