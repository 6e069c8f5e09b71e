"""The check mode: an engine whose bits are compared with the reference engine's on a sample of every run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dpuflow.engines.base import Engine
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.errors import EngineError
from dpuflow.ir.graph import Array


class CheckedEngine(Engine):
    """Runs ``engine``; so many images of every run, evenly spread, also run on the reference engine.

    EngineError naming the first layer that differs.
    """

    def __init__(self, engine: Engine, images: int) -> None:
        super().__init__(engine.graph)
        self.engine, self.images, self.name = engine, images, engine.name

    @property
    def description(self) -> str:
        """The engine's, and that it is checked."""
        return f"{self.engine.description}; up to {self.images} images of a run checked against the reference engine"

    def compute(self, values: dict[str, Array], wanted: tuple[str, ...]) -> Mapping[str, Array]:
        """The engine's results, once they are found to be the reference engine's."""
        given = dict(values)
        results = self.engine.compute(values, wanted)
        self._compare(given, {name: results[name] for name in wanted})
        return results

    def _compare(self, values: Mapping[str, Array], results: Mapping[str, Array]) -> None:
        names = [node.name for node in self.graph.inputs]
        at = sample(self.images, values[names[0]].shape[0])
        inputs = {name: values[name][at] for name in names}
        expected = ReferenceEngine(self.graph).run(inputs, tuple(results), int8=True)
        if all(same_bits(expected[name], value[at]) for name, value in results.items()):
            return
        raise EngineError("the engine's result differs from the reference engine's",
                          where=self._first_different(inputs), got=self.engine.description,
                          expected=f"equal bits on all of {len(at)} sampled image(s)",
                          remedy="use --engine reference, and report this CPU")

    def _first_different(self, inputs: dict[str, Array]) -> str:
        """The first layer in order whose values differ when all are asked for."""
        names = tuple(node.name for node in self.graph.nodes if node.data is None)
        expected = ReferenceEngine(self.graph).run(inputs, names, int8=True)
        got = self.engine.compute(dict(inputs), names)
        for name in names:
            if not same_bits(expected[name], got[name]):
                return f"layer '{self.graph.by_name[name].layer}' ({int(np.sum(expected[name] != got[name]))} values)"
        return "a run for fewer tensors only"


def sample(count: int, batch: int) -> list[int]:
    """At most ``count`` images of a batch, evenly spread, the first always among them.

    >>> sample(3, 9), sample(4, 2)
    ([0, 3, 6], [0, 1])
    """
    taken = min(count, batch)
    return [at * batch // taken for at in range(taken)]


def same_bits(expected: Array, got: Array) -> bool:
    """Equal in every bit, NaN to NaN."""
    return expected.dtype == got.dtype and bool(np.array_equal(expected, got, equal_nan=expected.dtype.kind == "f"))
