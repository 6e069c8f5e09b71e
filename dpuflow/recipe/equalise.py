"""Cross-layer equalisation: the channels between two layers scaled so that one position suits them all.

A channel's weights in the layer before are multiplied by s and in the layer after divided by s,
which changes nothing in float as long as all between is homogeneous: ReLU, leaky ReLU, pools,
padding with zeros (M. Nagel and others, 2019; the vendor's later tools have a plain form of it:
quantizer specification, section 6). Chains through depthwise layers converge over several passes.

ReLU6 is homogeneous below its limit only. A channel that reaches 6 on the calibration images
keeps s = 1; the others may grow until they just stay below 6. So the float network still computes
the same on those images, and the DPU's relu6 stays in the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from dpuflow.analysis.simulation import ALL
from dpuflow.formats.graphdef import TFGraph, TFNode
from dpuflow.ir.graph import Array
from dpuflow.quant.insert import Group
from dpuflow.recipe.draft import Draft

PASSES = 10
_HOMOGENEOUS = ("FixNeuron", "Relu", "MaxPool", "AvgPool", "Pad", "Mean", "Identity", "Squeeze", "LeakyRelu")
_FURTHEST = 256.0  # the largest scale and, inverted, the smallest
_SILENT = 1e-4  # channels that never exceed this share of the largest keep s = 1: nothing is known of them
_RELU6_LIMIT = 6.0
_RELU6_MARGIN = 0.97  # of the limit, for images that calibration did not see
_DEPTHWISE = ("DepthwiseConv2dNative", "DepthwiseConv2d")


@dataclass(frozen=True)
class Equalisation:
    """``activations``: how much the channels' own range counts against that of the weights before (0..1)."""

    activations: float = 0.0
    passes: int = PASSES


@dataclass(frozen=True)
class Link:
    """Two layers whose channels correspond: nothing but homogeneous single-reader nodes between them."""

    head: Group
    tail: Group
    relu6: str  # the Relu6 between them, or ''
    flattened: bool  # a map becomes a vector between them, channels fastest


def equalise(draft: Draft, images: Mapping[str, Array], settings: Equalisation = Equalisation()) -> Draft:
    """The draft with equalised float parameters; the images tell the ranges of the maps between layers."""
    links = tuple(find_links(draft))
    if not links:
        return draft
    tops = _channel_tops(draft, links, images)
    constants = {name: draft.constant(name).astype(np.float64) for link in links
                 for group in (link.head, link.tail) for name in (group.weights, group.biases) if name}
    scales: dict[str, Array] = {}
    for _ in repeat(None, settings.passes):
        for link in links:
            scale = _scale(draft.graph, link, constants, tops[link.head.last], settings)
            _apply(draft.graph, link, constants, scale)
            tops[link.head.last] = tops[link.head.last] * scale
            scales[link.head.last] = scales.get(link.head.last, np.float64(1)) * scale
    return draft.with_float({name: value.astype(np.float32) for name, value in constants.items()}, scales)


def find_links(draft: Draft) -> Iterator[Link]:
    """All pairs of layers that can share scales, in graph order."""
    graph = draft.graph
    heads = {group.last: group for group in draft.groups if _is_plain(graph, group)}
    for tail in draft.groups:
        if not _is_plain(graph, tail):
            continue
        found = _walk_back(graph, tail, heads)
        if found is not None and found.head.compute != tail.compute and _channels_fit(graph, found):
            yield found


def _is_plain(graph: TFGraph, group: Group) -> bool:
    """A convolution or dense layer whose parameters are constants of its own."""
    node = graph.node(group.compute)
    if node.op not in ("Conv2D", "MatMul", *_DEPTHWISE) or graph.node(group.weights).op != "Const":
        return False
    constants = tuple(name for name in (group.weights, group.biases) if name)
    if any(graph.node(name).op != "Const" for name in constants):
        return False
    names = (*constants, *(f"{name}/wquant" for name in constants))
    last = graph.node(group.last).op
    inner = last in ("Relu", "Relu6", "LeakyRelu", "BiasAdd", "Add", "AddV2", node.op)
    return inner and all(len(graph.users[name]) == 1 for name in names)


def _walk_back(graph: TFGraph, tail: Group, heads: Mapping[str, Group]) -> Link | None:
    node, flattened = graph.node(tail.input), False
    while True:
        if len(_readers(graph, node)) != 1:
            return None
        if node.name in heads:
            head = heads[node.name]
            if not _inside_single(graph, head):
                return None
            return Link(head, tail, node.name if node.op == "Relu6" else "", flattened)
        if node.op == "Mul" and _scalar_constant(graph, node):
            node = graph.node(node.operands[0])
        elif node.op in ("Reshape", "Flatten"):
            flattened = True
            node = graph.node(node.operands[0])
        elif node.op in _HOMOGENEOUS:
            node = graph.node(node.operands[0])
        else:
            return None


