"""conv(x, w) with too many output channels -> several convolutions of the same input, side by side.

    y: 1x1x4096 = conv2d(x, w)    ->    y/part0: 1x1x2048 = conv2d(x, w[..., :2048])
                                        y/part1: 1x1x2048 = conv2d(x, w[..., 2048:])
                                        y = concat(y/part0, y/part1)

Exact: an output channel depends on its own weights alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dpuflow.compiler.rewrites.base import Rewrite, part_name
from dpuflow.ir.graph import Graph, Node, const
from dpuflow.ops.movement import ConcatAttrs
from dpuflow.target.arch import Core
from dpuflow.target.limits import most_output_channels


def _bounds(channels: int, core: Core) -> list[tuple[int, int]]:
    """Equal parts, each a whole number of the core's output lanes."""
    parts = math.ceil(channels / most_output_channels(core))
    lanes = core.output_channel_parallel
    step = math.ceil(math.ceil(channels / parts) / lanes) * lanes
    return [(at, min(at + step, channels)) for at in range(0, channels, step)]


def split_output_channels(graph: Graph, node: Node, core: Core) -> Sequence[Node]:
    """The parts of a plain convolution and their concat."""
    if node.op != "conv2d" or node.attrs.groups != 1:
        return ()
    made: list[Node] = []
    parts = []
    for index, (low, high) in enumerate(_bounds(node.shape[3], core)):
        operands = [node.inputs[0]]
        for constant in graph.operands(node)[1:]:
            assert constant.data is not None
            data = constant.data.reshape(-1) if constant.data.ndim < 4 else constant.data
            made.append(const(f"{constant.name}/{node.name}/part{index}", data[..., low:high], constant.fix))
            operands.append(made[-1].name)
        made.append(node.replace(**part_name(node, f"part{index}"), inputs=tuple(operands)))
        parts.append(made[-1].name)
    return [*made, node.replace(op="concat", inputs=tuple(parts), attrs=ConcatAttrs(3))]


REWRITE = Rewrite(split_output_channels, frozenset({"limit_output_channels"}),
                  "split over output channels and placed side by side")
