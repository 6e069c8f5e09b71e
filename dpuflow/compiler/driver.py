"""Compile a quantized network for a core."""

from __future__ import annotations

import dataclasses

from dpuflow.compiler.compiled import Compiled, Kernel
from dpuflow.compiler.partition import assign, kernels
from dpuflow.compiler.placement import place_all
from dpuflow.compiler.rewrites import fit
from dpuflow.errors import CompileError
from dpuflow.ir.graph import Graph
from dpuflow.model import Model
from dpuflow.passes import FOR_DPU, run_passes
from dpuflow.passes.as_if_quantized import as_if_quantized
from dpuflow.target.arch import Core
from dpuflow.target.performance import BoardTiming, Estimate, estimate
from dpuflow.target.work import LayerWork, MoveWork


def compile_graph(graph: Graph, core: Core, name: str) -> Compiled:
    """Bring a quantized graph into the DPU's forms and split it into kernels.

    CompileError when not a single layer runs on the DPU; every layer that goes to the CPU is
    recorded with its reason.
    """
    compiled = distribute(graph, core, name)
    if not compiled.dpu_kernels:
        first = next(iter(compiled.reasons.items()), None)
        raise CompileError("no layer of the network can run on the DPU", where=name,
                           got=f"{first[0]}: {first[1]}" if first else "an empty network",
                           remedy="quantize the network first; `dpuflow inspect` lists every layer")
    return compiled


def distribute(graph: Graph, core: Core, name: str) -> Compiled:
    """The same, also for a network of which nothing runs on the DPU: what the inspector shows."""
    fitted = fit(run_passes(graph, FOR_DPU), core)
    placements = assign(fitted.graph, core)
    reasons = {p.node.name: p.reason for p in placements if p.device == "CPU"}
    return Compiled(name, fitted.graph, kernels(fitted.graph, placements, name), core, reasons, fitted.notes)


# What a convolution takes in behind it (performance specification, section 4: fusion).
_ABSORBABLE = ("depthwise_conv2d", "max_pool", "avg_pool", "add", "mul")


def absorptions(graph: Graph, kernel: Kernel) -> dict[str, str]:
    """For every node that a convolution of the same kernel absorbs, that convolution; each takes in one."""
    absorbed: dict[str, str] = {}
    for name in kernel.nodes:
        node = graph.by_name[name]
        producers = [x for x in node.inputs if graph.by_name[x].op == "conv2d" and x in kernel.nodes
                     and graph.users[x] == (name,) and x not in graph.outputs]
        if node.op in _ABSORBABLE and producers:
            absorbed[name] = max(producers, key=kernel.nodes.index)
    return absorbed


def layer_works(compiled: Compiled) -> tuple[LayerWork, ...]:
    """The work of every layer that a DPU engine computes, in order."""
    placements = {p.node.name: p for p in place_all(compiled.graph, compiled.core)}
    works: list[LayerWork] = []
    for kernel in compiled.dpu_kernels:
        absorbed = absorptions(compiled.graph, kernel)
        for name in kernel.nodes:
            work, by = placements[name].work, absorbed.get(name)
            if work is not None and not isinstance(work, MoveWork):
                works.append(dataclasses.replace(work, absorbed_by=compiled.graph.by_name[by].layer if by else ""))
    return tuple(works)


def estimate_compiled(compiled: Compiled, clock_mhz: float | None = None,
                      board: BoardTiming | None = None) -> Estimate:
    """The predicted time of the DPU's layers; CPU layers are not counted."""
    return estimate(layer_works(compiled), compiled.core, clock_mhz, board)


def quantized_form(model: Model) -> Graph:
    """A model's quantized graph; a float network is taken as if quantized: its weights do not matter here."""
    return model.graph if model.quantized else as_if_quantized(model.graph)


def estimate_network(model: Model, core: Core, clock_mhz: float | None = None) -> Estimate:
    """The predicted time of a model file; a float network is taken as if quantized."""
    return estimate_compiled(compile_graph(quantized_form(model), core, model.graph.name), clock_mhz)
