"""Layer-wise fine-tuning of weights on the grid: rounding that is best for the layer's output.

The question is least squares: which weights on the grid, applied to the inputs that the quantized
network has, come closest to the float outputs. It is answered from second moments of the inputs in
three steps: the float optimum, held near the trained weights by a ridge; rounding one input after
another with the error passed on to the inputs still free (E. Frantar and others, GPTQ, 2023); and
sweeps of exact coordinate descent. The lineage is M. Nagel and others, AdaRound (2020) and
I. Hubara and others, AdaQuant (2021). NumPy only; every result lies on the int8 grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dpuedge import fixed
from dpuflow.errors import QuantizeError
from dpuflow.ir.graph import Array
from dpuflow.recipe.correct_bias import PARAMETER_ROUNDING, bias_choice
from dpuflow.recipe.layer import Moments, blocks, moments, unblocked
from dpuflow.recipe.walk import LayerChoice, LayerView

_SCARCITY = 0.25  # more ridge where there are few rows for many inputs: a dense layer and few images
_DAMPING = 1e-3  # of the mean input power, so that inputs that never vary have an inverse


@dataclass(frozen=True)
class Rounding:
    """How to fine-tune: the ridge as a share of the mean input power, positions to try around the
    present one, sweeps of coordinate descent, and the seed of the rows that are looked at."""

    ridge: float = 0.05
    around: tuple[int, ...] = (-1, 0, 1)
    sweeps: int = 3
    seed: int = 0


def round_weights(settings: Rounding = Rounding()) -> Callable[[LayerView], LayerChoice]:
    """The policy that fine-tunes each layer."""
    def policy(view: LayerView) -> LayerChoice:
        return _fine_tuned(view, settings)
    return policy


def _fine_tuned(view: LayerView, settings: Rounding) -> LayerChoice:
    shape = view.weights.shape
    known = moments(view.node, view.x, view.target, shape, settings.seed)
    if not (np.isfinite(known.inputs).all() and np.isfinite(known.cross).all()):
        raise QuantizeError("the layer's inputs or outputs leave the range of float32",
                            where=f"node '{view.node.name}'",
                            remedy="check the weights and the preprocessing of the calibration images")
    trained = blocks(view.node, view.weights).astype(np.float64)
    ridge = settings.ridge + _SCARCITY * trained.shape[1] / known.rows
    free = _float_optimum(known, trained, ridge)
    problem = _regularised(known, trained, ridge)
    pos = min(_positions(view, settings), key=lambda pos: problem.error(_snap(free, pos, view.bits)))
    made = _descend(problem, _pass_on(problem, free, pos, view.bits), pos, view.bits, settings.sweeps)
    weights = np.asarray(unblocked(view.node, made, shape), np.float32)
    if view.bias is None:
        return LayerChoice(weights, pos)
    return bias_choice(known.bias(made), view, weights, pos)


def _positions(view: LayerView, settings: Rounding) -> list[int]:
    """Positions to try, those whose shift to the output is legal (arithmetic specification, section 8)."""
    low = view.output_pos - view.input_pos
    tried = [view.weights_pos + step for step in settings.around]
    return [pos for pos in tried if low <= pos <= low + 16] or [view.weights_pos]


def _power(known: Moments) -> Array:
    mean = np.einsum("gkk->g", known.inputs) / known.inputs.shape[1]
    return np.asarray(np.maximum(mean, 1e-12)[:, None, None])


def _regularised(known: Moments, trained: Array, ridge: float) -> Moments:
    """The same question with a penalty for leaving the trained weights."""
    weight = (ridge + _DAMPING) * _power(known)
    return Moments(known.inputs + weight * np.eye(trained.shape[1]), known.cross + weight * trained,
                   known.mean_in, known.mean_out, known.target_power, known.rows)


def _float_optimum(known: Moments, trained: Array, ridge: float) -> Array:
    problem = _regularised(known, trained, ridge)
    return np.asarray(np.linalg.solve(problem.inputs, problem.cross))


def _pass_on(problem: Moments, free: Array, pos: int, bits: int) -> Array:
    """Round input by input, those with the most power first; each error moves the inputs still free."""
    order = np.argsort(-np.einsum("gkk->gk", problem.inputs).sum(axis=0), kind="stable")
    inverse = np.linalg.inv(problem.inputs[:, order][:, :, order])
    upper = np.linalg.cholesky(inverse).transpose(0, 2, 1)  # inverse = upper^T upper
    weights, made = free[:, order].copy(), np.empty_like(free)
    for at in range(weights.shape[1]):
        rounded = _snap(weights[:, at], pos, bits)
        error = (weights[:, at] - rounded) / upper[:, at, at, None]
        weights[:, at + 1:] -= upper[:, at, at + 1:, None] * error[:, None]
        made[:, order[at]] = rounded
    return made


def _descend(problem: Moments, weights: Array, pos: int, bits: int, sweeps: int) -> Array:
    """Each weight set to the best grid point given the others, until nothing changes or the sweeps are over."""
    slope = problem.cross - problem.inputs @ weights
    for _ in range(sweeps):
        changed = False
        for at in range(weights.shape[1]):
            best = _snap(weights[:, at] + slope[:, at] / problem.inputs[:, at, at, None], pos, bits)
            step = best - weights[:, at]
            if np.any(step):
                changed = True
                slope -= problem.inputs[:, :, at, None] * step[:, None]
                weights[:, at] = best
        if not changed:
            break
    return weights


def _snap(values: Array, pos: int, bits: int) -> Array:
    return np.asarray(fixed.snap(values, pos, PARAMETER_ROUNDING, bits), np.float64)
