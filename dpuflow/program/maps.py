"""Sizes of maps and the sliding windows over them: what the schedule computes with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dpuflow.ir.graph import Shape
from dpuflow.target.arch import Core

Map = tuple[int, int, int]  # (height, width, channels)
Pair = tuple[int, int]


def up(value: int, step: int) -> int:
    """``value / step`` rounded up."""
    return -(-value // step)


def map_of(shape: Shape) -> Map:
    """A tensor as (height, width, channels); one of fewer dimensions is a map of one row or one pixel."""
    sizes = (1, 1, 1, *shape[1:])[-3:]
    return sizes[0], sizes[1], sizes[2]


def strips_of(rows: int, core: Core) -> int:
    """Strips of PP rows that a map's height takes: each lies in one bank row per pixel and channel group."""
    return up(rows, core.pixel_parallel)


def lanes_of(channels: int, core: Core) -> int:
    """Channel groups of ICP lanes."""
    return up(channels, core.input_channel_parallel)


@dataclass(frozen=True)
class Part:
    """Some outputs along one axis that one instruction can compute: every ``step``-th from ``first``,
    from the inputs ``start`` to ``stop``, with ``before`` and ``after`` padded ones; ``phase`` tells
    which taps of a transposed kernel they use."""

    first: int
    count: int
    step: int
    start: int
    stop: int
    before: int
    after: int
    kernel: int
    phase: int = 0


@dataclass(frozen=True)
class Window:
    """A sliding window: kernel, stride, dilation and pads (top, bottom, left, right).

    ``transposed``: the window of a transposed convolution, whose pads are those of the convolution
    that is turned round. ``repeat``: a nearest resize that repeats every pixel ``stride`` times.
    """

    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    transposed: bool = False
    repeat: bool = False

    def parts(self, first: int, end: int, size: int, axis: int) -> Iterator[Part]:
        """The outputs first..end along an axis whose input has ``size`` rows (or columns)."""
        if self.transposed:
            yield from self._phases(first, end, size, axis)
        elif self.repeat:
            factor = self.stride[axis]
            yield Part(first, end - first, 1, first // factor, (end - 1) // factor + 1, 0, 0, 1)
        else:
            start = first * self.stride[axis] - self.pads[2 * axis]
            stop = start + (end - first - 1) * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis] + 1
            yield _clipped(first, end - first, 1, (start, stop), size, self.kernel[axis])

    def _phases(self, first: int, end: int, size: int, axis: int) -> Iterator[Part]:
        """A transposed convolution is stride convolutions of stride 1 on the input's grid (performance
        specification, section 3), each of the taps of one remainder."""
        stride, pad, kernel = self.stride[axis], self.pads[2 * axis], self.kernel[axis]
        for phase in range(stride):
            y = first + (phase - first - pad) % stride
            if y >= end:
                continue
            count, taps = up(end - y, stride), up(kernel - phase, stride)
            last_input = (y + pad - phase) // stride
            span = (last_input - taps + 1, last_input + count)
            yield _clipped(y, count, stride, span, size, taps, phase)

    def reach(self, first: int, end: int, size: int, axis: int) -> Pair:
        """First and end input row (or column) under the outputs first..end; at least one."""
        parts = list(self.parts(first, end, size, axis))
        start, stop = min(part.start for part in parts), max(part.stop for part in parts)
        return (start, stop) if start < stop else (min(start, size - 1), min(start, size - 1) + 1)

    def overlaps(self, axis: int) -> bool:
        """Whether neighbouring outputs share inputs."""
        return not self.repeat and (self.kernel[axis] - 1) * self.dilation[axis] + 1 > self.stride[axis]


def _clipped(first: int, count: int, step: int, span: Pair, size: int, kernel: int, phase: int = 0) -> Part:
    start, stop = span
    before, after = max(-start, 0), max(stop - size, 0)
    return Part(first, count, step, start + before, stop - after, before, after, kernel, phase)


POINTWISE = Window()
