"""For the dearest layers: which tensor makes the noise, and whether another position would make less. Measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dpuflow.analysis.layer_cost import Batches, Closeness, closeness
from dpuflow.analysis.layers import Layer, find_layers
from dpuflow.analysis.shifts import illegal_shifts
from dpuflow.analysis.simulation import Simulation
from dpuflow.ir.graph import Array

FURTHEST = 8  # positions tried in one direction
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
    """Each tensor of a layer in float alone, and its position moved as long as that helps and the DPU can shift it."""
    truth = [list(outputs) for outputs in exact]
    prober = _Prober(simulation, batches, truth, whole)
    shares = {fix.rpartition("/")[0]: prober.gain(closeness(simulation, batches, truth, frozenset({fix})))
              for fix in layer.fixes}
    moves = [move for fix in layer.fixes for move in (prober.climb(fix, -1), prober.climb(fix, +1)) if move]
    return Probe(shares, max(moves, key=lambda move: move.gain, default=None))


@dataclass(frozen=True)
class _Prober:
    """The network, the images and what is known about both."""

    simulation: Simulation
    batches: Batches
    truth: list[list[Array]]
    whole: Closeness

    def gain(self, near: Closeness) -> float:
        """The share of the output's noise power that is gone."""
        return 1 - near.noise / self.whole.noise if self.whole.noise else 0.0

    def legal(self, positions: Mapping[str, int]) -> bool:
        """Whether the DPU can shift all that it can shift now."""
        evaluation = self.simulation.evaluation
        layers = find_layers(evaluation)
        now = illegal_shifts(evaluation, layers, self.simulation.positions)
        return not set(illegal_shifts(evaluation, layers, positions)) - set(now)

    def climb(self, fix: str, step: int) -> Move | None:
        """The best position in one direction; None if the first step is not worth it."""
        before, best = self.simulation.positions[fix], None
        for after in range(before + step, before + (FURTHEST + 1) * step, step):
            moved = {**self.simulation.positions, fix: after}
            if not self.legal(moved):
                break
            won = self.gain(closeness(self.simulation.with_positions(moved), self.batches, self.truth))
            if won <= (best.gain if best else WORTH):
                break
            best = Move(fix.rpartition("/")[0], before, after, won)
        return best
