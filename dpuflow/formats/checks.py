"""What files may claim: bounds that no real network reaches, so that a damaged file ends in an error."""

from __future__ import annotations

from collections.abc import Iterable

from dpuedge import fixed
from dpuflow.errors import GraphError
from dpuflow.ir.graph import Fix
from dpuflow.ops.base import Padding

# What reading a field of the wrong type, number or depth raises inside a converter.
MALFORMED = (KeyError, ValueError, TypeError, IndexError, AttributeError, ArithmeticError, RecursionError)

MAX_PAD = 4095
POSITIONS = range(-64, 65)
WIDTHS = range(2, 17)


def checked_padding(pads: Iterable[int], where: str) -> Padding:
    """(top, bottom, left, right) as a Padding; GraphError for negative or absurd ones."""
    values = tuple(int(pad) for pad in pads)
    if len(values) != 4 or not all(0 <= pad <= MAX_PAD for pad in values):
        raise GraphError("impossible padding", where=where, got=values, expected=f"four of 0..{MAX_PAD}")
    return Padding(*values)


def checked_pairs(values: Iterable[Iterable[int]], where: str) -> tuple[tuple[int, int], ...]:
    """(before, after) for each axis, batch first; GraphError for a padded batch or impossible pads."""
    pairs = tuple((int(before), int(after)) for before, after in values)
    if any(pad < 0 or pad > MAX_PAD for pair in pairs for pad in pair) or (pairs and pairs[0] != (0, 0)):
        raise GraphError("impossible padding", where=where, got=pairs,
                         expected=f"0..{MAX_PAD} for each axis, none for the batch")
    return pairs


def checked_axis(axis: int, rank: int, where: str) -> int:
    """An axis counted from the front; GraphError for the batch or one that is not there."""
    if not -rank <= axis < rank or axis % rank == 0:
        raise GraphError("impossible axis", where=where, got=axis, expected=f"1..{rank - 1}, not the batch")
    return axis % rank


def checked_position(pos: object, bits: object, where: str, zero: bool = True) -> Fix:
    """A fixed-point type; ``zero``: whether the quantizer's mark for all zeros is allowed."""
    marked = zero and pos == fixed.ALL_ZERO_POS
    if not isinstance(pos, int) or not isinstance(bits, int) or bits not in WIDTHS or not (marked or pos in POSITIONS):
        raise GraphError("impossible position or width", where=where, got=f"position {pos}, {bits} bits",
                         expected=f"{POSITIONS[0]}..{POSITIONS[-1]} and {WIDTHS[0]}..{WIDTHS[-1]} bits")
    return Fix(pos, bits)