def _readers(graph: TFGraph, node: TFNode) -> tuple[str, ...]:
    """Who reads a node, or its FixNeuron."""
    readers = graph.users[node.name]
    if len(readers) == 1 and graph.node(readers[0]).op == "FixNeuron":
        readers = graph.users[readers[0]]
    return tuple(name for name in readers if graph.node(name).op != "Shape")


def _inside_single(graph: TFGraph, head: Group) -> bool:
    """Whether nobody else reads what lies between the head's compute node and its last."""
    node = graph.node(head.last)
    while node.name != head.compute:
        node = graph.node(node.operands[0])
        if len(graph.users[node.name]) != 1:
            return False
    return True


def _scalar_constant(graph: TFGraph, node: TFNode) -> bool:
    other = graph.node(node.operands[1])
    if other.op == "FixNeuron":
        other = graph.node(other.operands[0])
    return other.op == "Const" and other.tensor().size == 1


def _outputs(graph: TFGraph, group: Group) -> int:
    shape = graph.node(group.weights).tensor().shape
    count: int = shape[2] * shape[3] if graph.node(group.compute).op in _DEPTHWISE else shape[-1]
    return count


def _channels_fit(graph: TFGraph, link: Link) -> bool:
    channels = _outputs(graph, link.head)
    shape = graph.node(link.tail.weights).tensor().shape
    dense = graph.node(link.tail.compute).op == "MatMul"
    inputs = shape[0] if dense else shape[2]
    return inputs == channels or (dense and link.flattened and inputs % channels == 0)


def _by_output(graph: TFGraph, group: Group, weights: Array) -> Array:
    """Weights as (rows, output channels)."""
    return weights.reshape(-1, _outputs(graph, group))


def _by_input(graph: TFGraph, link: Link, weights: Array) -> Array:
    """Weights of the tail as (before, channels, after) around the head's channels."""
    channels = _outputs(graph, link.head)
    if graph.node(link.tail.compute).op == "MatMul":
        return weights.reshape(-1, channels, weights.shape[-1])
    return weights.reshape(-1, channels, weights.shape[3])


def _scale(graph: TFGraph, link: Link, constants: Mapping[str, Array], top: Array, settings: Equalisation) -> Array:
    before = np.abs(_by_output(graph, link.head, constants[link.head.weights])).max(axis=0)
    after = np.abs(_by_input(graph, link, constants[link.tail.weights])).max(axis=(0, 2))
    usable = (before > 0) & (after > 0) & (top > _SILENT * top.max())
    with np.errstate(divide="ignore", invalid="ignore"):
        head = (before / before.max()) ** (1 - settings.activations) * np.maximum(
            top / max(top.max(), 1e-30), _SILENT) ** settings.activations
        scale = np.where(usable, np.sqrt(after / after.max() / head), 1.0)
    clipped = (top >= _RELU6_LIMIT) if link.relu6 else np.zeros(top.shape, bool)
    # A common factor says nothing, a position takes it up; but channels that must stay as they are set it.
    scale /= np.exp(np.mean(np.log(scale[clipped] if clipped.any() else scale)))
    scale = np.clip(scale, 1 / _FURTHEST, _FURTHEST)
    if link.relu6:
        room = np.maximum(_RELU6_LIMIT * _RELU6_MARGIN / np.maximum(top, 1e-30), 1.0)
        scale = np.where(clipped, 1.0, np.minimum(scale, room))
    return scale


def _apply(graph: TFGraph, link: Link, constants: dict[str, Array], scale: Array) -> None:
    head, tail = link.head, link.tail
    weights = constants[head.weights]
    constants[head.weights] = (_by_output(graph, head, weights) * scale).reshape(weights.shape)
    if head.biases:
        bias = constants[head.biases]
        constants[head.biases] = (bias.reshape(-1) * scale).reshape(bias.shape)
    weights = constants[tail.weights]
    constants[tail.weights] = (_by_input(graph, link, weights) / scale[None, :, None]).reshape(weights.shape)


def _channel_tops(draft: Draft, links: tuple[Link, ...], images: Mapping[str, Array]) -> dict[str, Array]:
    """The largest magnitude of each channel after each head, on the images."""
    names = tuple(dict.fromkeys(link.head.last for link in links))
    simulation = draft.float_network
    fixes = {name: f"{name}/aquant" for name in names}
    results = simulation.run(images, tuple(fixes.values()), ALL)
    return {name: np.abs(results[fix]).max(axis=tuple(range(results[fix].ndim - 1))).astype(np.float64)
            for name, fix in fixes.items()}
