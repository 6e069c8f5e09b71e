"""An activation on its own -> a 1x1 convolution that passes every channel on, with that nonlinearity.

    y = relu6(x)    ->    y = depthwise_conv2d(x, 1 @ 0) nonlinear=relu6

On a core without a depthwise unit a plain convolution with the identity as weights does the same.
Exact: acc = x * 2**k at position i + k, then the one rounding (arithmetic specification, sections
3 and 5).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dpuflow.compiler.rewrites.base import Rewrite
from dpuflow.ir.graph import Fix, Graph, Node, const
from dpuflow.ops.activation import LEAKY_FACTOR, LEAKY_SHIFT
from dpuflow.ops.conv import ConvAttrs
from dpuflow.target.arch import Core

_SLOPE_TOLERANCE = 1e-5  # of the DPU's leaky slope (arithmetic specification, section 5)
_LARGEST_POWER = 6  # 2**6 is the largest power of two in int8
_MOST_CHANNELS = 1024  # of an identity matrix: 1 MB of weights


def _power(graph: Graph, node: Node) -> int:
    """k, the least for which shift_cut = i + k - o is not negative."""
    x = graph.by_name[node.inputs[0]]
    assert node.fix and x.fix
    return max(0, node.fix.pos - x.fix.pos)


def _usable(graph: Graph, node: Node) -> bool:
    x = graph.by_name[node.inputs[0]]
    if node.op == "leaky_relu" and abs(node.attrs.alpha - LEAKY_FACTOR / (1 << LEAKY_SHIFT)) > _SLOPE_TOLERANCE:
        return False
    return (node.op in ("relu", "relu6", "leaky_relu") and len(x.shape) == 4 and x.data is None
            and _power(graph, node) <= _LARGEST_POWER)


def activation_to_depthwise(graph: Graph, node: Node, core: Core) -> Sequence[Node]:
    """One weight per channel."""
    if not _usable(graph, node):
        return ()
    power, channels = _power(graph, node), node.shape[3]
    weights = const(f"{node.name}/one", np.full((1, 1, channels, 1), 2**power, np.int8), Fix(power))
    return [weights, node.replace(op="depthwise_conv2d", inputs=(node.inputs[0], weights.name),
                                  attrs=ConvAttrs(nonlinear=node.op))]


def activation_to_conv(graph: Graph, node: Node, core: Core) -> Sequence[Node]:
    """The identity matrix as weights."""
    if not _usable(graph, node) or node.shape[3] > _MOST_CHANNELS:
        return ()
    power, channels = _power(graph, node), node.shape[3]
    identity = (np.eye(channels, dtype=np.int8) * np.int8(2**power)).reshape(1, 1, channels, channels)
    weights = const(f"{node.name}/one", identity, Fix(power))
    return [weights, node.replace(op="conv2d", inputs=(node.inputs[0], weights.name),
                                  attrs=ConvAttrs(nonlinear=node.op))]


_LIMITS = frozenset({"limit_activation"})
DEPTHWISE = Rewrite(activation_to_depthwise, _LIMITS, "computed as a 1x1 depthwise convolution with weight one")
PLAIN = Rewrite(activation_to_conv, _LIMITS, "computed as a 1x1 convolution with the identity as weights")
