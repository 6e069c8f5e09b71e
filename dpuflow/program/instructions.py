"""The virtual instructions: one literal table drives encoding, decoding, printing and parsing.

Four queues run in order, each on its own: LOAD, CONV, ALU, SAVE. ``wait`` is a bit mask of queues of
which an instruction first takes one token each; ``signal`` one of queues to which it gives a token
each when it is done. A token goes from one queue to one other, first in first out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dpuflow.errors import FormatError
from dpuflow.program.banks import BOX

QUEUES = ("LOAD", "CONV", "ALU", "SAVE")


def _box(prefix: str = "") -> tuple[str, ...]:
    return tuple(prefix + name for name in BOX)


_DDR = ("register", "offset", "row_stride", "pixel_stride")
_WINDOW = ("kernel_h", "kernel_w", "stride_h", "stride_w", "pad_top", "pad_bottom", "pad_left", "pad_right")
_DILATION = ("dilation_h", "dilation_w")
_WEIGHTED = ("weight_base", "bias_base", "has_bias", "shift_cut", "shift_bias", "out_pos", "nonlinear")
_OPERANDS = (*_box("in_"), *_box("in1_"), *_box("in2_"), *_box("in3_"), "operands", "pos0", "pos1", "pos2", "pos3")

# Operation -> (code, queue, fields). Every field is a signed 32-bit number.
OPERATIONS: Mapping[str, tuple[int, str, tuple[str, ...]]] = {
    # a box of a feature map between DDR and an image bank group; addresses in bytes and bank rows
    "load_map": (1, "LOAD", (*_DDR, *_box())),
    "save_map": (2, "SAVE", (*_DDR, *_box())),
    # weights of some output channels (OHWI, dense) and biases into the parameter banks; ``cells`` rows of
    # ``in_channels`` values a channel (with channel augmentation: kernel rows of kernel_w * input channels)
    "load_weights": (3, "LOAD", ("offset", "base", "out_channels", "cells", "in_channels")),
    "load_dw_weights": (4, "LOAD", ("offset", "cell_stride", "base", "cells", "channels")),
    "load_bias": (5, "LOAD", ("offset", "base", "channels")),
    # ``out_row_step``: rows of the output map from one written row to the next (transposed convolutions)
    "conv": (6, "CONV", (*_box("in_"), *_box("out_"), "out_row_step", *_WINDOW, *_DILATION, "augmented", *_WEIGHTED)),
    "dwconv": (7, "ALU", (*_box("in_"), *_box("out_"), *_WINDOW, *_DILATION, *_WEIGHTED)),
    "max_pool": (8, "ALU", (*_box("in_"), *_box("out_"), *_WINDOW, "in_pos", "out_pos")),
    "avg_pool": (9, "ALU", (*_box("in_"), *_box("out_"), *_WINDOW, "factor", "factor_shift", "in_pos", "out_pos")),
    # up to four operands of one size; on the convolution's queue: their time adds to it (performance
    # specification, section 4)
    "add": (10, "CONV", (*_OPERANDS, *_box("out_"), "out_pos", "nonlinear")),
    "mul": (11, "CONV", (*_OPERANDS, *_box("out_"), "out_pos", "nonlinear")),
    # every pixel factor_h x factor_w times; the first row and column may begin within a repeated pixel
    "upsample": (12, "ALU", (*_box("in_"), *_box("out_"), "factor_h", "factor_w", "skip_h", "skip_w")),
}
# What each operation does, and what its numbers mean: compile/INSTRUCTIONS.md is made from these.
MEANINGS: Mapping[str, str] = {
    "load_map": "a box of a map from DDR into an image group; lanes behind the last channel become zero",
    "save_map": "a box of a map from an image group into DDR",
    "load_weights": "weights of some output channels: channel o stands in bank o mod OCP, behind those of o - OCP",
    "load_dw_weights": "weights of a depthwise convolution, one bank row of ICP channels a kernel cell and group",
    "load_bias": "biases, ICP channels a bank row",
    "conv": "convolution (or one part of a transposed one) with bias, nonlinearity and the one rounding",
    "dwconv": "depthwise convolution with bias, nonlinearity and the one rounding",
    "max_pool": "largest value of each window; padding never wins",
    "avg_pool": "sum of each window times factor / 2**factor_shift, rounded once",
    "add": "sum of up to four maps, each at its position, nonlinearity, rounded once",
    "mul": "product of up to four maps, nonlinearity, rounded once",
    "upsample": "every pixel repeated",
}
FIELD_MEANINGS: Mapping[str, str] = {
    "register": "DDR register: 0 parameters, 1 workspace, 2 inputs, 3 outputs",
    "offset": "first byte from the register's begin",
    "row_stride": "bytes from a row to the next, 0 for one row",
    "pixel_stride": "bytes from a pixel to the next, 0 for one column",
    "cell_stride": "bytes from a kernel cell's weights to the next's, 0 for one cell",
    "group": "image group",
    "bank": "bank of the box's first row (row y of a map stands in bank y mod PP)",
    "base": "bank row of the first pixel's first channel group, or of the first weights or biases",
    "strip_stride": "bank rows from a strip of PP map rows to the next, 0 for one strip",
    "col_stride": "bank rows from a column to the next, 0 for one column",
    "wrap_after": "strips after which the box goes on at wrap_base, 0 if it does not wrap",
    "wrap_base": "bank row at which the box goes on",
    "rows": "rows of the box", "cols": "columns of the box", "channels": "channels",
    "operands": "how many operands there are; numbers of the others are 0",
    "pos": "position of an operand",
    "out_row_step": "rows of the result from one written row to the next, 0 for one row",
    "cells": "runs of weights an output channel: kernel cells, with augmentation kernel rows",
    "out_channels": "output channels", "in_channels": "input channels, with augmentation times the kernel's width",
    "kernel_h": "kernel rows", "kernel_w": "kernel columns", "stride_h": "vertical stride, 1 for one output row",
    "stride_w": "horizontal stride, 1 for one output column", "pad_top": "padded rows above the box",
    "pad_bottom": "padded rows below", "pad_left": "padded columns before", "pad_right": "padded columns behind",
    "dilation_h": "rows from tap to tap, 1 for one kernel row",
    "dilation_w": "columns from tap to tap, 1 for one kernel column",
    "augmented": "1: a kernel row of all input channels is one run of lanes",
    "weight_base": "bank row of the weights", "bias_base": "bank row of the biases",
    "has_bias": "1 with bias", "shift_cut": "input plus weight position less output position",
    "shift_bias": "input plus weight position less bias position", "out_pos": "output position",
    "in_pos": "input position", "nonlinear": "0 none, 1 relu, 2 relu6, 3 leaky_relu (26/256)",
    "factor": "numerator N of the average's N / 2**M", "factor_shift": "its M",
    "factor_h": "copies down", "factor_w": "copies across", "skip_h": "copies of the first row that are left out",
    "skip_w": "copies of the first column that are left out",
}
MOST_OPERANDS = 4
OPERAND_PREFIXES = ("in_", "in1_", "in2_", "in3_")
NONLINEARS = ("none", "relu", "relu6", "leaky_relu")
_BY_CODE = {code: name for name, (code, _, _) in OPERATIONS.items()}
_HEAD = struct.Struct("<HBBI")
MAGIC = b"dpuflow virtual program 2\n"


@dataclass(frozen=True)
class Instruction:
    """One instruction: its operation, tokens, the layer it belongs to (an index), its fields' values."""

    op: str
    wait: int
    signal: int
    layer: int
    values: tuple[int, ...]

    @property
    def queue(self) -> str:
        """The queue that runs it."""
        return OPERATIONS[self.op][1]

    @property
    def fields(self) -> dict[str, int]:
        """Values by field name."""
        return dict(zip(OPERATIONS[self.op][2], self.values, strict=True))


