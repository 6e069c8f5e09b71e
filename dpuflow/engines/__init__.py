"""Engines run a network on this host; every one of them has the same interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dpuflow.engines.base import Engine, engine_unavailable
from dpuflow.errors import ConfigError
from dpuflow.ir.graph import Graph
from dpuflow.ops.custom import CustomFunction, check_functions

if TYPE_CHECKING:
    from dpuflow.target.arch import Core


def _reference(graph: Graph, core: Core | None, threads: int | None) -> Engine:
    from dpuflow.engines.reference import ReferenceEngine

    return ReferenceEngine(graph)


def _fast(graph: Graph, core: Core | None, threads: int | None) -> Engine:
    try:
        from dpuflow.engines.tuning import TunedEngine
    except ImportError as error:
        raise engine_unavailable("fast", f"LiteRT cannot be imported ({error})") from None
    return TunedEngine(graph, threads)


def _program(graph: Graph, core: Core | None, threads: int | None) -> Engine:
    from dpuflow.engines.program import ProgramEngine
    from dpuflow.target.select import find_target

    return ProgramEngine(graph, core or find_target("zedboard"))


# Imported on use: the fast engine's library is only loaded when it is asked for.
ENGINES: dict[str, Callable[[Graph, Core | None, int | None], Engine]] = {
    "reference": _reference, "fast": _fast, "program": _program,
}


BIAS_MODES = ("exact", "prerounded")


def open_engine(model: Graph | Path | str, engine: str = "fast",
                custom: Mapping[str, CustomFunction] | None = None, core: Core | None = None,
                bias_mode: str = "exact", check: int = 0, threads: int | None = None) -> Engine:
    """An engine for a quantized network, given as a graph or as a file of one.

    ``custom``: Python functions for a file's custom operators, by type. EngineError naming an
    operator that has none. ``core``: what the engine "program" compiles for (default: ZedBoard).
    ``bias_mode``: "exact" keeps the bits of a bias that is finer than the accumulator, as the simulated
    graph does; "prerounded" rounds them away first, as the DNNDK compiler does (arithmetic specification,
    section 4). Networks read from a DNNDK file are prerounded already. ``check``: so many images of every
    run are computed by the reference engine as well, and a difference is an EngineError naming the layer.
    ``threads``: for the engine "fast", which takes all cores up to 8 without it.
    """
    if engine not in ENGINES:
        raise ConfigError("no such engine", where="--engine", got=engine, expected=" or ".join(ENGINES))
    _check_threads(engine, threads)
    if not isinstance(model, Graph):
        from dpuflow.model import load, quantized_graph

        model = quantized_graph(load(model, custom))
    check_functions(model)
    if bias_mode not in BIAS_MODES:
        raise ConfigError("no such bias mode", where="--bias-mode", got=bias_mode, expected=" or ".join(BIAS_MODES))
    if bias_mode == "prerounded":
        from dpuflow.passes.preround_biases import preround_biases

        model = preround_biases(model)
    made = ENGINES[engine](model, core, threads)
    if not check or engine == "reference":
        return made
    from dpuflow.engines.check import CheckedEngine

    return CheckedEngine(made, check)


def _check_threads(engine: str, threads: int | None) -> None:
    if threads is None:
        return
    if threads < 1:
        raise ConfigError("not a number of threads", where="--threads", got=threads, expected="1 or more")
    if engine != "fast":
        raise ConfigError("this engine has one thread", where="--threads", got=f"--engine {engine}",
                          remedy="leave --threads out, or use --engine fast")


__all__ = ["BIAS_MODES", "ENGINES", "Engine", "open_engine"]
