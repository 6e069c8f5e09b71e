"""The state of one import of a TensorFlow graph, and values known from static shapes alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.graphdef import TFGraph, TFNode
from dpuflow.ir.graph import Array, Node, Shape
from dpuflow.ir.verify import output_shape


@dataclass(frozen=True)
class TimeFirst:
    """A sequence as a TensorFlow node gives it, time first: which of our nodes it is, and whether it runs backwards."""

    node: str
    reverse: bool = False


class Importer:
    """The state of one import: the nodes made so far and the names they go by."""

    def __init__(self, graph: TFGraph, input_shapes: Mapping[str, Shape]) -> None:
        self.graph = graph
        self.input_shapes = input_shapes
        self.nodes: dict[str, Node] = {}
        self.alias: dict[str, str] = {}
        self.views: dict[str, TimeFirst] = {}
        self.static: dict[str, Array | None] = {}
        self.sizes: set[str] = set()  # nodes that hold sizes, not pixels

    def made(self, name: str) -> Node:
        """The imported node that a TensorFlow node name stands for."""
        if name in self.views:
            raise UnsupportedOp("a sequence with time first is used as a batch", where=f"node '{name}'",
                                remedy="put a Transpose [1, 0, 2] behind it")
        return self.nodes[self.alias.get(name, name)]

    def operands(self, node: TFNode) -> list[Node]:
        """The imported operands of a node."""
        return [self.made(name) for name in node.operands]

    def emit(self, node: TFNode, op: str, operands: Iterable[Node], attrs: Any = None) -> None:
        """Add a node under the TensorFlow node's name, with its shape."""
        made = Node(node.name, op, tuple(operand.name for operand in operands))
        if attrs is not None:
            made = made.replace(attrs=attrs)
        shapes = {name: self.nodes[name].shape for name in made.inputs}
        self.nodes[node.name] = made.replace(shape=output_shape(made, shapes))

    def constant(self, node: TFNode, index: int, what: str) -> Array:
        """A constant operand that is a size, an axis or a list of them, computed from static shapes where need be."""
        names = node.operands
        if not -len(names) <= index < len(names):
            raise GraphError(f"the {what} is missing", where=f"node '{node.name}' ({node.op})")
        value = self.static_value(names[index])
        if value is None:
            raise GraphError(f"the {what} is not constant", where=f"node '{node.name}' ({node.op})",
                             got=names[index], remedy="freeze the graph with constant values")
        if value.size > _MOST_NUMBERS:
            raise GraphError(f"the {what} is no short list", where=f"node '{node.name}' ({node.op})",
                             got=f"{value.size} values", expected=f"at most {_MOST_NUMBERS}")
        return value

    def static_value(self, name: str) -> Array | None:
        """The value of a node that does not depend on pixels; batch counts as 1."""
        if name not in self.static:
            self.static[name] = self._static_value(name)
        return self.static[name]

    def is_static(self, node: TFNode) -> bool:
        """Whether a node computes with sizes only: with one that comes from a shape, and constants."""
        return node.op in _STATIC_RULES and any(name in self.sizes for name in node.operands) and all(
            name in self.sizes or self.graph.node(name).op == "Const" for name in node.operands)

    def _static_value(self, name: str) -> Array | None:
        node = self.graph.node(name)
        if node.op in ("Identity", "Cast", "FixNeuron"):
            return self.static_value(node.operands[0])
        if node.op == "Const":
            return node.tensor()
        if node.op == "Shape":
            return np.array(self.made(node.operands[0]).shape, np.int64)
        rule = _STATIC_RULES.get(node.op)
        values = [self.static_value(operand) for operand in node.operands] if rule else []
        known = [value for value in values if value is not None]
        if sum(value.size for value in known) > _STATIC_SIZE:
            return None
        return rule(node, known) if rule and len(known) == len(values) else None


_MOST_NUMBERS = 64  # two for each axis of the largest array
_STATIC_SIZE = 4096  # values: shapes and lists of axes are short


def _static_slice(node: TFNode, values: list[Array]) -> Array:
    data, begin, end, strides = values
    first = int(begin[0]) if not node.get("begin_mask", 0) & 1 else None
    last = int(end[0]) if not node.get("end_mask", 0) & 1 else None
    part = data[slice(first, last, int(strides[0]))]
    return part[0] if node.get("shrink_axis_mask", 0) & 1 else part


_STATIC_RULES: Mapping[str, Callable[[TFNode, list[Array]], Array]] = {
    "StridedSlice": _static_slice,
    "Pack": lambda node, values: np.stack(values),
    "ConcatV2": lambda node, values: np.concatenate(values[:-1]),
    "Mul": lambda node, values: np.asarray(values[0] * values[1]),
    "Add": lambda node, values: np.asarray(values[0] + values[1]),
    "AddV2": lambda node, values: np.asarray(values[0] + values[1]),
    "Sub": lambda node, values: np.asarray(values[0] - values[1]),
    "Prod": lambda node, values: np.asarray(np.prod(values[0])),
}
