"""What differs between two networks, as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.compare.match import layer_pairs, tensor_pairs, unmatched
from dpuflow.engines.evaluate import evaluate
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.ir.graph import Array, Fix, Graph, Node

_MOVES = ("reshape", "identity")  # the compiler adds and drops these; they compute nothing


@dataclass(frozen=True)
class TensorDifference:
    """A tensor or parameter that differs: how many values, the largest difference in real units."""

    name: str
    other: str
    values: int
    different: int
    largest: float
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """Everything that differs; empty fields differ in nothing. ``bits`` is None if nothing was run."""

    first: str
    second: str
    kinds: tuple[str, str] = ("", "")
    cores: tuple[str, ...] = ()
    only_first: tuple[str, ...] = ()
    only_second: tuple[str, ...] = ()
    structure: tuple[str, ...] = ()
    positions: tuple[str, ...] = ()
    parameters: tuple[TensorDifference, ...] = ()
    compared_parameters: int = 0
    bits: tuple[TensorDifference, ...] | None = None
    compared_tensors: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def equal(self) -> bool:
        """Whether nothing differs that could change a result."""
        return not (self.only_first or self.only_second or self.structure or self.positions or self.parameters
                    or self.bits)


def _attributes(node: Node) -> dict[str, Any]:
    return {item.name: getattr(node.attrs, item.name) for item in dataclasses.fields(node.attrs)}


def _structure(a: Node, b: Node) -> str:
    if int(np.prod(a.shape)) != int(np.prod(b.shape)):
        return f"{a.name}: shape {a.shape} against {b.shape}"
    if a.op == b.op and type(a.attrs) is type(b.attrs):
        mine, other = _attributes(a), _attributes(b)
        differing = [f"{key} {mine[key]} against {other[key]}" for key in mine
                     if mine[key] != other[key] and key not in ("function", "shape", "values")]
        if differing:
            return f"{a.name} ({a.op}): {', '.join(differing)}"
    return ""


def _real(data: Array, fix: Fix | None) -> Array:
    return fixed.dequantize(data, fix.pos) if fix else np.asarray(data)


def compare_values(name: str, other: str, a: tuple[Array, Fix | None],
                   b: tuple[Array, Fix | None]) -> TensorDifference | None:
    """The difference of two tensors in real units, or None; shapes may differ where sizes agree."""
    first, second = _real(*a), _real(*b)
    if first.size != second.size:
        return TensorDifference(name, other, first.size, first.size, float("inf"), f"{first.shape} and {second.shape}")
    gaps = np.abs(first.reshape(-1).astype(np.float64) - second.reshape(-1).astype(np.float64))
    count = int(np.count_nonzero(gaps > 0))
    return TensorDifference(name, other, first.size, count, float(gaps.max())) if count else None


def _constants(graph: Graph, node: Node) -> list[Node]:
    return [operand for operand in graph.operands(node) if operand.data is not None]


def _flat(data: Array, node: Node) -> Array:
    """Weights with outputs last and everything else as one axis: a dense layer's and its convolution's alike."""
    return data.reshape(-1, data.shape[-1]) if data.ndim in (2, 4) and node.op != "depthwise_conv2d" else data


def _parameters(a: Graph, b: Graph, pairs: Mapping[str, str]) -> tuple[list[TensorDifference], list[str], int]:
    found, positions, count = [], [], 0
    for name, other in pairs.items():
        left, right = a.by_name[name], b.by_name[other]
        mine, theirs = _constants(a, left), _constants(b, right)
        if len(mine) != len(theirs):
            found.append(TensorDifference(name, other, 0, 0, float("inf"), f"{len(mine)} and {len(theirs)} parameters"))
        for first, second in zip(mine, theirs, strict=False):
            assert first.data is not None and second.data is not None
            count += 1
            difference = compare_values(first.name, second.name, (_flat(first.data, left), first.fix),
                                        (_flat(second.data, right), second.fix))
            if difference:
                found.append(difference)
            if first.fix and second.fix and first.fix != second.fix and first.data.any():
                positions.append(f"{first.name} ({name}): {first.fix.pos} against {second.fix.pos}")
    return found, positions, count


def _tensor_positions(a: Graph, b: Graph, pairs: Mapping[str, str]) -> list[str]:
    return [f"{name}: {_position(a.by_name[name])} against {_position(b.by_name[other])}"
            for name, other in pairs.items() if a.by_name[name].fix != b.by_name[other].fix
            and a.by_name[name].fix and b.by_name[other].fix]


def _position(node: Node) -> str:
    return "float" if node.fix is None else f"{node.fix.pos}" + (f" ({node.fix.bits} bits)" * (node.fix.bits != 8))


def run_graph(graph: Graph, inputs: Mapping[str, Array] | Array, names: list[str]) -> dict[str, Array]:
    """Tensors in real units: bit-exact for a quantized network, in float32 for a float one."""
    if any(node.fix for node in graph.nodes):
        return ReferenceEngine(graph).run(inputs, names)
    arrays = inputs if isinstance(inputs, Mapping) else {graph.inputs[0].name: inputs}
    return dict(evaluate(graph, {name: np.asarray(x, np.float32) for name, x in arrays.items()}, names))


def _bits(a: Graph, b: Graph, pairs: Mapping[str, str], x: Array | Mapping[str, Array]) -> list[TensorDifference]:
    """Both run on one input; tensors in the order of the first network."""
    first = run_graph(a, x, list(pairs))
    renamed = {pairs[name]: array for name, array in x.items()} if isinstance(x, Mapping) else x
    second = run_graph(b, renamed, list(pairs.values()))
    found = (compare_values(name, other, (first[name], None), (second[other], None)) for name, other in pairs.items())
    return [difference for difference in found if difference]


def compare_graphs(a: Graph, b: Graph, x: Array | Mapping[str, Array] | None = None) -> Comparison:
    """Two networks side by side; with an input also their tensors. Inputs are named as in ``a``."""
    tensors, layers = tensor_pairs(a, b), layer_pairs(a, b)
    matched = {a.name: a for a in a.nodes}
    structure = [text for name, other in tensors.items() if (text := _structure(matched[name], b.by_name[other]))]
    structure += [text for name, other in layers.items() if tensors.get(name) != other
                  and (text := _structure(matched[name], b.by_name[other]))]
    parameters, positions, count = _parameters(a, b, layers)
    held = {*tensors.values(), *layers.values()}
    missing = [name for name in unmatched(a, {*tensors, *layers}) if matched[name].op not in _MOVES]
    extra = [name for name in unmatched(b, held) if b.by_name[name].op not in _MOVES]
    return Comparison(
        a.name, b.name, only_first=tuple(missing), only_second=tuple(extra), structure=tuple(structure),
        positions=(*_tensor_positions(a, b, tensors), *positions), parameters=tuple(parameters),
        compared_parameters=count, compared_tensors=len(tensors),
        bits=None if x is None else tuple(_bits(a, b, tensors, x)))
