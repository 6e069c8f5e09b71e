"""Bank geometry: where maps, weights and biases stand in the core's memories.

An image group has PP banks, ICP bytes wide. Row y of a map stands in bank y mod PP; PP rows are a
strip. A buffer holds a ring of strips, so that a map can stream through it; a strip's bank rows are
its columns times its channel groups (performance specification, section 4).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from dpuflow.ir.graph import Array
from dpuflow.program.maps import Pair, lanes_of
from dpuflow.target.arch import Core

BOX = ("group", "bank", "base", "strip_stride", "col_stride", "wrap_after", "wrap_base", "rows", "cols", "channels")
EMPTY_BOX = dict.fromkeys(BOX, 0)


@dataclass(frozen=True)
class Region:
    """Bank rows of an image group that hold ``ring`` strips of ``cols`` columns of ``lanes`` channel groups."""

    group: int
    base: int
    ring: int
    cols: int
    lanes: int

    @property
    def strip_rows(self) -> int:
        """Bank rows of one strip."""
        return self.cols * self.lanes

    @property
    def end(self) -> int:
        """The bank row behind the last."""
        return self.base + self.ring * self.strip_rows


def box_fields(core: Core, region: Region, y: Pair, x: Pair, channels: Pair, step: Pair = (1, 1)) -> dict[str, int]:
    """An operand: rows y[0].. of a map whose strip 0 is the region's, every ``step``-th; x and channels from
    the region's own first. Numbers that make no difference are zero: every box has one form."""
    count, cols = len(range(y[0], y[1], step[0])), len(range(x[0], x[1], step[1]))
    pp = core.pixel_parallel
    first, bank = divmod(y[0], pp)
    strips = (bank + step[0] * (count - 1)) // pp + 1
    slot, inner = first % region.ring, x[0] * region.lanes + channels[0] // core.input_channel_parallel
    wraps = slot + strips > region.ring
    return {"group": region.group, "bank": bank, "base": region.base + slot * region.strip_rows + inner,
            "strip_stride": region.strip_rows if strips > 1 else 0,
            "col_stride": region.lanes * step[1] if cols > 1 else 0,
            "wrap_after": region.ring - slot if wraps else 0, "wrap_base": region.base + inner if wraps else 0,
            "rows": count, "cols": cols, "channels": channels[1] - channels[0]}


def strip_slots(core: Core, region: Region, y: Pair) -> list[int]:
    """The ring's slots under the rows y[0]..y[1]."""
    return [strip % region.ring for strip in range(y[0] // core.pixel_parallel, (y[1] - 1) // core.pixel_parallel + 1)]


def box_cells(core: Core, f: Mapping[str, int], prefix: str = "", row_step: int = 1) -> tuple[Array, Array]:
    """Bank and bank row of every pixel's every channel group, each (rows, cols, groups)."""
    rows, cols, channels = (f[f"{prefix}{name}"] for name in ("rows", "cols", "channels"))
    j, x, g = np.ogrid[:rows, :cols, :lanes_of(channels, core)]
    strip, bank = np.divmod(f[f"{prefix}bank"] + row_step * j, core.pixel_parallel)
    start, stride, wrap = f[f"{prefix}base"], f[f"{prefix}strip_stride"], f[f"{prefix}wrap_after"]
    row = start + strip * stride
    if wrap:
        row = np.where(strip >= wrap, f[f"{prefix}wrap_base"] + (strip - wrap) * stride, row)
    return bank + 0 * (x + g), row + x * f[f"{prefix}col_stride"] + g


def free_spans(taken: list[tuple[int, int]], depth: int) -> Iterator[tuple[int, int]]:
    """The gaps between taken bank rows."""
    at = 0
    for start, end in sorted(taken):
        if start > at:
            yield at, start
        at = max(at, end)
    if at < depth:
        yield at, depth


def find_space(taken: list[tuple[int, int]], rows: int, depth: int, after: int = 0) -> int | None:
    """Where ``rows`` bank rows are free: behind row ``after`` if possible, so that buffers used one after the
    other do not meet; None if nowhere."""
    spans = list(free_spans(taken, depth))
    later = [(max(start, after), end) for start, end in spans if end > after]
    return next((start for start, end in later + spans if end - start >= rows), None)
