"""The simple fixed schedule: tile after tile, everything through DDR, one step at a time.

A step loads what it needs, computes, saves, and only then does the next step begin. It is the
baseline that a searched schedule must beat; its time is not the estimate's, which assumes overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dpuflow.compiler.compiled import Compiled, Kernel
from dpuflow.compiler.memory import MemoryMap, memory_map
from dpuflow.errors import CompileError
from dpuflow.ir.graph import Graph, Node, Shape
from dpuflow.ops.pool import average_factor
from dpuflow.program.instructions import NONLINEARS, QUEUES, Instruction, make
from dpuflow.target.arch import Core

Map = tuple[int, int, int]
LOAD, SAVE = 1, 8
MOST_OPERANDS = 4


@dataclass(frozen=True)
class Program:
    """A DPU kernel as virtual instructions for one image, with its memory."""

    kernel: Kernel
    core: Core
    layers: tuple[str, ...]
    instructions: tuple[Instruction, ...]
    memory: MemoryMap
    shapes: Mapping[str, Shape]


def map_of(shape: Shape) -> Map:
    """A tensor as (height, width, channels)."""
    return (shape[1], shape[2], shape[3]) if len(shape) == 4 else (1, 1, shape[-1])


def up(value: int, step: int) -> int:
    """``value / step`` rounded up."""
    return -(-value // step)


def bank_rows(core: Core, rows: int, cols: int, channels: int) -> int:
    """Rows of each bank that a box of a map takes (performance specification, section 4)."""
    return up(rows, core.pixel_parallel) * cols * up(channels, core.input_channel_parallel)


@dataclass(frozen=True)
class Tile:
    """A box of the output: first and end row, column, channel."""

    y0: int
    y1: int
    x0: int
    x1: int
    c0: int
    c1: int

    @property
    def size(self) -> Map:
        return self.y1 - self.y0, self.x1 - self.x0, self.c1 - self.c0


def _shrinking(size: int, step: int) -> Iterator[int]:
    """Sizes from the whole down to one: multiples of ``step`` first."""
    yield size
    part = size
    while part > 1:
        part = up(up(part, 2), step) * step if part > 2 * step else up(part, 2)
        yield part


def choose_tiles(core: Core, output: Map, channel_step: int, most_channels: int,
                 fits: Callable[[int, int, int], bool], where: str) -> list[Tile]:
    """Tiles of the largest size that fits, channels outermost; CompileError when not even one pixel fits."""
    h, w, c = output
    for channels in _shrinking(min(c, most_channels), channel_step):
        for cols in _shrinking(w, 1):
            for rows in _shrinking(h, core.pixel_parallel):
                if fits(rows, cols, channels):
                    return [Tile(y, min(y + rows, h), x, min(x + cols, w), k, min(k + channels, c))
                            for k in range(0, c, channels) for y in range(0, h, rows) for x in range(0, w, cols)]
    raise CompileError("not even one output pixel fits into the image banks", where=where, got=output,
                       remedy="split the layer's input channels, or use a core with more memory")


@dataclass(frozen=True)
class Window:
    """A sliding window: kernel, stride, dilation and pads (top, bottom, left, right)."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    def span(self, outputs: int, axis: int) -> int:
        """Input rows or columns under that many outputs."""
        return (outputs - 1) * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis] + 1

    def reach(self, first: int, end: int, size: int, axis: int) -> tuple[int, int, int, int]:
        """First and end input row (or column) of outputs first..end, and the pads before and behind."""
        start = first * self.stride[axis] - self.pads[2 * axis]
        stop = start + self.span(end - first, axis)
        return max(start, 0), min(stop, size), max(-start, 0), max(stop - size, 0)


