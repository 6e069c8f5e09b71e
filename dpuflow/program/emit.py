"""A step's instructions under a plan: tile after tile, block after block, into the builder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dpuflow.ir.graph import Graph, Node
from dpuflow.ops.pool import average_factor
from dpuflow.program.banks import EMPTY_BOX, Region
from dpuflow.program.builder import Builder, Touch
from dpuflow.program.chip import Area, Box, Buffers, Chip, ddr_fields
from dpuflow.program.ddr import View
from dpuflow.program.fusion import ELTWISE, Stage, Step
from dpuflow.program.instructions import NONLINEARS, OPERAND_PREFIXES
from dpuflow.program.maps import Pair, Part, lanes_of, strips_of
from dpuflow.program.plans import (
    Move,
    Plan,
    column_tiles,
    cut,
    holds_weights,
    input_columns,
    is_augmented,
    kernel_parts,
    moves,
    part_rows,
    weight_rows,
)


class StepWriter:
    """Writes one step."""

    def __init__(self, builder: Builder, chip: Chip, graph: Graph, layer: int, step: Step, plan: Plan,
                 buffers: Buffers, saves: bool = True) -> None:
        self.builder, self.chip, self.core, self.graph = builder, chip, chip.core, graph
        self.layer, self.step, self.plan, self.buffers, self.saves = layer, step, plan, buffers, saves
        self.tiles = moves(step, plan, self.core)
        self.areas, self.others = self._areas(buffers.inputs), self._areas(buffers.others)
        self.between = Area(buffers.between, chip.open(buffers.between)) if buffers.between else None
        self.result = Area(buffers.result, chip.open(buffers.result))
        self.held: dict[tuple[str, int, Pair], tuple[int, Touch]] = {}
        self.loaded: set[tuple[str, Box]] = set()
        self._reserve()

    def _areas(self, regions: Mapping[str, Region]) -> dict[str, Area]:
        resident, on_chip = self.chip.resident, self.buffers.on_chip
        return {name: Area(region, resident[name][1] if name in on_chip else self.chip.open(region))
                for name, region in regions.items()}

    def _reserve(self) -> None:
        """What stays for the whole step must not overtake itself in its ring."""
        channels = self.step.last.output[2]
        if self._keeps_all_weights():
            self.chip.weights.reserve(weight_rows(self.step.first, channels, self.core))
        self.chip.bias.reserve(sum(lanes_of(stage.output[2], self.core) for stage in self.step.stages))

    def write(self) -> None:
        """All passes: blocks of channels and column tiles in the plan's order."""
        channels = self.step.last.output[2]
        blocks = cut(channels, self.plan.block) if self.plan.order == "weights" else [(0, channels)]
        xs = column_tiles(self.step, self.plan)
        for block in blocks:
            if not self._keeps_all_weights():
                self.held.clear()
            for x in xs:
                self._pass(x, block)
        if self.buffers.keeps:
            self.chip.resident[self.step.name] = (self.result.region, self.result.track)

    def _keeps_all_weights(self) -> bool:
        return self.step.first.op == "conv" and holds_weights(self.step.first, self.core)

    def _pass(self, x: Pair, block: Pair) -> None:
        between_x, input_x = input_columns(self.step, x)
        self._aim(self.areas, input_x[0], block[0] if self.step.first.channelwise else 0)
        self._aim(self.others, x[0], block[0])
        if self.between:
            self.between = replace(self.between, x0=between_x[0], c0=block[0])
        if not self.buffers.keeps:
            self.result = replace(self.result, x0=x[0], c0=block[0])
        for tile in self.tiles:
            self._tile(tile, x, between_x, input_x, block)
        self._advance()

    def _aim(self, areas: dict[str, Area], x0: int, c0: int) -> None:
        for name, area in areas.items():
            if name not in self.buffers.on_chip:
                areas[name] = replace(area, x0=x0, c0=c0)

    def _advance(self) -> None:
        """The next pass goes on where this one ended in each ring that is not the whole map."""
        heights = ((self.areas, self.step.first.input[0]), (self.others, self.step.last.output[0]))
        for areas, height in heights:
            for name, area in areas.items():
                areas[name] = area if name in self.buffers.on_chip else self._moved(area, height)
        if self.between:
            self.between = self._moved(self.between, self.step.first.output[0])
        self.result = self._moved(self.result, self.step.last.output[0])

    def _moved(self, area: Area, height: int) -> Area:
        strips = strips_of(height, self.core)
        return replace(area, shift=(area.shift + strips) % area.region.ring) if area.region.ring < strips else area

    def _tile(self, tile: Move, x: Pair, between_x: Pair, input_x: Pair, block: Pair) -> None:
        if self.builder.serial:
            self.builder.barrier()
        first, last = self.step.first, self.step.last
        made_blocks = self._blocks(block)
        self._load_parameters(first, made_blocks[0])
        channels = block if first.channelwise else (0, first.input[2])
        for name, area in self.areas.items():
            self._load(name, area, (tile.loaded, input_x, channels))
        target = self.between or self.result
        if tile.made[0] < tile.made[1]:
            for one in made_blocks:
                self._compute(first, (tile.made, between_x, one), target)
        if tile.rows[0] == tile.rows[1]:
            return
        if self.between:
            self._load_parameters(last, block)
            for name, area in self.others.items():
                self._load(name, area, (tile.rows, x, block), "other")
            self._compute(last, (tile.rows, x, block), self.result)
        if self.saves:
            self._save((tile.rows, x, block))

    def _blocks(self, block: Pair) -> list[Pair]:
        """The blocks that the first stage computes one after the other in a tile."""
        if self.plan.order == "weights" or self.step.first.channelwise:
            return [block]
        return cut(block[1], self.plan.block)

    def _load(self, name: str, area: Area, at: Box, role: str = "input") -> None:
        (y0, y1), _, _ = at
        whole = area.region.ring >= strips_of(self.chip.ddr.placing.views[name].size[0], self.core)
        key = f"{role} {name}"
        if y0 >= y1 or name in self.buffers.on_chip or (whole and (key, at) in self.loaded):
            return
        if whole:  # a pass over other columns or channels takes the place of this one's
            self.loaded = {(other, box) for other, box in self.loaded if other != key or box[1:] == at[1:]}
            self.loaded.add((key, at))
        view = self.chip.ddr.placing.views[name]
        self.builder.emit("load_map", self.layer, {**ddr_fields(self.chip.ddr, view, at), **area.box(self.core, at)},
                          [self.chip.storage(view, at)], [area.touch(self.core, at)])

    def _save(self, at: Box) -> None:
        view = self.chip.ddr.placing.views[self.step.name]
        fields = {**ddr_fields(self.chip.ddr, view, at), **self.result.box(self.core, at)}
        read, wrote = self.result.touch(self.core, at), self.chip.storage(view, at)
        self.builder.emit("save_map", self.layer, fields, [read], [wrote])

    # -- parameters ------------------------------------------------------------------------------------------

    def _load_parameters(self, stage: Stage, block: Pair) -> None:
        """Weights and biases of a block, unless they are there."""
        if stage.op not in ("conv", "dwconv") or (stage.node.name, block[0], (0, 0)) in self.held:
            return
        if not (stage is self.step.first and self._keeps_all_weights()) and stage.op == "conv":
            self.held = {key: value for key, value in self.held.items() if key[0] != stage.node.name}
        if stage.op == "conv":
            self._load_weights(stage, block)
        else:
            self._load_dw_weights(stage, block)
        if len(stage.node.inputs) > 2:
            self._load_bias(stage, block)

    def _load_weights(self, stage: Stage, block: Pair) -> None:
        channels, weights = stage.input[2], stage.node.inputs[1]
        chunks = weight_rows(stage, block[1] - block[0], self.core) // sum(
            part_rows(stage, kernel, self.core) for kernel, _ in kernel_parts(stage))
        augmented = is_augmented(stage, self.core)
        for (kh, kw), part in kernel_parts(stage):
            base, track = self.chip.weights.take(part_rows(stage, (kh, kw), self.core) * chunks)
            cells, lanes = (kh, kw * channels) if augmented else (kh * kw, channels)
            offset = self.chip.ddr.constants[weights, part] + block[0] * kh * kw * channels
            self.builder.emit("load_weights", self.layer, {
                "offset": offset, "base": base, "out_channels": block[1] - block[0], "cells": cells,
                "in_channels": lanes}, [], [(track, ())])
            self.held[stage.node.name, block[0], part] = (base, (track, ()))

    def _load_dw_weights(self, stage: Stage, block: Pair) -> None:
        cells, channels = stage.window.kernel[0] * stage.window.kernel[1], stage.input[2]
        base, track = self.chip.dw_weights.take(cells * lanes_of(block[1] - block[0], self.core))
        self.builder.emit("load_dw_weights", self.layer, {
            "offset": self.chip.ddr.constants[stage.node.inputs[1], (0, 0)] + block[0],
            "cell_stride": channels if cells > 1 else 0, "base": base, "cells": cells,
            "channels": block[1] - block[0]}, [], [(track, ())])
        self.held[stage.node.name, block[0], (0, 0)] = (base, (track, ()))

    def _load_bias(self, stage: Stage, block: Pair) -> None:
        base, track = self.chip.bias.take(lanes_of(block[1] - block[0], self.core))
        self.builder.emit("load_bias", self.layer, {
            "offset": self.chip.ddr.constants[stage.node.inputs[2], (0, 0)] + block[0], "base": base,
            "channels": block[1] - block[0]}, [], [(track, ())])
        self.held[stage.node.name, block[0], (-1, -1)] = (base, (track, ()))

    # -- computing -------------------------------------------------------------------------------------------

    def _compute(self, stage: Stage, at: Box, target: Area) -> None:
        if stage.op in ELTWISE:
            self._eltwise(stage, at, target)
            return
        source = self.areas[self.step.inputs[0]] if stage is self.step.first else self.between
        assert source is not None
        self._load_parameters(stage, at[2])
        for down in stage.window.parts(*at[0], stage.input[0], 0):
            for right in stage.window.parts(*at[1], stage.input[1], 1):
                self._window(stage, at, source, target, (down, right))

    def _window(self, stage: Stage, at: Box, source: Area, target: Area, parts: tuple[Part, Part]) -> None:
        down, right = parts
        channels = at[2] if stage.channelwise else (0, stage.input[2])
        read = (down.start, down.stop), (right.start, right.stop), channels
        wrote = _written(down), _written(right), at[2]
        fields = {**_prefixed("in_", source.box(self.core, read)),
                  **_prefixed("out_", target.box(self.core, wrote, (down.step, right.step)))}
        touched = [source.touch(self.core, read)]
        if stage.op == "upsample":
            factor = stage.window.stride
            fields |= {"factor_h": factor[0], "factor_w": factor[1], "skip_h": down.first % factor[0],
                       "skip_w": right.first % factor[1]}
        else:
            fields |= _window_fields(stage, down, right)
        if stage.op == "conv":
            fields |= {"out_row_step": down.step if down.count > 1 else 0,
                       "augmented": int(is_augmented(stage, self.core))}
        if stage.op in ("conv", "dwconv"):
            numbers, parameters = self._weighted(stage, at[2][0], (down.phase, right.phase))
            fields |= numbers
            touched += parameters
        elif stage.op != "upsample":
            fields |= _pool_fields(self.graph, stage.node)
        self.builder.emit(stage.op, self.layer, fields, touched, [target.touch(self.core, wrote)])

    def _weighted(self, stage: Stage, channel: int, part: Pair) -> tuple[dict[str, int], list[Touch]]:
        graph, node = self.graph, stage.node
        acc_pos = _pos(graph, node.inputs[0]) + _pos(graph, node.inputs[1])
        has_bias = len(node.inputs) > 2
        base, touch = self.held[node.name, channel, part]
        bias = self.held[node.name, channel, (-1, -1)] if has_bias else None
        return {"weight_base": base, "bias_base": bias[0] if bias else 0, "has_bias": int(has_bias),
                "shift_cut": acc_pos - _pos(graph, node.name),
                "shift_bias": acc_pos - _pos(graph, node.inputs[2]) if has_bias else 0,
                "out_pos": _pos(graph, node.name), "nonlinear": NONLINEARS.index(node.attrs.nonlinear),
                }, [touch, *([bias[1]] if bias else [])]

    def _eltwise(self, stage: Stage, at: Box, target: Area) -> None:
        fields: dict[str, int] = {}
        touched = []
        for index, prefix in enumerate(OPERAND_PREFIXES):
            name = stage.operands[index] if index < len(stage.operands) else ""
            fields |= _prefixed(prefix, EMPTY_BOX) | {f"pos{index}": _pos(self.graph, name) if name else 0}
            if name:
                area = (self.areas if stage is self.step.first else self.others).get(name, self.between)
                assert area is not None
                fields |= _prefixed(prefix, area.box(self.core, at))
                touched.append(area.touch(self.core, at))
        fields |= {"operands": len(stage.operands), "out_pos": _pos(self.graph, stage.node.name),
                   "nonlinear": NONLINEARS.index(stage.node.attrs.nonlinear)}
        fields |= _prefixed("out_", target.box(self.core, at))
        self.builder.emit(stage.op, self.layer, fields, touched, [target.touch(self.core, at)])


