"""fix(concat(a, b)) -> concat(fix(a), fix(b)) for branches without a position of their own.

    c = concat(a, b)                a/fix = fix(a) pos=4
    y = fix(c) pos=4       ->       c = concat(a/fix, ...)
                                    y = fix(c) pos=4

Quantizers that write XIR round only the result of a concatenation; rounding is elementwise, so
its branches may be rounded instead, which is what the vendor's compiler does.
"""

from __future__ import annotations

from dpuflow.ir.graph import Graph, Node

_HAVE_NONE = ("fix", "const", "input", "concat")


def _wanted(graph: Graph) -> dict[str, Node]:
    """For every concatenation that a ``fix`` alone reads, directly or through another one: that ``fix``."""
    wanted: dict[str, Node] = {}
    for node in reversed(graph.nodes):
        if node.op != "concat" or node.name in graph.outputs or len(graph.users[node.name]) != 1:
            continue
        reader = graph.by_name[graph.users[node.name][0]]
        if reader.op == "fix":
            wanted[node.name] = reader
        elif reader.name in wanted:
            wanted[node.name] = wanted[reader.name]
    return wanted


def push_concat_fixes(graph: Graph) -> Graph:
    """Insert a ``fix`` behind each branch of a rounded concatenation that has none."""
    wanted, made = _wanted(graph), dict[str, str]()
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name in wanted:
            fix = wanted[node.name]
            for name in node.inputs:
                if graph.by_name[name].op not in _HAVE_NONE and name not in made and len(graph.users[name]) == 1:
                    made[name] = f"{name}/{fix.name.rsplit('/', 1)[-1]}"
                    source = graph.by_name[name]
                    nodes.append(fix.replace(name=made[name], inputs=(name,), shape=source.shape))
            node = node.replace(inputs=tuple(made.get(name, name) for name in node.inputs))
        nodes.append(node)
    return graph.replace(nodes)
