"""How a DNNDK node computes, as far as its records tell: stride, padding, a merged pool.

The records hold the shapes before and after, the kernel and the number of multiplications. A pool
or mean is merged into the node before it, and only the shape shows it (board specification, 5).
"""

from __future__ import annotations

from dataclasses import dataclass

from dpuedge import elf
from dpuflow.errors import GraphError
from dpuflow.ops.base import Padding, same_padding

_STRIDES = range(1, 9)
Size = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """A convolution's window and the size it yields before a merged pool."""

    kernel: Size
    stride: Size
    padding: Padding
    size: Size


def _candidates(size: Size, kernel: Size) -> list[Geometry]:
    found = []
    for s in _STRIDES:
        same = (-(-size[0] // s), -(-size[1] // s))
        found.append(Geometry(kernel, (s, s), same_padding(size, kernel, (s, s)), same))
        if size[0] >= kernel[0] and size[1] >= kernel[1]:
            valid = ((size[0] - kernel[0]) // s + 1, (size[1] - kernel[1]) // s + 1)
            found.append(Geometry(kernel, (s, s), Padding(), valid))
    return found


def convolution_geometry(node: elf.Node, x: elf.Tensor, y: elf.Tensor, kernel: Size) -> Geometry:
    """The one window with TensorFlow's paddings that fits shapes and work; GraphError if none does or several do."""
    where = f"node '{node.name}'"
    per_pixel = 2 * kernel[0] * kernel[1] * x.channels * y.channels
    pixels, rest = divmod(node.work, per_pixel)
    if rest or not pixels:
        raise GraphError("its work is no whole number of pixels", where=where, got=node.work,
                         expected=f"a multiple of {per_pixel}")
    size = (x.height, x.width)
    fitting = {(g.size, g.padding, g.stride if g.size != (1, 1) else (1, 1)): g for g in _candidates(size, kernel)
               if g.size[0] * g.size[1] == pixels and g.size[0] >= y.height and g.size[1] >= y.width}
    exact = [g for g in fitting.values() if g.size == (y.height, y.width)]
    chosen = exact or list(fitting.values())
    if len(chosen) != 1:
        raise GraphError("stride and padding do not follow from the records", where=where,
                         got=f"{len(chosen)} possibilities", expected=f"{pixels} pixels from {size} by kernel {kernel}",
                         remedy="give the graph that it was compiled from with --like")
    return chosen[0]


def merged_pool(size: Size, y: elf.Tensor, where: str) -> tuple[str, Size, Size] | None:
    """(kind, kernel, stride) of the pool between a convolution's size and the node's; None if there is none.

    The kind is a convention, not a record: the whole map is averaged, halves are maxima of 2 x 2.
    """
    out = (y.height, y.width)
    if size == out:
        return None
    if out == (1, 1):
        return "mean", size, (1, 1)
    if all(whole == 2 * part for whole, part in zip(size, out, strict=True)):
        return "max_pool", (2, 2), (2, 2)
    raise GraphError("a merged pool that does not follow from the records", where=where, got=f"{size} to {out}",
                     remedy="give the graph that it was compiled from with --like")