class _Builder:
    """Collects the steps of one kernel."""

    def __init__(self, compiled: Compiled, kernel: Kernel) -> None:
        self.graph: Graph = compiled.graph
        self.core = compiled.core
        self.memory = memory_map(compiled.graph, kernel.nodes, kernel.inputs, kernel.outputs)
        self.layer = 0
        self.made: list[Instruction] = []

    def ddr(self, name: str, y: int, x: int, c: int) -> dict[str, int]:
        """Where a box of a tensor begins in DDR, and its strides."""
        place = self.memory.places[name]
        _, width, channels = map_of(self.graph.by_name[name].shape)
        return {"register": place.register, "offset": place.offset + (y * width + x) * channels + c,
                "row_stride": width * channels, "pixel_stride": channels}

    def load(self, name: str, box: Tile, base: int = 0) -> Instruction:
        rows, cols, channels = box.size
        return make("load_map", self.layer, {**self.ddr(name, box.y0, box.x0, box.c0), "group": 0, "base": base,
                                             "rows": rows, "cols": cols, "channels": channels})

    def save(self, name: str, box: Tile, group: int = 1) -> Instruction:
        rows, cols, channels = box.size
        return make("save_map", self.layer, {**self.ddr(name, box.y0, box.x0, box.c0), "group": group, "base": 0,
                                             "rows": rows, "cols": cols, "channels": channels})

    def step(self, loads: list[Instruction], compute: Instruction | None, save: Instruction) -> None:
        """Loads, one computation, one save; each waits for what is before it."""
        middle = 2 ** QUEUES.index(compute.queue) if compute else SAVE
        if self.made:
            loads[0] = replace(loads[0], wait=SAVE)
        loads[-1] = replace(loads[-1], signal=middle)
        self.made += loads
        if compute:
            self.made.append(replace(compute, wait=LOAD, signal=SAVE))
        self.made.append(replace(save, wait=middle if compute else LOAD, signal=LOAD))

    def parameters(self, name: str) -> int:
        """The offset of a constant in the parameter register."""
        return self.memory.places[name].offset

    def finished(self) -> tuple[Instruction, ...]:
        """All instructions; the last save gives no token, nobody would take it."""
        return (*self.made[:-1], replace(self.made[-1], signal=0)) if self.made else ()


def _pos(graph: Graph, name: str) -> int:
    fix = graph.by_name[name].fix
    assert fix is not None
    return fix.pos


def _sizes(prefix: str, group: int, size: Map) -> dict[str, int]:
    rows, cols, channels = size
    return {f"{prefix}_group": group, f"{prefix}_base": 0, f"{prefix}_rows": rows, f"{prefix}_cols": cols,
            f"{prefix}_channels": channels}


def _window_fields(window: Window, pads: tuple[int, int, int, int]) -> dict[str, int]:
    names = ("kernel_h", "kernel_w", "stride_h", "stride_w", "pad_top", "pad_bottom", "pad_left", "pad_right")
    return dict(zip(names, (*window.kernel, *window.stride, *pads), strict=True))


def _input_box(window: Window, tile: Tile, source: Map,
               channels: tuple[int, int]) -> tuple[Tile, tuple[int, int, int, int]]:
    y0, y1, top, bottom = window.reach(tile.y0, tile.y1, source[0], 0)
    x0, x1, left, right = window.reach(tile.x0, tile.x1, source[1], 1)
    return Tile(y0, y1, x0, x1, *channels), (top, bottom, left, right)


def _fits(core: Core, window: Window, source: Map, in_channels: Callable[[int], int], operands: int = 1,
          ) -> Callable[[int, int, int], bool]:
    def fits(rows: int, cols: int, channels: int) -> bool:
        taken = operands * bank_rows(core, min(window.span(rows, 0), source[0]), min(window.span(cols, 1), source[1]),
                                     in_channels(channels))
        return max(taken, bank_rows(core, rows, cols, channels)) <= core.bank_depth
    return fits


def _weighted_fields(graph: Graph, node: Node) -> dict[str, int]:
    acc_pos = _pos(graph, node.inputs[0]) + _pos(graph, node.inputs[1])
    has_bias = len(node.inputs) > 2
    return {"weight_base": 0, "bias_base": 0, "has_bias": int(has_bias), "shift_cut": acc_pos - _pos(graph, node.name),
            "shift_bias": acc_pos - _pos(graph, node.inputs[2]) if has_bias else 0, "out_pos": _pos(graph, node.name),
            "nonlinear": NONLINEARS.index(node.attrs.nonlinear), "dilation_h": node.attrs.dilation[0],
            "dilation_w": node.attrs.dilation[1]}


