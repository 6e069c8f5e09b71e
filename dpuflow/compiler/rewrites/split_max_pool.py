"""max_pool with a large kernel -> max pools one behind the other, the stride in the last.

    y = max_pool(x) kernel=(13,13)    ->    y/stage0 = max_pool(x) kernel=(8,8) stride=(1,1)
                                            y = max_pool(y/stage0) kernel=(6,6)

Exact: the maximum of maxima; padding never wins, and no stage has a window of padding alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from dpuflow.compiler.rewrites.base import Rewrite, part_name
from dpuflow.ir.graph import Graph, Node
from dpuflow.ops.base import Padding
from dpuflow.ops.pool import PoolAttrs
from dpuflow.target.arch import Core


def _kernels(kernel: int, most: int, stages: int) -> list[int]:
    """Kernels of stages that together reach as far as ``kernel``."""
    made = []
    for _ in range(stages):
        made.append(min(kernel, most))
        kernel -= made[-1] - 1
    return made


def _pads(pad: int, kernels: list[int]) -> list[int]:
    """Padding shared out so that each stage has less than its kernel."""
    made = []
    for kernel in kernels:
        made.append(min(pad, kernel - 1))
        pad -= made[-1]
    return made


def split_max_pool(graph: Graph, node: Node, core: Core) -> Sequence[Node]:
    """The stages of a max pool whose kernel is beyond the engine's."""
    most = core.max_pool_kernel[1]
    if node.op != "max_pool" or max(node.attrs.kernel) <= most or most < 2:
        return ()
    stages = max(-(-(size - 1) // (most - 1)) for size in node.attrs.kernel)
    high, wide = (_kernels(size, most, stages) for size in node.attrs.kernel)
    top, bottom, left, right = (_pads(pad, kernels) for pad, kernels in
                                zip(node.attrs.padding, (high, high, wide, wide), strict=True))
    made: list[Node] = []
    x = graph.by_name[node.inputs[0]]
    for index in range(stages):
        last = index == stages - 1
        attrs = PoolAttrs((high[index], wide[index]), node.attrs.stride if last else (1, 1),
                          Padding(top[index], bottom[index], left[index], right[index]))
        named = {} if last else {**part_name(node, f"stage{index}"), "fix": x.fix}
        made.append(node.replace(**named, inputs=(made[-1].name if made else x.name,), attrs=attrs))
    return made


REWRITE = Rewrite(split_max_pool, frozenset({"limit_pool_kernel", "limit_pool_padding"}),
                  "split into smaller max pools one behind the other")
