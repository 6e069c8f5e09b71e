"""The check mode: an engine's bits against the reference engine's, on a sample of the inputs it is given."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dpuflow.engines.base import Engine
from dpuflow.errors import EngineError
from dpuflow.ir.graph import Array


def sample(count: int, batch: int) -> list[int]:
    """At most ``count`` images of a batch, evenly spread, the first always among them.

    >>> sample(3, 9), sample(4, 2)
    ([0, 3, 6], [0, 1])
    """
    taken = min(count, batch)
    return [at * batch // taken for at in range(taken)]


def check_run(engine: Engine, values: Mapping[str, Array], results: Mapping[str, Array], count: int) -> None:
    """Compare the results of a run on a sample of its inputs; EngineError naming the first layer that differs.

    ``values``: the inputs as the network holds them, ``results``: what the engine made of them.
    """
    from dpuflow.engines.reference import ReferenceEngine

    names = [node.name for node in engine.graph.inputs]
    at = sample(count, values[names[0]].shape[0])
    inputs = {name: values[name][at] for name in names}
    made = ReferenceEngine(engine.graph).run(inputs, tuple(results), int8=True)
    if all(_same(made[name], value[at]) for name, value in results.items()):
        return
    raise EngineError("the engine's result differs from the reference engine's", where=_first_different(engine, inputs),
                      got=engine.description, expected=f"equal bits on all of {len(at)} sampled image(s)",
                      remedy="use --engine reference, and report this CPU")


def _same(expected: Array, got: Array) -> bool:
    return expected.dtype == got.dtype and bool(np.array_equal(expected, got, equal_nan=expected.dtype.kind == "f"))


def _first_different(engine: Engine, inputs: dict[str, Array]) -> str:
    """The first layer in order whose values differ when all are asked for."""
    from dpuflow.engines.reference import ReferenceEngine

    names = tuple(node.name for node in engine.graph.nodes if node.data is None)
    expected = ReferenceEngine(engine.graph).run(inputs, names, int8=True)
    got = engine.compute(dict(inputs), names)
    for name in names:
        if not _same(expected[name], got[name]):
            return f"layer '{engine.graph.by_name[name].layer}' ({int(np.sum(expected[name] != got[name]))} values)"
    return "a run for fewer tensors only"