def make(op: str, layer: int, fields: Mapping[str, int], wait: int = 0, signal: int = 0) -> Instruction:
    """An instruction from named fields; every field of the operation must be given, and no other."""
    names = OPERATIONS[op][2]
    if set(fields) != set(names):
        raise FormatError(f"wrong fields for '{op}'", got=sorted(set(fields) ^ set(names)))
    return Instruction(op, wait, signal, layer, tuple(int(fields[name]) for name in names))


def _mask_text(mask: int) -> str:
    return "+".join(queue for at, queue in enumerate(QUEUES) if mask & 2**at) or "-"


def _mask(text: str, where: str) -> int:
    if text == "-":
        return 0
    if not set(text.split("+")) <= set(QUEUES):
        raise FormatError("an unknown queue", where=where, got=text, expected=", ".join(QUEUES))
    return sum(2 ** QUEUES.index(queue) for queue in text.split("+"))


def to_text(instructions: Iterable[Instruction]) -> str:
    """One line an instruction: operation, tokens, layer, fields by name."""
    return "".join(
        f"{i.op} wait={_mask_text(i.wait)} signal={_mask_text(i.signal)} layer={i.layer} "
        + " ".join(f"{name}={value}" for name, value in i.fields.items()) + "\n" for i in instructions)


def from_text(text: str) -> tuple[Instruction, ...]:
    """What :func:`to_text` wrote; FormatError naming the line."""
    return tuple(_parse_line(line, f"line {at}") for at, line in enumerate(text.splitlines(), 1) if line.strip())


