"""Prove on this very CPU that the fast kernels are exact, before anybody relies on them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from dpuflow.engines import proofs
from dpuflow.engines.base import engine_unavailable
from dpuflow.engines.fast import FastEngine
from dpuflow.engines.litert.part import LITERT
from dpuflow.engines.parts import Library
from dpuflow.engines.probes import cases, kinds
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.ir.graph import Array, Graph

_LOCK = threading.Lock()
_ALWAYS = "always"  # stands for the probes that every network needs
_passed: dict[str, set[str]] = {}  # by library: the kinds of layers found exact


def first_difference(graph: Graph, x: Array | Mapping[str, Array], library: Library = LITERT) -> str | None:
    """The first tensor on which a library's kernels and the reference engine differ, or None."""
    names = graph.outputs
    expected = ReferenceEngine(graph).run(x, names, int8=True)
    got = FastEngine(graph, threads=2, libraries=(library,)).run(x, names, int8=True)
    for name in names:
        if not np.array_equal(expected[name], got[name]):
            wrong = int((expected[name] != got[name]).sum())
            return f"{graph.name}: {wrong} of {expected[name].size} values of '{name}' differ"
    return None


def failures(wanted: Iterable[str] = (), library: Library = LITERT) -> Iterator[str]:
    """What a library gets wrong on this CPU, layers of further ``kinds`` too, one after another."""
    for graph, x in cases(wanted, library.bytes_apart):
        if found := first_difference(graph, x, library):
            yield found


def self_test(graph: Graph, library: Library = LITERT) -> None:
    """Once per CPU and kind of layer; EngineError naming the first difference if the kernels are not exact."""
    wanted = kinds(graph) | {_ALWAYS}
    with _LOCK:
        if library.name not in _passed:
            _passed[library.name] = proofs.known(library.name, library.package)
        passed = _passed[library.name]
        if wanted <= passed:
            return
        found = next(iter(failures(wanted - passed - {_ALWAYS}, library)), None)
        if found:
            raise engine_unavailable("fast", f"{library.name}: int8 kernels are not exact on this CPU: {found}")
        passed |= wanted
        proofs.keep(library.name, library.package, passed)
