"""How a step may be cut: tiles, loop order, blocks of output channels, and the buffers that follow.

Tiles run along H in whole strips, along W only where rows do not fit; output channels in blocks of OCP.
Input channels are not cut: a sum must end in the array (its partial sums cannot be addressed), and the
limits see to it that they fit. ``weights`` order keeps a block of weights while all tiles pass,
``features`` order keeps a tile while all blocks pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from dpuflow.program.fusion import Stage, Step
from dpuflow.program.maps import Pair, lanes_of, strips_of, up
from dpuflow.target.arch import Core


@dataclass(frozen=True)
class Plan:
    """One way to cut a step. ``rows`` and ``cols`` of an output tile, ``block`` output channels at once;
    ``ahead``: tiles that may be loaded before they are needed (1 = double buffering); ``made``: rows of the map in
    between that are made at once at most, 0 without a limit."""

    order: str
    rows: int
    cols: int
    block: int
    ahead: int
    made: int = 0


@dataclass(frozen=True)
class Move:
    """What is done at once along H: the rows of the result (none while the map in between still grows), the rows
    of the map in between that are made and from which they are read on, the input rows that are loaded and from
    which they are read on."""

    rows: Pair
    made: Pair
    made_from: int
    loaded: Pair
    loaded_from: int


@dataclass(frozen=True)
class Need:
    """The size of a buffer: strips, columns, channel groups."""

    ring: int
    cols: int
    lanes: int

    @property
    def bank_rows(self) -> int:
        """Rows of each bank."""
        return self.ring * self.cols * self.lanes


@dataclass(frozen=True)
class Needs:
    """The buffers of a plan: of every input, of the map in between, of the result, of every other operand."""

    inputs: Need
    between: Need | None
    result: Need
    others: Need | None


def cut(size: int, part: int, merge_tail: bool = False) -> list[Pair]:
    """0..size in parts; ``merge_tail``: a short last part joins the one before it."""
    starts = list(range(0, size, part))
    if merge_tail and len(starts) > 1 and size - starts[-1] < part:
        starts.pop()
    return list(zip(starts, [*starts[1:], size], strict=True))


def row_unit(step: Step, core: Core) -> int:
    """Tile heights are multiples of this: PP rows, for a transposed convolution of every remainder."""
    window = step.first.window
    return core.pixel_parallel * (window.stride[0] if window.transposed else 1)


def moves(step: Step, plan: Plan, core: Core) -> tuple[Move, ...]:
    """Every tile of one pass, from top to bottom."""
    return _moves(step.first, step.last, plan.rows, plan.made, core.pixel_parallel)


@lru_cache(maxsize=4096)
def _moves(first: Stage, last: Stage, rows: int, most_made: int, pp: int) -> tuple[Move, ...]:
    done, loaded, found = 0, 0, list[Move]()
    for tile in cut(last.output[0], rows, first.window.transposed):
        for made, made_from, ends in _productions(first, last, tile, done, most_made, pp):
            load_from, until = loaded and min(loaded, first.input[0] - 1), loaded
            if made[0] < made[1]:
                load_from, end = first.window.reach(*made, first.input[0], 0)
                until = max(loaded, min(up(end, pp) * pp, first.input[0]))
            found.append(Move(tile if ends else (tile[0], tile[0]), made, made_from, (loaded, until), load_from))
            done, loaded = made[1], until
    return tuple(found)


def _productions(first: Stage, last: Stage, tile: Pair, done: int, most: int,
                 pp: int) -> Iterator[tuple[Pair, int, bool]]:
    """The rows that the first stage makes for a tile, in parts of at most ``most``; whether a part is the last."""
    if first is last:
        yield tile, tile[0], True
        return
    start, end = last.window.reach(*tile, first.output[0], 0)
    end = max(done, min(up(end, pp) * pp, first.output[0]))
    while most and end - done > most:
        yield (done, done + most), start, False
        done += most
    yield (done, end), start, True


def _ring(ends: list[int], froms: list[int], total: int, ahead: int, pp: int) -> int:
    """Strips that hold what every tile reads and what the tiles ``ahead`` of it already make."""
    most = 0
    for at, start in enumerate(froms):
        end = ends[min(at + ahead, len(ends) - 1)]
        most = max(most, up(end, pp) - start // pp)
    return min(most, up(total, pp))


def input_columns(step: Step, x: Pair) -> tuple[Pair, Pair]:
    """The columns of the map in between, and of the input, under the output columns x."""
    between = step.last.window.reach(*x, step.last.input[1], 1) if len(step.stages) > 1 else x
    return between, step.first.window.reach(*between, step.first.input[1], 1)


def column_tiles(step: Step, plan: Plan) -> list[Pair]:
    """Output columns, tile by tile."""
    return cut(step.last.output[1], plan.cols, step.first.window.transposed)


def block_lanes(step: Step, plan: Plan, core: Core) -> int:
    """Channel groups that one pass makes: a block's in weights order, else all."""
    channels = step.last.output[2]
    return lanes_of(min(plan.block, channels) if plan.order == "weights" else channels, core)