def _written(part: Part) -> Pair:
    return part.first, part.first + (part.count - 1) * part.step + 1


def _prefixed(prefix: str, fields: Mapping[str, int]) -> dict[str, int]:
    return {prefix + name: value for name, value in fields.items()}


def _pos(graph: Graph, name: str) -> int:
    fix = graph.by_name[name].fix
    assert fix is not None
    return fix.pos


def _window_fields(stage: Stage, down: Part, right: Part) -> dict[str, int]:
    """Numbers without a use, the stride of one window and the dilation of one tap, are 1."""
    stride = (1, 1) if stage.window.transposed else stage.window.stride
    fields = {"kernel_h": down.kernel, "kernel_w": right.kernel, "stride_h": stride[0] if down.count > 1 else 1,
              "stride_w": stride[1] if right.count > 1 else 1, "pad_top": down.before, "pad_bottom": down.after,
              "pad_left": right.before, "pad_right": right.after}
    if stage.op in ("conv", "dwconv"):
        dilation = stage.window.dilation
        fields |= {"dilation_h": dilation[0] if down.kernel > 1 else 1,
                   "dilation_w": dilation[1] if right.kernel > 1 else 1}
    return fields


def _pool_fields(graph: Graph, node: Node) -> dict[str, int]:
    fields = {"in_pos": _pos(graph, node.inputs[0]), "out_pos": _pos(graph, node.name)}
    if node.op == "avg_pool":
        fields["factor"], fields["factor_shift"] = average_factor(node.attrs.kernel)
    return fields


def write_copies(builder: Builder, chip: Chip, layer: int, copies: Sequence[tuple[View, View]], region: Region,
                 rows: int) -> None:
    """Move maps from view to view through a region, ``rows`` rows at a time."""
    core = chip.core
    for source, target in copies:
        area = Area(region, chip.open(region))
        height, width, channels = source.size
        for x in cut(width, region.cols):
            for y in cut(height, rows):
                if builder.serial:
                    builder.barrier()
                at = y, x, (0, channels)
                aimed = replace(area, x0=x[0])
                builder.emit("load_map", layer, {**ddr_fields(chip.ddr, source, at), **aimed.box(core, at)},
                             [chip.storage(source, at)], [aimed.touch(core, at)])
                builder.emit("save_map", layer, {**ddr_fields(chip.ddr, target, at), **aimed.box(core, at)},
                             [aimed.touch(core, at)], [chip.storage(target, at)])
