"""The engine that people get as "fast": LiteRT at once, OpenVINO where it proves faster.

LiteRT is ready in milliseconds. OpenVINO's kernels are often twice as fast, but take a quarter of a
second to import and as much to compile. So runs start on LiteRT; once the runs of one size of batch
have taken so long that looking is worth it, or a large one will, both compute it in turn and the faster one stays.
Both must yield the same bits, on those numbers and on full-range ones; else OpenVINO is not used. Which one was
faster is remembered (:mod:`dpuflow.engines.choices`): the next process compares bits only, or stays on LiteRT.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from dpuflow.engines.base import Engine, engine_unavailable
from dpuflow.engines.check import CheckedEngine, same_bits
from dpuflow.engines.fast import FastEngine
from dpuflow.engines.litert.part import LITERT
from dpuflow.engines.probes import full_range
from dpuflow.engines.selftest import self_test
from dpuflow.errors import EngineError
from dpuflow.ir.graph import Array, Graph

if TYPE_CHECKING:
    from dpuflow.engines.choices import Choices

WORTH_S = 0.5  # spent on runs of one size of batch before the other library is tried
LARGE_S = 4.0  # that a single run may take without it, as a few images of it foretell
_SLICE = 16
_TURNS, _TURNS_S, _TURN_S = 7, 0.5, 0.02  # of both libraries, one after the other: how many, and their time
_CLEARLY = 0.95
_OPENVINO = "OpenVINO"
_X86 = ("x86_64", "AMD64")  # OpenVINO's kernels for other processors may sum in other ways
Values = Mapping[str, Array]


@dataclass
class _Use:
    """Which engine serves one list of tensors at one size of batch, and the time spent on LiteRT so far."""

    engine: FastEngine
    decided: bool
    spent_s: float = 0.0


@dataclass(frozen=True)
class _Trial:
    """Inputs and what LiteRT made of them; ``batch``: of the runs that they stand for."""

    given: Values
    result: Values
    wanted: tuple[str, ...]
    batch: int


class TunedEngine(Engine):
    """Runs on the faster of two libraries; thread-safe, one run at a time."""

    name = "fast"

    def __init__(self, graph: Graph, threads: int | None = None) -> None:
        super().__init__(graph)
        self_test(graph, LITERT)
        self.first = FastEngine(graph, threads, (LITERT,))
        self.second: FastEngine | None = None
        self.refusal: str | None = None  # why there is no second engine
        self.uses: dict[tuple[tuple[str, ...], int], _Use] = {}
        self.lock = threading.Lock()

    @property
    def description(self) -> str:
        """What computes which layer, and at which batches OpenVINO proved faster."""
        batches = sorted({batch for (_, batch), use in self.uses.items() if use.engine is self.second})
        where = f" (batches of {', '.join(map(str, batches))})" if batches else ""
        other = f"; {self.second.description.removeprefix('fast: ')}{where}" if self.second and batches else ""
        return self.first.description + other + (f"; {self.refusal}" if self.refusal else "")

    @cached_property
    def choices(self) -> Choices:
        """What is remembered for this network; of no use to a short run, which is not to wait for hashlib."""
        from dpuflow.engines.choices import Choices

        return Choices(self.graph, self.first.threads, (LITERT.package, "openvino"))

    def compute(self, values: dict[str, Array], wanted: tuple[str, ...]) -> Mapping[str, Array]:
        """A run on the engine that serves this size of batch; sometimes the run that decides which does."""
        with self.lock:
            key = wanted, _batch(values)
            use = self.uses.get(key) or self.uses.setdefault(key, _Use(self.first, self.refusal is not None))
            if use.decided:
                return use.engine.compute_alone(values, wanted)
            return self._measured(use, values, wanted)

    def tune(self, inputs: Values | Array, tensors: Iterable[str] | None = None) -> None:
        """Measure and decide now, on these inputs, for their size of batch."""
        wanted = self.graph.outputs if tensors is None else tuple(tensors)
        values = self.encode(inputs, "quantizer")
        with self.lock:
            use = self.uses.setdefault((wanted, _batch(values)), _Use(self.first, False))
            result = self.first.compute_alone(dict(values), wanted)
            self._decide(use, _Trial(values, result, wanted, _batch(values)))

    def _measured(self, use: _Use, values: dict[str, Array], wanted: tuple[str, ...]) -> Mapping[str, Array]:
        if not use.spent_s and self._large(values, wanted):
            some = {name: array[:_SLICE] for name, array in values.items()}
            result = self.first.compute_alone(dict(some), wanted)
            self._recall(use, _Trial(some, result, wanted, _batch(values)))
            return use.engine.compute_alone(values, wanted)
        given, started = dict(values), time.perf_counter()
        result = use.engine.compute_alone(values, wanted)
        if use.spent_s > WORTH_S:  # by runs before this one: this one is done
            self._recall(use, _Trial(given, result, wanted, _batch(given)))
        use.spent_s += time.perf_counter() - started
        return result

    def _large(self, values: Values, wanted: tuple[str, ...]) -> bool:
        """Whether this one run will take so long that looking is worth it at once."""
        images = _batch(values)
        if images < 4 * _SLICE:
            return False
        started = time.perf_counter()
        self.first.compute_alone({name: array[:_SLICE] for name, array in values.items()}, wanted)
        return (time.perf_counter() - started) * images / _SLICE > LARGE_S

    def _recall(self, use: _Use, trial: _Trial) -> None:
        """Decide as it was once decided for such batches, or anew."""
        choice = self.choices.known(trial.wanted, trial.batch)
        if choice == LITERT.name:
            use.decided = True
        else:
            self._decide(use, trial, choice)

    def _decide(self, use: _Use, trial: _Trial, choice: str | None = None) -> None:
        """``choice``: the library known to be faster, if any."""
        use.decided = True
        other = self._other()
        if other is None:
            return
        try:
            wrong = self._difference(other, trial)
        except RuntimeError as error:  # OpenVINO's own
            self._drop(f"OpenVINO cannot run the network ({str(error).strip().splitlines()[-1]})")
            return
        if wrong is not None:
            self._blame(wrong, trial)
            return
        use.engine = other if choice == _OPENVINO else self._faster(other, trial)
        if all(one.engine is self.first for one in self.uses.values()):
            self.second = None  # its memory is not needed

    def _difference(self, other: FastEngine, trial: _Trial) -> str | None:
        """The first tensor on which both differ, on the live numbers or on full-range ones."""
        rng = np.random.default_rng(0)
        full = {name: full_range(rng, array.shape) if array.dtype == np.int8 else array
                for name, array in trial.given.items()}
        expected_full = self.first.compute_alone(dict(full), trial.wanted)
        for inputs, expected in ((trial.given, trial.result), (full, expected_full)):
            got = other.compute_alone(dict(inputs), trial.wanted)
            for name in trial.wanted:
                if not same_bits(expected[name], got[name]):
                    return name
        return None

    def _blame(self, name: str, trial: _Trial) -> None:
        """OpenVINO goes, with a warning; EngineError if LiteRT differs from the reference engine too."""
        CheckedEngine(self.first, 1).compute(dict(trial.given), trial.wanted)
        self._drop(f"OpenVINO differs in tensor '{name}'")
        warnings.warn(f"{self.refusal}; LiteRT goes on with the reference engine's bits. Please report the network",
                      RuntimeWarning, stacklevel=2)

    def _drop(self, reason: str) -> None:
        self.refusal, self.second = reason, None
        for use in self.uses.values():
            use.engine, use.decided = self.first, True

    def _faster(self, other: FastEngine, trial: _Trial) -> FastEngine:
        """The one with the shorter run, by the median of turns of both; OpenVINO must be clearly faster."""
        paces: list[tuple[float, float]] = []
        until = time.perf_counter() + _TURNS_S
        while not paces or (len(paces) < _TURNS and time.perf_counter() < until):
            paces.append((_pace(self.first, trial), _pace(other, trial)))
        first, second = np.median(paces, axis=0)
        faster = bool(second < _CLEARLY * first)
        self.choices.keep(trial.wanted, trial.batch, _OPENVINO if faster else LITERT.name)
        return other if faster else self.first

    def _other(self) -> FastEngine | None:
        """The engine on OpenVINO, made once; None with the reason in ``refusal``."""
        if self.second is None and self.refusal is None:
            try:
                self.second = openvino_engine(self.graph, self.first.threads)
            except EngineError as error:
                self.refusal = error.what
        return self.second


def _batch(values: Values) -> int:
    return len(next(iter(values.values())))


def _pace(engine: FastEngine, trial: _Trial) -> float:
    """Seconds of one run: several in a row, after one in which the other library's threads may still spin."""
    engine.compute_alone(dict(trial.given), trial.wanted)
    runs, started = 0, time.perf_counter()
    while time.perf_counter() - started < _TURN_S:
        engine.compute_alone(dict(trial.given), trial.wanted)
        runs += 1
    return (time.perf_counter() - started) / runs


def openvino_serves_here() -> bool:
    """Whether this processor is of the kind whose kernels of OpenVINO were proved exact."""
    import platform  # on demand, as OpenVINO itself

    return platform.machine() in _X86


def openvino_engine(graph: Graph, threads: int | None = None) -> FastEngine:
    """OpenVINO where it is exact, then LiteRT, then NumPy; EngineError where it cannot serve."""
    if not openvino_serves_here():
        raise engine_unavailable("fast", "OpenVINO has no exact kernels on this kind of processor")
    try:
        from dpuflow.engines.openvino.part import OPENVINO, OPENVINO_SIGNED
    except ImportError as error:
        raise engine_unavailable("fast", f"OpenVINO cannot be imported ({error}; the extra 'openvino')") from None
    made = FastEngine(graph, threads, (OPENVINO, LITERT))
    if OPENVINO.name not in made.libraries:
        raise engine_unavailable("fast", "OpenVINO has exact kernels for none of the layers")
    try:  # CPUs with dot products take signed bytes
        self_test(graph, OPENVINO_SIGNED)
        return FastEngine(graph, threads, (OPENVINO_SIGNED, LITERT))
    except EngineError:
        self_test(graph, OPENVINO)
        return made

