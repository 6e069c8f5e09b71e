"""A 1x1 convolution of one pixel with too many channels -> the channels as columns of a map.

    y = conv2d(x: 1x1x4096, w: 1x1x4096xO)    ->    x/columns: 1x2x2048 = reshape(x)
                                                    y = conv2d(x/columns, w: 1x2x2048xO)

Exact: the same products in the same sum. This is how a large dense layer fits a small core.
"""

from __future__ import annotations

from collections.abc import Sequence

from dpuflow.compiler.rewrites.base import Rewrite
from dpuflow.ir.graph import Graph, Node, const
from dpuflow.ops.movement import ReshapeAttrs
from dpuflow.target.arch import Core
from dpuflow.target.limits import most_input_channels


def _columns(channels: int, core: Core) -> int:
    """The fewest columns over which the channels divide into few enough; 0 if there are none."""
    most = most_input_channels(core)
    return next((k for k in range(2, core.conv_kernel[1] + 1) if channels % k == 0 and channels // k <= most), 0)


def channels_to_columns(graph: Graph, node: Node, core: Core) -> Sequence[Node]:
    """The reshape of the input and the convolution whose kernel covers the row."""
    if node.op != "conv2d" or node.attrs.groups != 1 or any(node.attrs.padding):
        return ()
    x, weights = graph.operands(node)[:2]
    columns = _columns(x.shape[3], core)
    if x.shape[1:3] != (1, 1) or not columns or weights.data is None:
        return ()
    size = (1, columns, x.shape[3] // columns)
    row = Node(f"{node.name}/columns", "reshape", (x.name,), ReshapeAttrs(size), fix=x.fix)
    kernel = const(f"{weights.name}/{node.name}/columns", weights.data.reshape(*size, weights.shape[3]), weights.fix)
    return [row, kernel, node.replace(inputs=(row.name, kernel.name, *node.inputs[2:]))]


REWRITE = Rewrite(channels_to_columns, frozenset({"limit_dilation"}),
                  "its input channels read as columns of a map")
