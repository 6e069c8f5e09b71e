"""avg_pool beyond the pool engine -> depthwise convolution with the average's factor as weight.

    y = avg_pool(x) kernel=(14,14)    ->    y = depthwise_conv2d(x, 21 @ 12) kernel 14 x 14

Exact: both are half_up(sum * N / 2**M * 2**(o - i)) with one rounding (arithmetic specification,
sections 3 and 6.2); padding counts as zeros in both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dpuflow.compiler.rewrites.base import Rewrite
from dpuflow.ir.graph import Fix, Graph, Node, const
from dpuflow.ops.conv import ConvAttrs
from dpuflow.ops.pool import average_factor
from dpuflow.target.arch import Core


def _int8_factor(kernel: tuple[int, int]) -> tuple[int, int]:
    """N and M with N odd or one, so that it fits 8 bits."""
    n, m = average_factor(kernel)
    while n % 2 == 0 and m > 0:
        n, m = n // 2, m - 1
    return n, m


def average_to_depthwise(graph: Graph, node: Node, core: Core) -> Sequence[Node]:
    """The depthwise form of an average pool."""
    n, m = _int8_factor(node.attrs.kernel) if node.op == "avg_pool" else (0, 0)
    if not 0 < n <= 127:
        return ()
    channels = graph.by_name[node.inputs[0]].shape[3]
    weights = const(f"{node.name}/factor", np.full((*node.attrs.kernel, channels, 1), n, np.int8), Fix(m))
    attrs = ConvAttrs(node.attrs.stride, node.attrs.padding)
    return [weights, node.replace(op="depthwise_conv2d", inputs=(node.inputs[0], weights.name), attrs=attrs)]


REWRITE = Rewrite(average_to_depthwise, frozenset({"limit_pool_kernel", "limit_pool_stride", "limit_average_pool"}),
                  "computed as a depthwise convolution with the average's factor as weight")
