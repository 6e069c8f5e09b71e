"""Bring positions into the ranges that the DPU can shift (quantizer specification, section 6)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, MutableMapping

from dpuflow.formats.graphdef import TFGraph, TFNode
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.insert import Group

SHIFT_MAX = 16
_SEE_THROUGH = ("FixNeuron", "Reshape", "ExpandDims")


def _fixes_behind(graph: TFGraph, name: str) -> list[str]:
    """The FixNeurons met walking back through FixNeuron, Reshape and ExpandDims."""
    found = []
    node = graph.node(name)
    while node.op in _SEE_THROUGH:
        if node.op == "FixNeuron":
            found.append(node.name)
        node = graph.node(node.operands[0])
    return found


def align_concat(graph: TFGraph, positions: MutableMapping[str, int], config: QuantizeConfig) -> None:
    """Every input of a quantized concat takes the concat's position (mode 0 all, 1 outputs only).

    All concats look at the positions before this pass; of two that read one tensor the later that
    differs wins, in the order of the file.
    """
    aligned: dict[str, int] = {}
    for fix in _fixes_after(graph, ("Concat", "ConcatV2"), config.align_concat, config):
        for operand in graph.node(graph.node(fix).operands[0]).operands[:-1]:
            for name in _fixes_behind(graph, operand):
                if positions[name] != positions[fix]:
                    aligned[name] = positions[fix]
    positions.update(aligned)


def _fixes_after(graph: TFGraph, ops: tuple[str, ...], mode: int, config: QuantizeConfig) -> Iterator[str]:
    """FixNeurons of nodes of these operators: mode 0 all, 1 output nodes only, 2 none."""
    for node in graph.nodes:
        if node.op == "FixNeuron" and mode != 2:
            producer = graph.node(node.operands[0])
            if producer.op in ops and (mode == 0 or producer.name in config.output_nodes):
                yield node.name


def _is_pool(graph: TFGraph, node: TFNode) -> bool:
    """A MaxPool, or the product with an AvgPool."""
    return node.op == "MaxPool" or (node.op == "Mul" and graph.node(node.operands[0]).op == "AvgPool")


def _pool_input(graph: TFGraph, node: TFNode) -> str:
    pool = node if node.op == "MaxPool" else graph.node(node.operands[0])
    return pool.operands[0]


def align_pool(graph: TFGraph, positions: MutableMapping[str, int], config: QuantizeConfig) -> None:
    """The FixNeuron that feeds a pool takes the pool's position (release 3.0 and later)."""
    aligned: dict[str, int] = {}
    for fix in _fixes_after(graph, ("MaxPool", "Mul"), config.pool_alignment, config):
        producer = graph.node(graph.node(fix).operands[0])
        if _is_pool(graph, producer):
            feed = _pool_input(graph, producer)
            if feed in positions and positions[feed] != positions[fix]:
                aligned[feed] = positions[fix]
    positions.update(aligned)


def position_leaders(graph: TFGraph, positions: Mapping[str, int], config: QuantizeConfig) -> dict[str, str]:
    """For every FixNeuron that a concat or pool binds to another's position, that other one."""
    names = dict(enumerate(positions))
    bound = {name: at for at, name in names.items()}
    for _ in range(len(names)):  # a leader may be bound itself
        before = dict(bound)
        align_concat(graph, bound, config)
        align_pool(graph, bound, config)
        if bound == before:
            break
    return {name: names[bound[name]] for at, name in names.items() if bound[name] != at}


def tied_positions(graph: TFGraph, positions: Mapping[str, int], config: QuantizeConfig) -> frozenset[str]:
    """The FixNeurons whose positions are bound together."""
    leaders = position_leaders(graph, positions, config)
    return frozenset(leaders) | frozenset(leaders.values())


