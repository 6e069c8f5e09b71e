"""A model in another file format, where that one can express it; what it cannot is refused by name."""

from __future__ import annotations

from pathlib import Path

from dpuflow.errors import ConfigError
from dpuflow.formats.graphdef import write_graphdef
from dpuflow.formats.xir import write_xmodel
from dpuflow.ir.graph import Graph

# What can be written -> suffix.
FORMS = {"quantized": ".xmodel", "compiled": ".xmodel", "deploy": ".pb", "evaluation": ".pb"}


def form_of(path: Path, form: str | None, target: str | None) -> str:
    """The form that is meant: the stated one, else by suffix and target; ConfigError if they do not fit."""
    suffix = path.suffix.lower()
    chosen = form or {".pb": "deploy", ".xmodel": "compiled" if target else "quantized"}.get(suffix, "")
    if FORMS.get(chosen) != suffix:
        raise ConfigError("that form has another suffix" if form else "not a file that can be written", where=path,
                          expected=FORMS[chosen] if form else " or ".join(sorted(set(FORMS.values()))), got=suffix)
    if chosen == "compiled" and target is None:
        raise ConfigError("a compiled file is made for one core", where=path, remedy="name it with --target")
    return chosen


def convert_graph(graph: Graph, path: Path, form: str, target: str | None = None) -> None:
    """Write a quantized network in a form; CompileError or UnsupportedOp naming what it cannot express."""
    if form == "compiled":
        from dpuflow.compiler.driver import compile_graph
        from dpuflow.compiler.xmodel import to_xir
        from dpuflow.target.select import find_target

        write_xmodel(to_xir(compile_graph(graph, find_target(target or ""), graph.name)), path)
    elif form == "quantized":
        from dpuflow.compiler.quantized_xmodel import to_quantized_xir

        write_xmodel(to_quantized_xir(graph), path)
    else:
        _write_graphdef(graph, path, form)


def _write_graphdef(graph: Graph, path: Path, form: str) -> None:
    from dpuflow.formats.tf_export import to_evaluation_graph
    from dpuflow.quant.config import QuantizeConfig
    from dpuflow.quant.deploy import deploy_graph

    made = to_evaluation_graph(graph)
    if form == "deploy":
        config = QuantizeConfig(tuple(node.name for node in graph.inputs), graph.outputs,
                                tuple(node.shape for node in graph.inputs))
        made = deploy_graph(made, config)
    write_graphdef(made, path)
