"""Which tensor of one network is which of another: by name, by the vendor's layer name, by order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dpuflow.ir.graph import Graph, Node
from dpuflow.passes.mean_to_pool import MAP_SUFFIX

_SUFFIXES = ("_fix", MAP_SUFFIX, "_download_0", "/aquant")


def plain_name(name: str) -> str:
    """A name as compilers write it, without what conversions put behind it."""
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name.replace("/", "_").replace(":0", "")


_KEYS: tuple[Callable[[Node], str], ...] = (
    lambda node: node.name, lambda node: node.layer, lambda node: plain_name(node.name),
    lambda node: plain_name(node.layer))


def _computed(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.data is None]


def has_parameters(graph: Graph, node: Node) -> bool:
    """Whether a node reads a constant of more than one value."""
    return any(operand.data is not None and operand.data.size > 1 for operand in graph.operands(node))


def _by_keys(a: list[Node], b: list[Node], pairs: dict[str, str]) -> None:
    for key in _KEYS:
        taken = set(pairs.values())
        free: dict[str, list[Node]] = {}
        for node in b:
            if node.name not in taken:
                free.setdefault(key(node), []).append(node)
        for node in a:
            if node.name not in pairs and len(free.get(key(node), ())) == 1:
                pairs[node.name] = free.pop(key(node))[0].name


def _by_order(a: list[Node], b: list[Node], pairs: dict[str, str]) -> None:
    """What no name joins, if as many are left on both sides."""
    taken = set(pairs.values())
    left = [node for node in a if node.name not in pairs]
    right = [node for node in b if node.name not in taken]
    if len(left) == len(right):
        pairs |= {first.name: second.name for first, second in zip(left, right, strict=True)}


def tensor_pairs(a: Graph, b: Graph) -> dict[str, str]:
    """For tensors of ``a`` the same ones of ``b``; inputs and outputs also by order."""
    pairs: dict[str, str] = {}
    _by_order(list(a.inputs), list(b.inputs), pairs)
    _by_keys(_computed(a), _computed(b), pairs)
    _by_order([a.node(name) for name in a.outputs], [b.node(name) for name in b.outputs], pairs)
    return {node.name: pairs[node.name] for node in a.nodes if node.name in pairs}


def layer_pairs(a: Graph, b: Graph) -> dict[str, str]:
    """For layers with parameters of ``a`` the same ones of ``b``; by order where no name joins them."""
    first, second = ([node for node in _computed(graph) if has_parameters(graph, node)] for graph in (a, b))
    pairs: dict[str, str] = {}
    _by_keys(first, second, pairs)
    _by_order(first, second, pairs)
    return {node.name: pairs[node.name] for node in first if node.name in pairs}


def unmatched(graph: Graph, matched: set[str]) -> Iterator[str]:
    """Computed nodes that have no partner; the 4-D form of a tensor that has one is not another tensor."""
    for node in _computed(graph):
        flat = node.name.removesuffix(MAP_SUFFIX)
        if node.name not in matched and (flat == node.name or flat not in matched):
            yield node.name
