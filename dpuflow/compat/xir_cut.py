"""A subgraph of the stand-in ``xir`` as a network of its own, for the runner."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from dpuflow.compat.xir_graph import Subgraph, Tensor
from dpuflow.formats.xir import XGraph, XOp, XSubgraph, XValue


def cut(subgraph: Subgraph) -> tuple[XGraph, list[Tensor], list[Tensor]]:
    """A subgraph as a graph of its own, with its input and output tensors in the runner's order.

    What it reads from outside becomes an input of that name; constants come along.
    """
    graph = subgraph._graph._graph
    inside = {op.get_name() for op in subgraph.toposort()}
    outside = {name for name in inside for names in graph.by_name[name].args.values() for name in names} - inside
    constants = {name for name in outside if graph.by_name[name].type in ("const", "const-fix")}
    ops = tuple(_as_input(op) if op.name in outside - constants else op
                for op in graph.ops if op.name in inside | outside)
    outputs = _sorted(subgraph.get_output_tensors())
    names = tuple(tensor.producer.get_name() for tensor in outputs)
    root = XSubgraph("root", children=(replace(subgraph._subgraph),)) if not subgraph.is_root else graph.root
    made = XGraph(subgraph.get_name(), ops, root, {"return_ops": XValue("string_vec", names)})
    return made, [t for t in _sorted(subgraph.get_input_tensors())
                  if t.producer.get_name() not in constants], outputs


def _as_input(op: XOp) -> XOp:
    kind = "data-fix" if op.tensor.data_type == "XINT" else "data"
    return op if op.type == kind else XOp(op.name, kind, {}, op.attrs, op.tensor)


def _sorted(tensors: Iterable[Tensor]) -> list[Tensor]:
    return sorted(tensors, key=lambda tensor: tensor.name)