class _Positions:
    """Positions of a group's tensors, by FixNeuron name."""

    def __init__(self, positions: MutableMapping[str, int], group: Group) -> None:
        self.table = positions
        self.input = f"{group.input}/aquant"
        self.last = f"{group.last}/aquant"
        self.weights = f"{group.weights}/wquant"
        self.biases = f"{group.biases}/wquant"

    @property
    def complete(self) -> bool:
        return all(name in self.table for name in (self.input, self.last, self.weights))

    @property
    def shift_cut(self) -> int:
        return self.table[self.weights] + self.table[self.input] - self.table[self.last]

    @property
    def sum_pos(self) -> int:
        return self.table[self.weights] + self.table[self.input]


def _move(positions: MutableMapping[str, int], name: str, after: int, what: str) -> None:
    """Give a FixNeuron another position, and say so in the vendor's words."""
    warnings.warn(f"[DECENT_WARNING] {what}, modify quantize pos from {positions[name]} to {after}", stacklevel=3)
    positions[name] = after


def adjust_shift_cut(groups: tuple[Group, ...], positions: MutableMapping[str, int]) -> None:
    """shift_cut outside 0..16 moves the weights' position."""
    for group in groups:
        at = _Positions(positions, group)
        if at.complete and not 0 <= at.shift_cut <= SHIFT_MAX:
            bound = min(max(at.shift_cut, 0), SHIFT_MAX)
            _move(positions, at.weights, bound + positions[at.last] - positions[at.input],
                  f"Shift cut of node {group.compute} is {at.shift_cut}. It exceed range [0, {SHIFT_MAX}]")


def prime_factors(number: int) -> list[int]:
    """Prime factors, ascending."""
    factors, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors + ([number] if number > 1 else [])


def dense_kernel(inputs: int) -> tuple[int, int, int] | None:
    """A dense layer's input size as (kh, kw, channels) below 16, 16, 4096; None if it does not fit."""
    factors = prime_factors(inputs)
    if len(factors) < 3:
        return None
    sizes, limits, at = [1, 1, 1], (16, 16, 4096), 0
    for factor in factors:
        for _ in range(3):
            place, at = at, (at + 1) % 3
            if sizes[place] * factor < limits[place]:
                sizes[place] *= factor
                break
        else:
            return None
    return sizes[0], sizes[1], sizes[2]


def _window(graph: TFGraph, group: Group) -> int | None:
    """Products per output value, kh * kw * ic; None where the vendor skips the layer."""
    weights = graph.node(group.weights)
    if weights.op != "Const":
        return None
    shape = weights.tensor().shape
    if graph.node(group.compute).op == "MatMul":
        sizes = dense_kernel(shape[0])
        return None if sizes is None else math.prod(sizes)
    return math.prod(shape[:3])


def adjust_shift_bias(graph: TFGraph, groups: tuple[Group, ...], positions: MutableMapping[str, int],
                      mode: int) -> None:
    """shift_bias outside its range moves the bias's position; mode 1 or 2 sets the lower bound."""
    for group in groups:
        at = _Positions(positions, group)
        if not at.complete or at.biases not in positions:
            continue
        if mode == 1:
            width = at.shift_cut
        else:
            window = _window(graph, group)
            if window is None:
                continue
            width = math.ceil(math.log2(window))
        low = min(0, -(24 - (8 + width)))
        shift_bias = at.sum_pos - positions[at.biases]
        bound = min(max(shift_bias, low), SHIFT_MAX)
        if bound != shift_bias:
            _move(positions, at.biases, at.sum_pos - bound,
                  f"Shift bias of node {group.compute} is {shift_bias}. It exceed range [{low}, {SHIFT_MAX}]")


def adjust_positions(graph: TFGraph, groups: tuple[Group, ...], positions: Mapping[str, int],
                     config: QuantizeConfig) -> dict[str, int]:
    """All post passes, in the vendor's order; groups in the order of their names."""
    adjusted = dict(positions)
    align_concat(graph, adjusted, config)
    align_pool(graph, adjusted, config)
    ordered = tuple(sorted(groups))
    if config.adjust_shift_cut:
        adjust_shift_cut(ordered, adjusted)
    if config.adjust_shift_bias:
        adjust_shift_bias(graph, ordered, adjusted, config.adjust_shift_bias)
    return adjusted
