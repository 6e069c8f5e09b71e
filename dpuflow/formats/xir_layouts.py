"""The axis order of constants: XIR's (xmodel specification, section 3) against this library's.

A constant that only convolutions read comes in this library's order under its own name; one that
readers want in several orders stays as it is, and each reader gets a constant of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dpuflow.formats.xir import XGraph, XOp

Axes = tuple[int, ...]

OHWI_TO_HWIO: Axes = (1, 2, 3, 0)
OUT_IN_TO_IN_OUT: Axes = (1, 0)
_CONVOLUTIONS = ("conv2d", "depthwise-conv2d")
_THROUGH = ("fix",)  # operators behind which a constant is the same constant


def axes_for(op: XOp, operand: str) -> Axes | None:
    """The order in which an operator's node here wants an operand, None for the file's own."""
    if op.type.removesuffix("-fix") in _CONVOLUTIONS and operand in op.args.get("weights", ()):
        return OHWI_TO_HWIO
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


def _wanted(name: str, readers: Mapping[str, list[XOp]]) -> Iterator[Axes | None]:
    for op in readers[name]:
        if op.type in _THROUGH:
            yield from _wanted(op.name, readers)
        else:
            yield axes_for(op, name)


def common_layouts(graph: XGraph) -> dict[str, Axes]:
    """For every constant, and ``fix`` of one, whose readers all want the same other order: that order."""
    readers = _readers(graph)
    layouts: dict[str, Axes] = {}
    for op in graph.ops:
        if op.type in ("const", "const-fix"):
            wanted = set(_wanted(op.name, readers))
            axes = wanted.pop() if len(wanted) == 1 else None
            if axes is not None and len(op.tensor.dims) == len(axes):
                layouts[op.name] = axes
        elif op.type in _THROUGH:
            source = next(iter(op.args.get("input", ())), "")
            if source in layouts:
                layouts[op.name] = layouts[source]
    return layouts