def _parse_line(line: str, where: str) -> Instruction:
    op, *words = line.split()
    pairs = dict(word.partition("=")[::2] for word in words)
    if op not in OPERATIONS or len(pairs) != len(words):
        raise FormatError("not an instruction", where=where, got=line[:60])
    try:
        wait, signal = (_mask(pairs.pop(name), where) for name in ("wait", "signal"))
        numbers = {name: int(value) for name, value in pairs.items()}
        return make(op, numbers.pop("layer"), numbers, wait, signal)
    except (KeyError, ValueError) as error:
        raise FormatError(f"a malformed instruction ({error})", where=where, got=line[:60]) from None


def encode(instructions: Iterable[Instruction]) -> bytes:
    """Little-endian bytes: magic, then for each instruction its head and its fields."""
    parts = [MAGIC]
    for i in instructions:
        parts.append(_HEAD.pack(OPERATIONS[i.op][0], i.wait, i.signal, i.layer))
        parts.append(struct.pack(f"<{len(i.values)}i", *i.values))
    return b"".join(parts)


def decode(data: bytes) -> tuple[Instruction, ...]:
    """What :func:`encode` wrote; FormatError for anything else."""
    if not data.startswith(MAGIC):
        raise FormatError("not a virtual program", got=data[:16])
    return tuple(_decoded(data))


def _decoded(data: bytes) -> Iterator[Instruction]:
    at = len(MAGIC)
    while at < len(data):
        if len(data) - at < _HEAD.size:
            raise FormatError("the program ends within an instruction", where=f"byte {at}")
        code, wait, signal, layer = _HEAD.unpack_from(data, at)
        if code not in _BY_CODE or wait > 15 or signal > 15:
            raise FormatError("not an instruction", where=f"byte {at}", got=f"code {code}")
        count = len(OPERATIONS[_BY_CODE[code]][2])
        if len(data) - at < _HEAD.size + 4 * count:
            raise FormatError("the program ends within an instruction", where=f"byte {at}")
        yield Instruction(_BY_CODE[code], wait, signal, layer, struct.unpack_from(f"<{count}i", data, at + _HEAD.size))
        at += _HEAD.size + 4 * count
