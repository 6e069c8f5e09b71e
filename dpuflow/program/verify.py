"""Proves of a program, without running it: bounds, order, no race, no deadlock, every output once.

Two instructions that touch the same cell, one of them writing, must be ordered by the queues and
tokens; that is decided with vector clocks, so it holds for every timing the core may have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dpuflow.compiler.memory import INPUTS, OUTPUTS, PARAMETERS
from dpuflow.errors import CompileError
from dpuflow.ir.graph import Array
from dpuflow.program.banks import box_cells
from dpuflow.program.instructions import OPERAND_PREFIXES, QUEUES, Instruction
from dpuflow.program.machine import queues_of
from dpuflow.program.maps import up
from dpuflow.program.schedule import Program
from dpuflow.program.verify_fields import check_fields, wrong
from dpuflow.target.arch import Core

Fields = Mapping[str, int]
_OUTSIDE: Array = np.array([-1])
_MOST_SIZE = 1 << 20
HOST = 0  # who wrote parameters and inputs before the first instruction


@dataclass(frozen=True)
class Access:
    """Cells of a memory space that an instruction reads or writes."""

    space: str
    cells: Array
    writes: bool


def _image(program: Program, f: Fields, prefix: str, row_step: int = 1) -> Array:
    """Cells (bank * depth + row) of a box in an image group; an impossible box has cells outside."""
    core = program.core
    sizes = [f[f"{prefix}{name}"] for name in ("rows", "cols", "channels")]
    others = [f[f"{prefix}{name}"] for name in ("base", "strip_stride", "col_stride", "wrap_after", "wrap_base")]
    if min(sizes) < 1 or min(others) < 0 or not 0 <= f[f"{prefix}group"] < core.image_bank_groups:
        return _OUTSIDE
    if not 0 <= f[f"{prefix}bank"] < core.pixel_parallel or max(sizes) > _MOST_SIZE:
        return _OUTSIDE
    if sizes[0] * sizes[1] * up(sizes[2], core.input_channel_parallel) > core.pixel_parallel * core.bank_depth:
        return _OUTSIDE
    if not _is_plain(f, prefix, row_step, core):
        return _OUTSIDE
    bank, row = box_cells(core, f, prefix, row_step)
    if row.min() < 0 or row.max() >= core.bank_depth:
        return _OUTSIDE
    return np.asarray(bank * core.bank_depth + row).reshape(-1)


def _is_plain(f: Fields, prefix: str, row_step: int, core: Core) -> bool:
    """Whether numbers that make no difference are zero, and no pixel stands in another's place."""
    strips = (f[f"{prefix}bank"] + row_step * (f[f"{prefix}rows"] - 1)) // core.pixel_parallel + 1
    wrap, lanes = f[f"{prefix}wrap_after"], up(f[f"{prefix}channels"], core.input_channel_parallel)
    cols, strip, column = f[f"{prefix}cols"], f[f"{prefix}strip_stride"], f[f"{prefix}col_stride"]
    return ((strip == 0) == (strips == 1) and (column == 0) == (cols == 1)
            and (wrap < strips if wrap else f[f"{prefix}wrap_base"] == 0)
            and (cols == 1 or column >= lanes) and (strips == 1 or strip >= (cols - 1) * column + lanes))


def _rows(program: Program, base: int, count: int, banks: int = 1) -> Array:
    """Cells of ``count`` rows of each of ``banks`` parameter banks."""
    depth = program.core.bank_depth
    if base < 0 or count < 1 or base + count > depth or banks < 1:
        return _OUTSIDE
    bank, row = np.ogrid[:banks, base:base + count]
    return (bank * depth + row).reshape(-1)


