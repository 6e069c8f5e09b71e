"""The axis order of constants: XIR's (xmodel specification, section 3) against this library's.

A constant that only convolutions read comes in this library's order under its own name; one that
readers want in several orders stays as it is, and each reader gets a constant of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from dpuflow.formats.xir import XGraph, XOp
from dpuflow.ir.graph import Array


@dataclass(frozen=True)
class Order:
    """An order of axes: for every new axis the old one, and which new ones are reversed."""

    axes: tuple[int, ...]
    reversed: tuple[int, ...] = ()

    def of(self, data: Array) -> Array:
        """The data in this order: a view, not a copy."""
        return np.flip(data.transpose(self.axes), self.reversed)

    def sizes(self, dims: tuple[int, ...]) -> tuple[int, ...]:
        """The sizes in this order; () if there are not as many."""
        return tuple(dims[axis] for axis in self.axes) if len(dims) == len(self.axes) else ()


OHWI_TO_HWIO = Order((1, 2, 3, 0))
REVERSED_OHWI_TO_HWOI = Order((1, 2, 0, 3), (0, 1))  # transposed convolutions
OUT_IN_TO_IN_OUT = Order((1, 0))
_WEIGHTS = {"conv2d": OHWI_TO_HWIO, "depthwise-conv2d": OHWI_TO_HWIO, "transposed-conv2d": REVERSED_OHWI_TO_HWOI}
_THROUGH = ("fix",)  # operators behind which a constant is the same constant


def order_for(op: XOp, operand: str) -> Order | None:
    """The order in which an operator's node here wants an operand, None for the file's own."""
    if op.type.removesuffix("-fix") in _WEIGHTS and operand in op.args.get("weights", ()):
        return _WEIGHTS[op.type.removesuffix("-fix")]
    if op.type == "matmul" and op.get("transpose_b") and operand in op.args.get("input", ())[1:]:
        return OUT_IN_TO_IN_OUT
    if op.type == "inner-product" and operand in op.args.get("weights", ()):
        return OUT_IN_TO_IN_OUT
    return None


def _readers(graph: XGraph) -> dict[str, list[XOp]]:
    readers: dict[str, list[XOp]] = {op.name: [] for op in graph.ops}
    for op in graph.ops:
        for name in (name for names in op.args.values() for name in names):
            readers[name].append(op)
    return readers


def _wanted(name: str, readers: Mapping[str, list[XOp]]) -> Iterator[Order | None]:
    for op in readers[name]:
        if op.type in _THROUGH:
            yield from _wanted(op.name, readers)
        else:
            yield order_for(op, name)


def common_layouts(graph: XGraph) -> dict[str, Order]:
    """For every constant, and ``fix`` of one, whose readers all want the same other order: that order."""
    readers = _readers(graph)
    layouts: dict[str, Order] = {}
    for op in graph.ops:
        if op.type in ("const", "const-fix"):
            wanted = set(_wanted(op.name, readers))
            order = wanted.pop() if len(wanted) == 1 else None
            if order is not None and len(op.tensor.dims) == len(order.axes):
                layouts[op.name] = order
        elif op.type in _THROUGH:
            source = next(iter(op.args.get("input", ())), "")
            if source in layouts:
                layouts[op.name] = layouts[source]
    return layouts
