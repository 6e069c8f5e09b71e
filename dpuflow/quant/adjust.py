"""Bring positions into the ranges that the DPU can shift (quantizer specification, section 6)."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping

from dpuflow.formats.graphdef import TFGraph
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
    """Every input of a quantized concat takes the concat's position (mode 0 all, 1 outputs only)."""
    if config.align_concat == 2:
        return
    for node in graph.nodes:
        fix = f"{node.name}/aquant"
        if node.op not in ("Concat", "ConcatV2") or fix not in positions:
            continue
        if config.align_concat == 1 and node.name not in config.output_nodes:
            continue
        for operand in node.operands[:-1]:
            for name in _fixes_behind(graph, operand):
                positions[name] = positions[fix]


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


def adjust_shift_cut(groups: tuple[Group, ...], positions: MutableMapping[str, int]) -> None:
    """shift_cut outside 0..16 moves the weights' position."""
    for group in groups:
        at = _Positions(positions, group)
        if at.complete and not 0 <= at.shift_cut <= SHIFT_MAX:
            bound = min(max(at.shift_cut, 0), SHIFT_MAX)
            positions[at.weights] = bound + positions[at.last] - positions[at.input]


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
    shape = graph.node(group.weights).tensor().shape
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
            positions[at.biases] = at.sum_pos - bound


def adjust_positions(graph: TFGraph, groups: tuple[Group, ...], positions: Mapping[str, int],
                     config: QuantizeConfig) -> dict[str, int]:
    """All post passes, in the vendor's order; groups in the order of their names."""
    adjusted = dict(positions)
    align_concat(graph, adjusted, config)
    ordered = tuple(sorted(groups, key=lambda group: group.compute))
    if config.adjust_shift_cut:
        adjust_shift_cut(ordered, adjusted)
    if config.adjust_shift_bias:
        adjust_shift_bias(graph, ordered, adjusted, config.adjust_shift_bias)
    return adjusted