def _ddr(program: Program, register: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    size = program.ddr.sizes_bytes.get(register, 0) if register != PARAMETERS else len(program.ddr.parameters)
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    plain = all((stride == 0) == (length == 1) for length, stride in zip(shape[:-1], strides[:-1], strict=True))
    if min(shape) < 1 or offset < 0 or last >= size or min(strides) < 0 or not plain:
        return _OUTSIDE
    cells = np.int64(offset)
    for axis, (length, stride) in enumerate(zip(shape, strides, strict=True)):
        cells = cells + np.arange(length).reshape(-1, *[1] * (len(shape) - axis - 1)) * stride
    return np.asarray(cells).reshape(-1)


def _box(program: Program, f: Fields) -> Array:
    return _ddr(program, f["register"], f["offset"], (f["rows"], f["cols"], f["channels"]),
                (f["row_stride"], f["pixel_stride"], 1))


def _weight_rows(program: Program, base: int, outputs: int, cells: int, lanes: int) -> Array:
    """Cells of ``outputs`` channels' weights: ``cells`` runs of ``lanes`` values each."""
    core = program.core
    if min(outputs, cells, lanes) < 1:
        return _OUTSIDE
    rows = cells * up(lanes, core.input_channel_parallel) * up(outputs, core.output_channel_parallel)
    return _rows(program, base, rows, min(outputs, core.output_channel_parallel))


def _parameters(program: Program, f: Fields, shape: tuple[int, ...], strides: tuple[int, ...]) -> Access:
    return Access("ddr0", _ddr(program, PARAMETERS, f["offset"], shape, strides), False)


def accesses(program: Program, i: Instruction) -> list[Access]:
    """What an instruction reads, then what it writes."""
    f, lanes = i.fields, program.core.input_channel_parallel
    if i.op in ("load_map", "save_map"):
        ddr = Access(f"ddr{f['register']}", _box(program, f), i.op == "save_map")
        image = Access(f"image{f['group']}", _image(program, f, ""), i.op == "load_map")
        return [ddr, image] if i.op == "load_map" else [image, ddr]
    if i.op == "load_weights":
        size = f["out_channels"] * f["cells"] * f["in_channels"]
        rows = _weight_rows(program, f["base"], f["out_channels"], f["cells"], f["in_channels"])
        return [_parameters(program, f, (size,), (1,)), Access("weights", rows, True)]
    if i.op == "load_dw_weights":
        return [_parameters(program, f, (f["cells"], f["channels"]), (f["cell_stride"], 1)),
                Access("dw_weights", _rows(program, f["base"], f["cells"] * up(f["channels"], lanes)), True)]
    if i.op == "load_bias":
        return [_parameters(program, f, (f["channels"],), (1,)),
                Access("bias", _rows(program, f["base"], up(f["channels"], lanes)), True)]
    return _computing(program, i, f, lanes)


def _computing(program: Program, i: Instruction, f: Fields, lanes: int) -> list[Access]:
    prefixes = OPERAND_PREFIXES[:f.get("operands", 1)]
    found = [Access(f"image{f[prefix + 'group']}", _image(program, f, prefix), False) for prefix in prefixes]
    kh, kw, inputs = f.get("kernel_h", 1), f.get("kernel_w", 1), f["in_channels"]
    if i.op == "conv":
        cells, run = (kh, kw * inputs) if f["augmented"] else (kh * kw, inputs)
        rows = _weight_rows(program, f["weight_base"], f["out_channels"], cells, run)
        found.append(Access("weights", rows, False))
    if i.op == "dwconv":
        found.append(Access("dw_weights", _rows(program, f["weight_base"], kh * kw * up(inputs, lanes)), False))
    if f.get("has_bias"):
        found.append(Access("bias", _rows(program, f["bias_base"], up(f["out_channels"], lanes)), False))
    row_step = f.get("out_row_step", 0) or 1
    return [*found, Access(f"image{f['out_group']}", _image(program, f, "out_", row_step), True)]


Boxes = dict[tuple[str, int], tuple[int, ...]]


def shapes_written(i: Instruction) -> Boxes:
    """What an instruction leaves in the parameter banks: (space, base) -> the shape it has there."""
    f = i.fields
    if i.op == "load_weights":
        return {("weights", f["base"]): (f["out_channels"], f["cells"], f["in_channels"])}
    if i.op == "load_dw_weights":
        return {("dw_weights", f["base"]): (f["cells"], f["channels"])}
    return {("bias", f["base"]): (f["channels"],)} if i.op == "load_bias" else {}


def shapes_read(i: Instruction) -> Boxes:
    """What an instruction takes from the parameter banks, and the shape it takes it for."""
    f, read = i.fields, Boxes()
    if i.op == "conv":
        cells, run = f["kernel_h"], f["kernel_w"] * f["in_channels"]
        if not f["augmented"]:
            cells, run = cells * f["kernel_w"], f["in_channels"]
        read["weights", f["weight_base"]] = (f["out_channels"], cells, run)
    if i.op == "dwconv":
        read["dw_weights", f["weight_base"]] = (f["kernel_h"] * f["kernel_w"], f["in_channels"])
    return read | ({("bias", f["bias_base"]): (f["out_channels"],)} if f.get("has_bias") else {})


class _Memory:
    """Who wrote and who read each cell last, and which shapes lie on the chip."""

    def __init__(self, program: Program) -> None:
        core, sizes = program.core, program.ddr.sizes_bytes
        cells = {f"image{group}": core.pixel_parallel * core.bank_depth for group in range(core.image_bank_groups)}
        cells |= {"weights": core.output_channel_parallel * core.bank_depth, "bias": core.bank_depth,
                  "dw_weights": core.bank_depth}
        cells |= {f"ddr{register}": size for register, size in sizes.items()}
        cells[f"ddr{PARAMETERS}"] = len(program.ddr.parameters)
        self.writer = {space: np.full(count, -1, np.int32) for space, count in cells.items()}
        self.readers = {space: np.full((len(QUEUES), count), -1, np.int32) for space, count in cells.items()
                        if not space.startswith("ddr")}
        for register in (PARAMETERS, INPUTS):
            self.writer[f"ddr{register}"][:] = HOST
        self.written_out = np.zeros(sizes[OUTPUTS], np.int32)
        self.boxes: Boxes = {}
        self.ddr_readers = {f"ddr{register}": np.full((len(QUEUES), size), -1, np.int32)
                            for register, size in sizes.items() if register not in (PARAMETERS, INPUTS)}


def _ordered_run(program: Program) -> tuple[list[int], Array]:
    """An order that queues and tokens allow, and every instruction's vector clock; CompileError on a deadlock."""
    queues = [[at for at, i in enumerate(program.instructions) if i.queue == queue] for queue in QUEUES]
    clocks = np.zeros((len(program.instructions) + 1, len(QUEUES)), np.int64)
    heads, tokens, order = [0] * len(QUEUES), dict[tuple[str, str], list[int]](), list[int]()
    latest = np.zeros((len(QUEUES), len(QUEUES)), np.int64)
    while len(order) < len(program.instructions):
        before = len(order)
        for number, queue in enumerate(QUEUES):
            if heads[number] == len(queues[number]):
                continue
            at = queues[number][heads[number]]
            i = program.instructions[at]
            if not all(tokens.get((giver, queue)) for giver in queues_of(i.wait)):
                continue
            for giver in queues_of(i.wait):
                latest[number] = np.maximum(latest[number], clocks[tokens[giver, queue].pop(0)])
            heads[number] += 1
            latest[number][number] = heads[number]
            clocks[at + 1] = latest[number]
            for taker in queues_of(i.signal):
                tokens.setdefault((queue, taker), []).append(at + 1)
            order.append(at)
        if len(order) == before:
            stuck = next(queues[n][heads[n]] for n in range(len(QUEUES)) if heads[n] < len(queues[n]))
            raise wrong("the queues wait for each other", program.instructions[stuck], stuck)
    if any(tokens.values()):
        raise CompileError("the program is wrong: a token is given and never taken", where=program.kernel.name)
    return order, clocks


def verify_program(program: Program) -> Program:
    """The program, if it is right; CompileError naming the first instruction that is not."""
    order, clocks = _ordered_run(program)
    queue_of = np.array([-1, *(QUEUES.index(i.queue) for i in program.instructions)])
    memory = _Memory(program)
    for at in order:
        i = program.instructions[at]
        check_fields(program, i, at)

        def before(others: Array, number: int = at + 1) -> bool:
            """Whether all of these instructions are done before this one begins (or are this one)."""
            others = others[(others > HOST) & (others != number)]
            return bool(np.all(clocks[number][queue_of[others]] >= clocks[others, queue_of[others]]))

        for access in accesses(program, i):
            _check_access(memory, access, i, at, before)
        for place, shape in shapes_read(i).items():
            if memory.boxes.get(place) != shape:
                raise wrong(f"it takes another shape from {place[0]} than lies there", i, at, shape,
                             memory.boxes.get(place))
        memory.boxes |= shapes_written(i)
    _check_outputs(program, memory)
    return program


def _check_access(memory: _Memory, access: Access, i: Instruction, at: int, before: object) -> None:
    assert callable(before)
    space, cells = access.space, access.cells
    if space not in memory.writer or cells.min() < 0 or cells.max() >= len(memory.writer[space]):
        raise wrong(f"an address outside of {space}", i, at)
    writers = np.unique(memory.writer[space][cells])
    if not before(writers):
        raise wrong(f"it may meet an earlier write in {space}", i, at)
    readers = memory.readers.get(space, memory.ddr_readers.get(space))
    if not access.writes:
        if writers[0] < HOST:
            raise wrong(f"it reads what nobody wrote in {space}", i, at)
        if readers is not None:
            readers[QUEUES.index(i.queue), cells] = at + 1
        return
    if readers is None:
        raise wrong(f"it writes into {space}, which is the host's", i, at)
    if not before(np.unique(readers[:, cells])):
        raise wrong(f"it overwrites in {space} what may still be read", i, at)
    memory.writer[space][cells] = at + 1
    if space == f"ddr{OUTPUTS}":
        np.add.at(memory.written_out, cells, 1)


def _check_outputs(program: Program, memory: _Memory) -> None:
    for name in program.kernel.outputs:
        storage = program.ddr.storages.get(name)
        if storage is None or storage.register != OUTPUTS:
            continue
        counts = memory.written_out[storage.offset:storage.offset + storage.size_bytes]
        if not (counts == 1).all():
            raise CompileError("the program is wrong: an output is not written exactly once", where=name,
                               got=f"{int(counts.min())} to {int(counts.max())} times")
