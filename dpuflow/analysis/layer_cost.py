"""What each layer costs: measured by leaving that one layer in float, not guessed from its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpuflow.analysis.layers import Layer
from dpuflow.analysis.simulation import ALL, Simulation
from dpuflow.analysis.tensors import decibel
from dpuflow.calibration.accuracy import Measure, agreement
from dpuflow.ir.graph import Array

Batches = Sequence[Mapping[str, Array]]


@dataclass(frozen=True)
class Closeness:
    """How close outputs are to the float network's: signal to noise in dB, share of equal answers."""

    sqnr_db: float | None
    agreement: float
    noise: float
    images: int

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {"output_sqnr_db": self.sqnr_db, "agreement_with_float": self.agreement, "images": self.images}


@dataclass(frozen=True)
class LayerCost:
    """One layer and what is won when it alone stays in float.

    ``cost`` is a share of accuracy where the user gave a measure, else ``noise_share``: the share of
    the output's noise power that goes away.
    """

    layer: Layer
    cost: float
    noise_share: float
    accuracy: float | None
    closeness: Closeness


def float_outputs(simulation: Simulation, batches: Batches) -> list[list[Array]]:
    """The float network's outputs, batch by batch."""
    return [[result[name] for name in simulation.judged]
            for result in (simulation.run(batch, simulation.judged, ALL) for batch in batches)]


def closeness(simulation: Simulation, batches: Batches, exact: list[list[Array]],
              off: frozenset[str] = frozenset()) -> Closeness:
    """The quantized outputs, some FixNeurons switched off, against the float ones."""
    signal = noise = 0.0
    first: list[Array] = []
    for batch, truth in zip(batches, exact, strict=True):
        got = simulation.run(batch, simulation.judged, off)
        for name, right in zip(simulation.judged, truth, strict=True):
            difference = got[name].astype(np.float64) - right
            signal, noise = signal + float(np.sum(right.astype(np.float64) ** 2)), noise + float(np.sum(difference**2))
        first.append(got[simulation.judged[0]])
    return Closeness(decibel(signal, noise), agreement(first, [truth[0] for truth in exact]), noise,
                     sum(len(value) for value in first))


def layer_costs(simulation: Simulation, layers: Sequence[Layer], batches: Batches, measure: Measure | None = None,
                observe: Callable[[int], None] = lambda done: None) -> tuple[Closeness, list[LayerCost]]:
    """The whole quantized network's closeness, and every layer's cost, the dearest first."""
    exact = float_outputs(simulation, batches)
    whole = closeness(simulation, batches, exact)
    accuracy = measure(simulation.runner()) if measure else None
    costs = []
    for done, layer in enumerate(layers):
        off = frozenset(layer.fixes)
        near = closeness(simulation, batches, exact, off)
        without = measure(simulation.runner(off)) if measure else None
        share = 1 - near.noise / whole.noise if whole.noise else 0.0
        cost = share if accuracy is None or without is None else without - accuracy
        costs.append(LayerCost(layer, cost, share, without, near))
        observe(done + 1)
    return whole, sorted(costs, key=lambda found: (-found.cost, -found.noise_share))
