"""Coordinate descent on positions: each moved by one as long as the network's own output gets closer to float."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from dpuflow.analysis.simulation import ALL, Simulation
from dpuflow.ir.graph import Array
from dpuflow.quant.positions import fix_neurons
from dpuflow.quant.quantizer import with_positions
from dpuflow.recipe.draft import Draft

WORTH = 0.01  # share of the output's noise that a move must take away
_IMAGES = 96


def search_positions(draft: Draft, images: Mapping[str, Array], sweeps: int = 1) -> Draft:
    """The draft with better activation positions; parameters that are on their grids stay.

    Only moves that leave every shift legal are tried (arithmetic specification, section 8).
    """
    few = {name: array[:_IMAGES] for name, array in images.items()}
    judge = _noise_of(draft, few)
    best = judge(draft.positions)
    for _ in range(sweeps):
        before = best
        for name in _activations(draft):
            draft, best = _climb(draft, name, judge, best)
        if best > before * (1 - WORTH):
            break
    return draft


def _activations(draft: Draft) -> Iterable[str]:
    for name, fix in fix_neurons(draft.graph).items():
        if int(fix.get("mode", 1)) == 1 and name in draft.positions:
            yield name


def _climb(draft: Draft, name: str, judge: Callable[[Mapping[str, int]], float], best: float) -> tuple[Draft, float]:
    for step in (-1, 1):
        while True:
            moved = {**draft.positions, name: draft.positions[name] + step}
            if draft.legal(moved) != moved:
                break
            noise = judge(moved)
            if noise >= best * (1 - WORTH):
                break
            draft, best = draft.rounded({}, moved), noise
    return draft, best


def _noise_of(draft: Draft, images: Mapping[str, Array]) -> Callable[[Mapping[str, int]], float]:



    simulation = draft.float_network
    exact = simulation.run(images, simulation.judged, ALL)

    def noise(positions: Mapping[str, int]) -> float:
        trial = Simulation(with_positions(draft.graph, positions), draft.config)
        made = trial.run(images, trial.judged)
        return sum(float(np.sum((made[name] - exact[name]) ** 2, dtype=np.float64)) for name in trial.judged)

    return noise
