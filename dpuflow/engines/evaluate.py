"""Run a float graph node by node, with a hook at every ``fix`` node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from dpuflow.errors import GraphError
from dpuflow.ir.graph import Array, Graph, Node
from dpuflow.ops import get_op

OnFix = Callable[[Node, Array], Array]


def last_uses(graph: Graph) -> dict[str, str]:
    """For every tensor that is read the last node that reads it."""
    return {name: node.name for node in graph.nodes for name in node.inputs}


def check_input(node: Node, value: Array) -> None:
    """GraphError when an array's shape does not fit an input node (any batch)."""
    if value.shape[1:] != node.shape[1:] or value.ndim != len(node.shape) or value.shape[0] < 1:
        raise GraphError("the input's shape does not fit", where=f"input '{node.name}'",
                         expected=("N", *node.shape[1:]), got=value.shape)


def evaluate(graph: Graph, inputs: Mapping[str, Array], wanted: Iterable[str] | None = None,
             on_fix: OnFix | None = None) -> dict[str, Array]:
    """Float32 values of ``wanted`` nodes (default: the outputs); others are freed when used up.

    ``inputs``: one NHWC array per input node. ``on_fix`` replaces what ``fix`` nodes compute.
    """
    kept = set(graph.outputs if wanted is None else wanted)
    last = last_uses(graph)
    values: dict[str, Array] = {}
    for node in graph.nodes:
        if node.op == "input":
            if node.name not in inputs:
                raise GraphError("no value for an input", where=f"input '{node.name}'")
            check_input(node, inputs[node.name])
            values[node.name] = inputs[node.name]
        elif node.data is not None:
            values[node.name] = node.data
        else:
            operands = [values[name] for name in node.inputs]
            if node.op == "fix" and on_fix is not None:
                values[node.name] = on_fix(node, operands[0])
            else:
                values[node.name] = get_op(node.op).float_(operands, node.attrs)
        for name in node.inputs:
            if last[name] == node.name and name not in kept:
                values.pop(name, None)
    return {name: values[name] for name in kept}
