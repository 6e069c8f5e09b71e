"""Which layers run as one: a convolution takes in the layer behind it (performance specification, section 4).

The map in between never leaves the chip.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from dpuflow.compiler.compiled import Kernel
from dpuflow.errors import CompileError
from dpuflow.ir.graph import Graph, Node
from dpuflow.program.instructions import MOST_OPERANDS
from dpuflow.program.maps import POINTWISE, Map, Window, map_of

ABSORBABLE = ("depthwise_conv2d", "max_pool", "avg_pool", "add", "mul")
PLACED = ("reshape", "identity", "concat")  # layers that only place bytes
ELTWISE = ("add", "mul")
_OPERATION: Mapping[str, str] = {
    "conv2d": "conv", "transposed_conv2d": "conv", "depthwise_conv2d": "dwconv", "max_pool": "max_pool",
    "avg_pool": "avg_pool", "add": "add", "mul": "mul", "resize_nearest": "upsample",
}


@dataclass(frozen=True)
class Stage:
    """What one engine does of a node: the instruction's operation, the maps it reads and makes."""

    node: Node
    op: str
    input: Map
    output: Map
    window: Window
    operands: tuple[str, ...]

    @property
    def channelwise(self) -> bool:
        """Whether every output channel depends on its own input channel only."""
        return self.op != "conv"


@dataclass(frozen=True)
class Step:
    """Layers that run as one, in order: one, or a convolution and what it takes in.

    ``inputs`` are the maps that the first stage reads, ``others`` those that the second reads beside the
    first one's result.
    """

    stages: tuple[Stage, ...]
    inputs: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def name(self) -> str:
        """The map that it makes."""
        return self.stages[-1].node.name

    @property
    def first(self) -> Stage:
        """The stage that reads the inputs."""
        return self.stages[0]

    @property
    def last(self) -> Stage:
        """The stage that makes the result."""
        return self.stages[-1]

    @property
    def reads(self) -> tuple[str, ...]:
        """Every map that comes from outside."""
        return tuple(dict.fromkeys((*self.inputs, *self.others)))


def _window(graph: Graph, node: Node) -> Window:
    attrs = node.attrs
    if node.op in ("conv2d", "depthwise_conv2d"):
        kernel = graph.by_name[node.inputs[1]].shape[:2]
        return Window((kernel[0], kernel[1]), attrs.stride, attrs.dilation, tuple(attrs.padding))
    if node.op == "transposed_conv2d":
        kernel = graph.by_name[node.inputs[1]].shape[:2]
        return Window((kernel[0], kernel[1]), attrs.stride, (1, 1), tuple(attrs.padding), transposed=True)
    if node.op in ("max_pool", "avg_pool"):
        return Window(attrs.kernel, attrs.stride, (1, 1), tuple(attrs.padding))
    if node.op == "resize_nearest":
        source = map_of(graph.by_name[node.inputs[0]].shape)
        return Window(stride=(node.shape[1] // source[0], node.shape[2] // source[1]), repeat=True)
    return POINTWISE


def _stage(graph: Graph, node: Node) -> Stage:
    if node.op not in _OPERATION:
        raise CompileError(f"the schedule has no {node.op}", where=f"node '{node.name}'",
                           remedy="use --engine reference or fast, which run it")
    operands = tuple(name for name in node.inputs if graph.by_name[name].data is None)
    if len(operands) > MOST_OPERANDS:
        raise CompileError("the schedule adds at most four maps at once", where=f"node '{node.name}'",
                           got=len(operands), remedy="add them in two layers")
    return Stage(node, _OPERATION[node.op], map_of(graph.by_name[operands[0]].shape), map_of(node.shape),
                 _window(graph, node), operands)


def absorptions(graph: Graph, nodes: Iterable[str], keep: Collection[str] = ()) -> dict[str, str]:
    """For every node that a convolution of the same kernel takes in, that convolution; each takes in one.

    ``keep``: maps that must be seen from outside, and so cannot stay between two engines.
    """
    order, taken = {name: at for at, name in enumerate(nodes)}, dict[str, str]()
    for name in order:
        node = graph.by_name[name]
        if node.op not in ABSORBABLE:
            continue
        makers = [x for x in node.inputs if graph.by_name[x].op == "conv2d" and x in order and x not in keep
                  and graph.users[x] == (name,) and x not in graph.outputs and node.inputs.count(x) == 1]
        if makers:
            taken[name] = max(makers, key=order.__getitem__)
    return taken


def steps_of(graph: Graph, kernel: Kernel, keep: Collection[str] = (), fuse: bool = True) -> tuple[Step, ...]:
    """A kernel's steps in order; layers that only place bytes are steps of no stage's own and left out."""
    taken = absorptions(graph, kernel.nodes, keep) if fuse else {}
    made = []
    for name in kernel.nodes:
        node = graph.by_name[name]
        if node.op in PLACED or name in taken.values():
            continue
        stage = _stage(graph, node)
        if name in taken:
            first = _stage(graph, graph.by_name[taken[name]])
            others = tuple(operand for operand in stage.operands if operand != taken[name])
            made.append(Step((first, stage), first.operands, others))
        else:
            made.append(Step((stage,), stage.operands, ()))
    return tuple(made)