def needs(step: Step, plan: Plan, core: Core, resident: bool = False) -> Needs:
    """The buffers of a plan; ``resident``: the whole result stays on the chip."""
    pp, tiles, xs = core.pixel_parallel, moves(step, plan, core), column_tiles(step, plan)
    columns = [input_columns(step, x) for x in xs]
    made = block_lanes(step, plan, core)
    in_lanes = made if step.first.channelwise else lanes_of(step.first.input[2], core)
    inputs = Need(_ring([tile.loaded[1] for tile in tiles], [tile.loaded_from for tile in tiles], step.first.input[0],
                        plan.ahead, pp), max(c[1] - c[0] for _, c in columns), in_lanes)
    between = None
    if len(step.stages) > 1:
        between = Need(_ring([tile.made[1] for tile in tiles], [tile.made_from for tile in tiles],
                             step.first.output[0], plan.ahead, pp), max(b[1] - b[0] for b, _ in columns), made)
    height = step.last.output[0]
    tile_strips = max(strips_of(tile.rows[1] - tile.rows[0], core) for tile in tiles)
    ring = tile_strips * (1 + plan.ahead)
    if len(xs) == 1:
        ring = min(ring, strips_of(height, core))
    width = max(x[1] - x[0] for x in xs)
    others = Need(ring, width, made) if step.others else None
    if resident:
        return Needs(inputs, between, Need(strips_of(height, core), step.last.output[1],
                                           lanes_of(step.last.output[2], core)), others)
    return Needs(inputs, between, Need(ring, width, made), others)


def is_augmented(stage: Stage, core: Core) -> bool:
    """Whether one kernel row is packed into the input lanes (performance specification, section 3)."""
    width, channels = stage.window.kernel[1], stage.input[2]
    return (core.channel_augmentation > 0 and stage.op == "conv" and not stage.window.transposed
            and channels < core.input_channel_parallel and width > 1
            and width * channels <= core.channel_augmentation)


def kernel_parts(stage: Stage) -> Iterator[tuple[Pair, Pair]]:
    """The kernels that a convolution computes with: (height, width) and the remainder of the stride that each
    serves; one, or of a transposed convolution stride times stride."""
    (kh, kw), (sh, sw) = stage.window.kernel, stage.window.stride
    if not stage.window.transposed:
        yield (kh, kw), (0, 0)
        return
    for i in range(sh):
        for j in range(sw):
            yield (up(kh - i, sh), up(kw - j, sw)), (i, j)


def part_rows(stage: Stage, kernel: Pair, core: Core) -> int:
    """Weight bank rows of one kernel for OCP output channels."""
    (kh, kw), channels = kernel, stage.input[2]
    return kh * lanes_of(kw * channels, core) if is_augmented(stage, core) else kh * kw * lanes_of(channels, core)


def chunk_rows(stage: Stage, core: Core) -> int:
    """Weight bank rows of OCP output channels, all kernels."""
    return sum(part_rows(stage, kernel, core) for kernel, _ in kernel_parts(stage))


def weight_rows(stage: Stage, channels: int, core: Core) -> int:
    """Weight bank rows of some output channels."""
    return up(channels, core.output_channel_parallel) * chunk_rows(stage, core)


def holds_weights(stage: Stage, core: Core) -> bool:
    """Whether all weights fit at once."""
    return weight_rows(stage, stage.output[2], core) <= core.bank_depth


def parameters_fit(step: Step, plan: Plan, core: Core) -> bool:
    """Whether every block's weights and biases fit their banks."""
    made = block_lanes(step, plan, core)
    for stage in step.stages:
        cells = stage.window.kernel[0] * stage.window.kernel[1]
        if stage.op == "conv" and weight_rows(stage, min(plan.block, stage.output[2]), core) > core.bank_depth:
            return False
        if stage.op == "dwconv" and cells * made > core.bank_depth:
            return False
    return made * len(step.stages) <= core.bank_depth


def _halves(size: int, unit: int) -> list[int]:
    """The whole, then about half of it in whole units, down to one."""
    found, parts = [size], up(size, unit)
    while parts > 1:
        parts = up(parts, 2)
        found.append(min(parts * unit, size))
    return list(dict.fromkeys(found))


def plans(step: Step, core: Core, ahead: int) -> Iterator[Plan]:
    """Every plan worth a look, the largest tiles first."""
    height, width, channels = step.last.output
    window = step.first.window
    conv = step.first.op == "conv"
    splits = len(step.stages) == 1 or not step.last.window.overlaps(1)  # never compute a column twice
    unit = window.stride[1] * 4 if window.transposed else 1
    blocks = _halves(channels, core.output_channel_parallel)
    for cols in _halves(width, unit) if splits else [width]:
        for rows in _halves(height, row_unit(step, core)):
            for block in blocks:
                for made in _made_limits(step, rows, core):
                    yield Plan("weights", rows, cols, block, ahead, made)
                    if conv and block < channels:
                        yield Plan("features", rows, cols, block, ahead, made)


def _made_limits(step: Step, rows: int, core: Core) -> tuple[int, ...]:
    """A tile under a tall window asks for many rows of the map in between: they may be made strip by strip."""
    if len(step.stages) == 1:
        return (0,)
    asked = (rows - 1) * step.last.window.stride[0] + step.last.window.kernel[0]
    return (0, core.pixel_parallel) if asked > 2 * core.pixel_parallel else (0,)
