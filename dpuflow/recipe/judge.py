"""How good a quantized network is: by the user's measure, else by closeness to float on held-out images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dpuflow.analysis.simulation import ALL, Simulation
from dpuflow.ir.graph import Array
from dpuflow.quant.job import QuantizeJob
from dpuflow.quant.quantizer import Quantized
from dpuflow.recipe.agree_on_biases import fine_biases
from dpuflow.recipe.draft import draft_of
from dpuflow.recipe.sample import Sample

BY_ACCURACY = "accuracy, by the given evaluation"
BY_DIVERGENCE = "share of held-out calibration images with another largest output than float (no evaluation given)"
BY_NOISE = "noise of the output on held-out calibration images (no evaluation given, the output is no list of scores)"
_BATCH = 64


@dataclass(frozen=True)
class Verdict:
    """``drop`` in percentage points against float, None where only noise can be measured; ``noise`` is
    the output's error power over its own power on the held-out images; ``fine_biases`` the layers whose
    bias is finer than their accumulator, on which the vendor's compilers disagree."""

    drop: float | None
    noise: float
    accuracy: float | None = None
    fine_biases: int = 0

    @property
    def rank(self) -> tuple[float, float]:
        """Smaller is better: the drop, then the noise. To be above float is luck, no merit."""
        return (max(self.drop, 0.0) if self.drop is not None else 0.0, self.noise)

    def as_json(self) -> Mapping[str, Any]:
        """JSON values."""
        return {"drop_points": self.drop, "output_noise": self.noise, "accuracy": self.accuracy,
                "fine_biases": self.fine_biases}

    def holds(self, limit: float) -> bool:
        """Whether no more than ``limit`` percentage points are lost."""
        return self.drop is not None and self.drop <= limit

    def is_better(self, other: Verdict, limit: float) -> bool:
        """Within the limit agreement on the biases comes first, outside it the drop does."""
        def rank(verdict: Verdict) -> tuple[object, ...]:
            held = verdict.holds(limit)
            return not held, verdict.fine_biases if held else 0, verdict.rank
        return rank(self) < rank(other)


@dataclass(frozen=True)
class Judge:
    """Measures networks made for one job, all in the same way."""

    job: QuantizeJob
    sample: Sample

    @property
    def by(self) -> str:
        """What is measured, in words."""
        if self.job.evaluate is not None and self.job.float_accuracy is not None:
            return BY_ACCURACY
        return BY_DIVERGENCE if self._scores else BY_NOISE

    @cached_property
    def exact(self) -> list[Array]:
        """The float network's outputs on the held-out images."""
        simulation = draft_of(self.job).float_network
        return _outputs(simulation, self.sample, frozen_off=True)

    @property
    def _scores(self) -> bool:
        """Whether the output is one vector of class scores per image."""
        return len(self.exact) == 1 and self.exact[0].reshape(len(self.exact[0]), -1).shape[1] > 1 and (
            self.exact[0].ndim == 2 or self.exact[0].shape[1:3] == (1, 1))

    def __call__(self, quantized: Quantized) -> Verdict:
        """The verdict on one network."""
        made = _outputs(Simulation(quantized.evaluation, self.job.config), self.sample)
        noise = sum(float(np.sum((a - b) ** 2, dtype=np.float64)) for a, b in zip(made, self.exact, strict=True))
        power = sum(float(np.sum(b**2, dtype=np.float64)) for b in self.exact)
        share, fine = noise / power if power else noise, len(fine_biases(quantized))
        if self.job.evaluate is not None and self.job.float_accuracy is not None:
            accuracy = self.job.evaluate(quantized)
            return Verdict(100 * (self.job.float_accuracy - accuracy), share, accuracy, fine)
        return Verdict(100 * _changed(made[0], self.exact[0]) if self._scores else None, share, None, fine)


def _changed(made: Array, exact: Array) -> float:
    first, second = (array.reshape(len(array), -1).argmax(axis=1) for array in (made, exact))
    return float(np.mean(first != second))


def _outputs(simulation: Simulation, sample: Sample, frozen_off: bool = False) -> list[Array]:
    parts: dict[str, list[Array]] = {name: [] for name in simulation.judged}
    count = min(len(array) for array in sample.held.values())
    for at in range(0, count, _BATCH):
        batch = {name: array[at:at + _BATCH] for name, array in sample.held.items()}
        results = simulation.run(batch, simulation.judged, ALL if frozen_off else frozenset())
        for name in simulation.judged:
            parts[name].append(results[name])
    return [np.concatenate(part) for part in parts.values()]
