"""For the dearest layers: which tensor makes the noise, and whether another position would make less. Measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dpuflow.analysis.layer_cost import Batches, Closeness, closeness
from dpuflow.analysis.layers import Layer, find_layers
from dpuflow.analysis.shifts import illegal_shifts
from dpuflow.analysis.simulation import Simulation
from dpuflow.ir.graph import Array

WORTH = 0.02  # share of the output's noise that a move must take away to be named


@dataclass(frozen=True)
class Move:
    """One tensor's position changed by one, and the share of the output's noise that this takes away."""

    tensor: str
    before: int
    after: int
    gain: float

    def __str__(self) -> str:
        return (f"position {self.after} instead of {self.before} for '{self.tensor}' takes {self.gain:.0%} of the "
                f"output's noise away (measured): --positions with {{\"{self.tensor}\": {self.after}}}")


@dataclass(frozen=True)
class Probe:
    """What was measured on one layer."""

    noise_shares: dict[str, float]
    move: Move | None

    def as_json(self) -> dict[str, Any]:
        """JSON values; shares by tensor, of the output's noise power that goes when it alone stays in float."""
        move = None if self.move is None else {
            "tensor": self.move.tensor, "from": self.move.before, "to": self.move.after, "noise_share": self.move.gain}
        return {"noise_by_tensor": self.noise_shares, "better_position": move}


def probe_layer(simulation: Simulation, layer: Layer, batches: Batches, exact: Sequence[Sequence[Array]],
                whole: Closeness) -> Probe:
    """Each tensor of a layer in float alone, and each position one up and down where the DPU can shift it."""
    def gain(near: Closeness) -> float:
        return 1 - near.noise / whole.noise if whole.noise else 0.0

    truth = [list(outputs) for outputs in exact]
    shares = {fix.rpartition("/")[0]: gain(closeness(simulation, batches, truth, frozenset({fix})))
              for fix in layer.fixes}
    best: Move | None = None
    layers, evaluation = find_layers(simulation.evaluation), simulation.evaluation
    faults = set(illegal_shifts(evaluation, layers, simulation.positions))
    for fix in layer.fixes:
        before = simulation.positions[fix]
        for after in (before - 1, before + 1):
            moved = {**simulation.positions, fix: after}
            if set(illegal_shifts(evaluation, layers, moved)) - faults:
                continue
            won = gain(closeness(simulation.with_positions(moved), batches, truth))
            if won > max(WORTH, best.gain if best else 0.0):
                best = Move(fix.rpartition("/")[0], before, after, won)
    return Probe(shares, best)