def _conv(build: _Builder, node: Node) -> None:
    """Output channels outermost: a chunk's weights stay while its tiles pass."""
    attrs, core, graph = node.attrs, build.core, build.graph
    kernel_h, kernel_w, per_group, outputs = graph.by_name[node.inputs[1]].shape
    window = Window((kernel_h, kernel_w), attrs.stride, attrs.dilation, tuple(attrs.padding))
    source, (h, w, _) = map_of(graph.by_name[node.inputs[0]].shape), map_of(node.shape)
    cells, group_outputs = kernel_h * kernel_w, outputs // attrs.groups
    depth = cells * up(per_group, core.input_channel_parallel)
    most = core.output_channel_parallel * (core.bank_depth // depth)
    if not most:
        raise CompileError("one output channel's weights do not fit into the weight banks", where=f"node '{node.name}'",
                           got=f"{depth} rows", expected=f"at most {core.bank_depth}")
    for group in range(attrs.groups):
        loaded = -1
        for tile in choose_tiles(core, (h, w, group_outputs), core.output_channel_parallel, most,
                                 _fits(core, window, source, lambda _: per_group), f"node '{node.name}'"):
            first = group * group_outputs
            tile = replace(tile, c0=tile.c0 + first, c1=tile.c1 + first)
            box, pads = _input_box(window, tile, source, (group * per_group, (group + 1) * per_group))
            loads = [build.load(node.inputs[0], box)]
            if tile.c0 != loaded:
                loads = [*_load_weights(build, node, tile, cells, per_group), *loads]
                loaded = tile.c0
            build.step(loads, make("conv", build.layer, {
                **_sizes("in", 0, box.size), **_sizes("out", 1, tile.size), **_window_fields(window, pads),
                **_weighted_fields(graph, node)}), build.save(node.name, tile))


def _load_weights(build: _Builder, node: Node, tile: Tile, cells: int, in_channels: int) -> list[Instruction]:
    made = [make("load_weights", build.layer, {
        "offset": build.parameters(node.inputs[1]) + tile.c0 * cells * in_channels, "base": 0,
        "out_channels": tile.c1 - tile.c0, "cells": cells, "in_channels": in_channels})]
    return made + _load_bias(build, node, tile)


def _load_bias(build: _Builder, node: Node, tile: Tile) -> list[Instruction]:
    if len(node.inputs) < 3:
        return []
    return [make("load_bias", build.layer, {"offset": build.parameters(node.inputs[2]) + tile.c0, "base": 0,
                                            "channels": tile.c1 - tile.c0})]


def _depthwise(build: _Builder, node: Node) -> None:
    attrs, core, graph = node.attrs, build.core, build.graph
    kernel_h, kernel_w, channels, multiplier = graph.by_name[node.inputs[1]].shape
    if multiplier != 1:
        raise CompileError("the schedule has no depthwise convolution with several outputs a channel",
                           where=f"node '{node.name}'", got=multiplier)
    window = Window((kernel_h, kernel_w), attrs.stride, attrs.dilation, tuple(attrs.padding))
    source, cells = map_of(graph.by_name[node.inputs[0]].shape), kernel_h * kernel_w
    most = core.input_channel_parallel * max(core.bank_depth // cells, 1)
    for tile in choose_tiles(core, map_of(node.shape), core.input_channel_parallel, most,
                             _fits(core, window, source, lambda c: c), f"node '{node.name}'"):
        box, pads = _input_box(window, tile, source, (tile.c0, tile.c1))
        loads = [make("load_dw_weights", build.layer, {
            "offset": build.parameters(node.inputs[1]) + tile.c0, "cell_stride": channels, "base": 0, "cells": cells,
            "channels": tile.c1 - tile.c0}), *_load_bias(build, node, tile), build.load(node.inputs[0], box)]
        build.step(loads, make("dwconv", build.layer, {
            **_sizes("in", 0, box.size), **_sizes("out", 1, tile.size), **_window_fields(window, pads),
            **_weighted_fields(graph, node)}), build.save(node.name, tile))


def _pool(build: _Builder, node: Node) -> None:
    attrs, graph = node.attrs, build.graph
    window = Window(attrs.kernel, attrs.stride, (1, 1), tuple(attrs.padding))
    source = map_of(graph.by_name[node.inputs[0]].shape)
    fields = {"in_pos": _pos(graph, node.inputs[0]), "out_pos": _pos(graph, node.name)}
    if node.op == "avg_pool":
        fields["factor"], fields["factor_shift"] = average_factor(attrs.kernel)
    for tile in choose_tiles(build.core, map_of(node.shape), build.core.input_channel_parallel, 2**30,
                             _fits(build.core, window, source, lambda c: c), f"node '{node.name}'"):
        box, pads = _input_box(window, tile, source, (tile.c0, tile.c1))
        build.step([build.load(node.inputs[0], box)], make(node.op, build.layer, {
            **_sizes("in", 0, box.size), **_sizes("out", 1, tile.size), **_window_fields(window, pads), **fields}),
            build.save(node.name, tile))


def _eltwise(build: _Builder, node: Node) -> None:
    graph, count = build.graph, len(node.inputs)
    if count > MOST_OPERANDS:
        raise CompileError("the schedule adds at most four maps at once", where=f"node '{node.name}'", got=count)
    output = map_of(node.shape)
    positions = [_pos(graph, name) for name in node.inputs] + [0] * (MOST_OPERANDS - count)
    for tile in choose_tiles(build.core, output, build.core.input_channel_parallel, 2**30,
                             _fits(build.core, Window(), output, lambda c: c, count), f"node '{node.name}'"):
        second = bank_rows(build.core, *tile.size)
        loads = [build.load(name, tile, at * second) for at, name in enumerate(node.inputs)]
        fields = {f"pos{at}": pos for at, pos in enumerate(positions)}
        build.step(loads, make(node.op, build.layer, {
            **_sizes("in", 0, tile.size), **_sizes("out", 1, tile.size), **fields, "operands": count,
            "second_base": second, "out_pos": _pos(graph, node.name),
            "nonlinear": NONLINEARS.index(node.attrs.nonlinear)}), build.save(node.name, tile))


def _activation(build: _Builder, node: Node) -> None:
    graph, output = build.graph, map_of(node.shape)
    fields = {"in_pos": _pos(graph, node.inputs[0]), "out_pos": _pos(graph, node.name),
              "nonlinear": NONLINEARS.index(node.op)}
    for tile in _copy_tiles(build, node, output):
        build.step([build.load(node.inputs[0], tile)], make("activation", build.layer, {
            **_sizes("in", 0, tile.size), **_sizes("out", 1, tile.size), **fields}), build.save(node.name, tile))


def _copy_tiles(build: _Builder, node: Node, size: Map) -> list[Tile]:
    return choose_tiles(build.core, size, build.core.input_channel_parallel, 2**30,
                        _fits(build.core, Window(), size, lambda c: c), f"node '{node.name}'")


def _same_bytes(build: _Builder, node: Node) -> None:
    """A reshape: nothing where it shares its operand's place, else a copy in the operand's shape."""
    places, source = build.memory.places, node.inputs[0]
    if places[node.name] == places[source]:
        return
    size = map_of(build.graph.by_name[source].shape)
    for tile in _copy_tiles(build, node, size):
        saved = make("save_map", build.layer, {
            **build.ddr(source, tile.y0, tile.x0, tile.c0), "group": 0, "base": 0,
            **dict(zip(("rows", "cols", "channels"), tile.size, strict=True))}).fields
        moved = places[node.name].offset - places[source].offset
        saved |= {"register": places[node.name].register, "offset": saved["offset"] + moved}
        build.step([build.load(source, tile)], None, make("save_map", build.layer, saved))


def _concat(build: _Builder, node: Node) -> None:
    """Each operand copied to its channels of the result."""
    if node.attrs.axis not in (len(node.shape) - 1, -1) or any(
            build.graph.by_name[name].fix != node.fix for name in node.inputs):
        raise CompileError("the schedule joins channels of one position only", where=f"node '{node.name}'")
    first = 0
    for name in node.inputs:
        size = map_of(build.graph.by_name[name].shape)
        for tile in _copy_tiles(build, node, size):
            there = replace(tile, c0=tile.c0 + first, c1=tile.c1 + first)
            build.step([build.load(name, tile)], None, build.save(node.name, there, 0))
        first += size[2]


_SCHEDULE: Mapping[str, Callable[[_Builder, Node], Any]] = {
    "conv2d": _conv, "depthwise_conv2d": _depthwise, "max_pool": _pool, "avg_pool": _pool, "add": _eltwise,
    "mul": _eltwise, "relu": _activation, "relu6": _activation, "leaky_relu": _activation, "reshape": _same_bytes,
    "identity": _same_bytes, "concat": _concat,
}


def schedule_kernel(compiled: Compiled, kernel: Kernel) -> Program:
    """The program of one DPU kernel; CompileError naming a layer that this schedule cannot place."""
    build = _Builder(compiled, kernel)
    for build.layer, name in enumerate(kernel.nodes):
        node = compiled.graph.by_name[name]
        if node.op not in _SCHEDULE:
            raise CompileError(f"the schedule has no {node.op} yet", where=f"node '{name}'",
                               remedy="use --engine reference or fast, which run it")
        _SCHEDULE[node.op](build, node)
    shapes = {name: compiled.graph.by_name[name].shape for name in (*kernel.nodes, *kernel.inputs)}
    return Program(kernel, compiled.core, kernel.nodes, build.finished(), build.memory, shapes)
