"""Compile a quantized network for a core."""

from __future__ import annotations

from dpuflow.compiler.compiled import Compiled
from dpuflow.compiler.partition import assign, kernels
from dpuflow.compiler.placement import place
from dpuflow.compiler.rewrites import fit
from dpuflow.errors import CompileError
from dpuflow.ir.graph import Graph
from dpuflow.model import Model
from dpuflow.passes import FOR_DPU, run_passes
from dpuflow.passes.as_if_quantized import as_if_quantized
from dpuflow.target.arch import Core
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


def layer_works(compiled: Compiled) -> tuple[LayerWork, ...]:
    """The work of every layer that a DPU engine computes, in order."""
    works = (place(compiled.graph, compiled.graph.by_name[name], compiled.core).work
             for kernel in compiled.dpu_kernels for name in kernel.nodes)
    return tuple(work for work in works if work is not None and not isinstance(work, MoveWork))


def quantized_form(model: Model) -> Graph:
    """A model's quantized graph; a float network is taken as if quantized: its weights do not matter here."""
    return model.graph if model.quantized else as_if_quantized(model.graph)
