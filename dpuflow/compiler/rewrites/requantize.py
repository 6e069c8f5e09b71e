"""A change of position without any other work -> a 1x1 max pool, which requantizes.

    y: int8@3 = concat(a: int8@4, b: int8@3)    ->    y/from0: int8@3 = max_pool(a) kernel=(1,1)
                                                      y = concat(y/from0, b)

Exact: a max pool rounds ``max * 2**(o - i)`` half up, as the concat does for each operand
(arithmetic specification, sections 6.1 and 7.3).
"""

from __future__ import annotations

from collections.abc import Sequence

from dpuflow.compiler.rewrites.base import Rewrite
from dpuflow.ir.graph import Fix, Graph, Node
from dpuflow.ops.movement import ReshapeAttrs
from dpuflow.ops.pool import PoolAttrs
from dpuflow.target.arch import Core


def requantized(name: str, label: str, x: Node, fix: Fix | None) -> list[Node]:
    """``x`` at another position: nodes whose last has the name and label."""
    shape = x.shape
    if len(shape) == 4:
        return [Node(name, "max_pool", (x.name,), PoolAttrs((1, 1)), fix=fix, label=label)]
    size = int(shape[-1]) if shape else 1
    rows = 1
    for length in shape[1:-1]:
        rows *= length
    as_map = Node(f"{name}/map", "reshape", (x.name,), ReshapeAttrs((rows, 1, size)), fix=x.fix)
    pool = Node(f"{name}/pool", "max_pool", (as_map.name,), PoolAttrs((1, 1)), fix=fix)
    return [as_map, pool, Node(name, "reshape", (pool.name,), ReshapeAttrs(shape[1:]), fix=fix, label=label)]


def align_concat(graph: Graph, node: Node, core: Core) -> Sequence[Node]:
    """A concat whose operands all have its position."""
    operands = graph.operands(node)
    if node.op != "concat" or any(operand.data is not None for operand in operands):
        return ()
    made: list[Node] = []
    names = []
    for index, operand in enumerate(operands):
        if operand.fix != node.fix:
            made += requantized(f"{node.name}/from{index}", f"{node.layer}/from{index}", operand, node.fix)
        names.append(operand.name if operand.fix == node.fix else made[-1].name)
    return [*made, node.replace(inputs=tuple(names))]


def requantize_moved(graph: Graph, node: Node, core: Core) -> Sequence[Node]:
    """A reshape or identity that keeps its position, behind a requantisation."""
    (x,) = graph.operands(node)
    if node.op not in ("reshape", "identity") or x.data is not None:
        return ()
    if node.op == "identity":
        return requantized(node.name, node.label, x, node.fix)
    made = requantized(f"{node.name}/requantized", f"{node.layer}/requantized", x, node.fix)
    return [*made, node.replace(inputs=(made[-1].name,))]


def requantize(graph: Graph, node: Node, core: Core) -> Sequence[Node]:
    """Whatever moves bytes between two positions."""
    return (align_concat if node.op == "concat" else requantize_moved)(graph, node, core)


REWRITE = Rewrite(requantize, frozenset({"limit_move_positions"}), "requantized by a 1x1 max pool")
