"""A core's memories while a program is written: regions in use, parameter rings, who touched what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dpuflow.program.banks import Region, box_fields, strip_slots
from dpuflow.program.builder import Spans, Touch, Track
from dpuflow.program.ddr import Ddr, View
from dpuflow.program.maps import Pair, lanes_of
from dpuflow.target.arch import Core

Box = tuple[Pair, Pair, Pair]  # rows, columns, channels


@dataclass(frozen=True)
class Area:
    """A region in use: strip ``shift`` of it holds the map's strip 0, its first column and lane hold the
    map's column x0 and channel c0."""

    region: Region
    track: Track
    shift: int = 0
    x0: int = 0
    c0: int = 0

    def box(self, core: Core, at: Box, step: Pair = (1, 1)) -> dict[str, int]:
        """The operand's fields."""
        (y0, y1), (x0, x1), (c0, c1) = at
        down = self.shift * core.pixel_parallel
        return box_fields(core, self.region, (y0 + down, y1 + down), (x0 - self.x0, x1 - self.x0),
                          (c0 - self.c0, c1 - self.c0), step)

    def touch(self, core: Core, at: Box) -> Touch:
        """What of the area the box touches."""
        (y0, y1), _, (c0, c1) = at
        down, lanes = self.shift * core.pixel_parallel, core.input_channel_parallel
        first = (c0 - self.c0) // lanes
        return self.track, (strip_slots(core, self.region, (y0 + down, y1 + down)),
                            slice(first, first + lanes_of(c1 - c0, core)))


class Ram:
    """A parameter memory that is filled round and round."""

    def __init__(self, depth: int) -> None:
        self.depth, self.at, self.spans = depth, 0, Spans()

    def reserve(self, rows: int) -> None:
        """Make sure that the next ``rows`` rows follow one another."""
        if self.at + rows > self.depth:
            self.at = 0

    def take(self, rows: int) -> tuple[int, Track]:
        """``rows`` rows behind the last ones taken."""
        self.reserve(rows)
        base, self.at = self.at, self.at + rows
        return base, self.spans.open(base, base + rows)


class Chip:
    """A core's memories while a program is written."""

    def __init__(self, core: Core, ddr: Ddr) -> None:
        self.core, self.ddr = core, ddr
        self.groups = [Spans() for _ in range(core.image_bank_groups)]
        self.weights, self.bias, self.dw_weights = (Ram(core.bank_depth) for _ in range(3))
        self.resident: dict[str, tuple[Region, Track]] = {}
        self._registers: dict[int, Spans] = {}
        self._storages: dict[str, Track] = {}

    def open(self, region: Region) -> Track:
        """Begin to use a region."""
        return self.groups[region.group].open(region.base, region.end, region.ring, region.lanes)

    def storage(self, view: View, at: Box) -> Touch:
        """What of a storage in DDR a box touches, by rows of the storage's own map."""
        whole = self.ddr.placing.views[view.storage]
        if view.storage not in self._storages:
            place = self.ddr.storages[view.storage]
            spans = self._registers.setdefault(place.register, Spans())
            self._storages[view.storage] = spans.open(place.offset, place.offset + place.size_bytes, whole.size[0])
        (y0, y1), (x0, x1), (c0, c1) = at
        first = view.offset + y0 * view.row_stride + x0 * view.pixel_stride + c0
        last = view.offset + (y1 - 1) * view.row_stride + (x1 - 1) * view.pixel_stride + c1 - 1
        return self._storages[view.storage], (slice(first // whole.row_stride, last // whole.row_stride + 1),)


def ddr_fields(ddr: Ddr, view: View, at: Box) -> dict[str, int]:
    """Where a box begins in DDR, and its strides (zero where there is no second row or column)."""
    (y0, y1), (x0, x1), (c0, _) = at
    place = ddr.storages[view.storage]
    return {"register": place.register,
            "offset": place.offset + view.offset + y0 * view.row_stride + x0 * view.pixel_stride + c0,
            "row_stride": view.row_stride if y1 - y0 > 1 else 0,
            "pixel_stride": view.pixel_stride if x1 - x0 > 1 else 0}


@dataclass(frozen=True)
class Buffers:
    """The regions of a step: of inputs and other operands by name, of the map in between, of the result.

    ``on_chip``: maps that lie there already, whole. ``keeps``: whether the whole result stays.
    """

    inputs: Mapping[str, Region]
    others: Mapping[str, Region]
    between: Region | None
    result: Region
    on_chip: frozenset[str] = frozenset()
    keeps: bool = False
