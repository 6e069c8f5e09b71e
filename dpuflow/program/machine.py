"""Runs a program on modelled DDR and banks of the true size, tokens and all.

Shares the arithmetic's primitives with the other engines, never whole layers. Banks start with
noise, so that what was never written shows in the bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.errors import EngineError
from dpuflow.ir.graph import Array, Fix
from dpuflow.ops.activation import nonlinear_requantize
from dpuflow.ops.base import Padding, windows
from dpuflow.program.banks import box_cells
from dpuflow.program.instructions import NONLINEARS, OPERAND_PREFIXES, QUEUES
from dpuflow.program.maps import up
from dpuflow.program.schedule import Program

Fields = Mapping[str, int]


class Machine:
    """One core with its banks, and the DDR registers of one kernel."""

    def __init__(self, program: Program) -> None:
        core, self.program = program.core, program
        self.pp, self.icp, self.ocp = core.pixel_parallel, core.input_channel_parallel, core.output_channel_parallel
        noise = np.random.default_rng(0)

        def bank(*shape: int) -> Array:
            return noise.integers(-128, 128, shape, np.int8)

        self.image = bank(core.image_bank_groups, self.pp, core.bank_depth, self.icp)
        self.weights = bank(self.ocp, core.bank_depth, self.icp)
        self.bias, self.dw_weights = bank(core.bank_depth, self.icp), bank(core.bank_depth, self.icp)
        self.ddr = {register: bank(size) for register, size in program.ddr.sizes_bytes.items()}
        self.ddr[0] = np.frombuffer(program.ddr.parameters, np.int8)

    def run(self) -> None:
        """Every instruction in an order that the tokens allow; EngineError on a deadlock."""
        waiting = {queue: [i for i in self.program.instructions if i.queue == queue] for queue in QUEUES}
        heads = dict.fromkeys(QUEUES, 0)
        tokens: dict[tuple[str, str], int] = {}
        while any(heads[queue] < len(waiting[queue]) for queue in QUEUES):
            ready = [queue for queue in QUEUES if heads[queue] < len(waiting[queue])
                     and all(tokens.get((giver, queue), 0) for giver in queues_of(waiting[queue][heads[queue]].wait))]
            if not ready:
                raise EngineError("the program's queues wait for each other", where=self.program.kernel.name)
            for queue in ready:
                instruction = waiting[queue][heads[queue]]
                for giver in queues_of(instruction.wait):
                    tokens[giver, queue] -= 1
                EXECUTE[instruction.op](self, instruction.fields)
                for taker in queues_of(instruction.signal):
                    tokens[queue, taker] = tokens.get((queue, taker), 0) + 1
                heads[queue] += 1

    def read(self, f: Fields, prefix: str) -> Array:
        """A map (rows, cols, channels) out of an image group."""
        bank, row = box_cells(self.program.core, f, prefix)
        rows, cols, channels = f[f"{prefix}rows"], f[f"{prefix}cols"], f[f"{prefix}channels"]
        return np.asarray(self.image[f[f"{prefix}group"]][bank, row]).reshape(rows, cols, -1)[..., :channels]

    def write(self, f: Fields, values: Array, prefix: str = "out_", row_step: int = 1) -> None:
        """A map into an image group; lanes beyond the last channel become zero."""
        rows, cols, channels = values.shape
        padded = np.zeros((rows, cols, up(channels, self.icp) * self.icp), np.int8)
        padded[..., :channels] = values
        bank, row = box_cells(self.program.core, f, prefix, row_step)
        self.image[f[f"{prefix}group"]][bank, row] = padded.reshape(rows, cols, -1, self.icp)


def queues_of(mask: int) -> tuple[str, ...]:
    """The queues of a mask."""
    return tuple(queue for at, queue in enumerate(QUEUES) if mask & 2**at)


def _box(machine: Machine, f: Fields) -> Any:
    """A view of a box in DDR, (rows, cols, channels)."""
    flat = machine.ddr[f["register"]]
    shape = (f["rows"], f["cols"], f["channels"])
    return np.lib.stride_tricks.as_strided(flat[f["offset"]:], shape, (f["row_stride"], f["pixel_stride"], 1))


def _load_map(machine: Machine, f: Fields) -> None:
    machine.write(f, _box(machine, f), "")


def _save_map(machine: Machine, f: Fields) -> None:
    _box(machine, f)[...] = machine.read(f, "")


def _load_weights(machine: Machine, f: Fields) -> None:
    """Output channel o stands in bank o mod OCP, behind those of o - OCP."""
    outputs, cells, inputs, groups = f["out_channels"], f["cells"], f["in_channels"], up(f["in_channels"], machine.icp)
    data = machine.ddr[0][f["offset"]:f["offset"] + outputs * cells * inputs].reshape(outputs, cells, inputs)
    padded = np.zeros((outputs, cells, groups * machine.icp), np.int8)
    padded[..., :inputs] = data
    bank, row = _weight_cells(machine, f["base"], outputs, cells * groups)
    machine.weights[bank, row] = padded.reshape(outputs, cells * groups, machine.icp)


def _weight_cells(machine: Machine, base: int, outputs: int, depth: int) -> tuple[Array, Array]:
    o, k = np.ogrid[:outputs, :depth]
    return o % machine.ocp + 0 * k, base + o // machine.ocp * depth + k


def _lanes(machine: Machine, values: Array) -> Array:
    """Values per channel as bank rows of ICP lanes."""
    padded = np.zeros((*values.shape[:-1], up(values.shape[-1], machine.icp) * machine.icp), np.int8)
    padded[..., :values.shape[-1]] = values
    rows: Array = padded.reshape(*values.shape[:-1], -1, machine.icp)
    return rows


def _load_bias(machine: Machine, f: Fields) -> None:
    rows = _lanes(machine, machine.ddr[0][f["offset"]:f["offset"] + f["channels"]])
    machine.bias[f["base"]:f["base"] + len(rows)] = rows


def _load_dw_weights(machine: Machine, f: Fields) -> None:
    flat = machine.ddr[0][f["offset"]:]
    data = np.lib.stride_tricks.as_strided(flat, (f["cells"], f["channels"]), (f["cell_stride"], 1))
    rows = _lanes(machine, data).reshape(-1, machine.icp)
    machine.dw_weights[f["base"]:f["base"] + len(rows)] = rows


def _columns(machine: Machine, f: Fields, fill: int = 0) -> Array:
    """Every window of the input map, (rows, cols, kernel_h, kernel_w, channels)."""
    padding = Padding(f["pad_top"], f["pad_bottom"], f["pad_left"], f["pad_right"])
    x = machine.read(f, "in_")[np.newaxis]
    wide = x if not fill else np.asarray(x, np.int64)
    found: Array = windows(wide, (f["kernel_h"], f["kernel_w"]), (f["stride_h"], f["stride_w"]), padding,
                           (f.get("dilation_h", 1), f.get("dilation_w", 1)), fill=fill)[0]
    return found


def _finish(machine: Machine, f: Fields, acc: Array) -> None:
    """Bias, nonlinearity, the one rounding (arithmetic specification, section 3), into the output group."""
    acc_pos = f["shift_cut"] + f["out_pos"]
    if f["has_bias"]:
        channels = f["out_channels"]
        rows = machine.bias[f["bias_base"]:f["bias_base"] + up(channels, machine.icp)]
        fine = max(0, -f["shift_bias"])  # a bias finer than the accumulator scales that up
        acc = fixed.shift_up(acc, fine) + fixed.shift_up(rows.reshape(-1)[:channels], max(0, f["shift_bias"]))
        acc_pos += fine
    values = nonlinear_requantize(acc, acc_pos, NONLINEARS[f["nonlinear"]], Fix(f["out_pos"]))
    machine.write(f, values, row_step=f.get("out_row_step", 1) or 1)


def _conv(machine: Machine, f: Fields) -> None:
    columns = _columns(machine, f)
    rows, cols = columns.shape[:2]
    cells, inputs = f["kernel_h"] * f["kernel_w"], f["in_channels"]
    if f["augmented"]:  # a kernel row is one run of lanes
        cells, inputs = f["kernel_h"], f["kernel_w"] * f["in_channels"]
    outputs, depth = f["out_channels"], cells * up(inputs, machine.icp)
    bank, row = _weight_cells(machine, f["weight_base"], outputs, depth)
    weights = machine.weights[bank, row].reshape(outputs, cells, -1)[..., :inputs].reshape(outputs, -1)
    _finish(machine, f, fixed.exact_matmul(columns.reshape(rows * cols, -1), weights.T).reshape(rows, cols, outputs))


def _dwconv(machine: Machine, f: Fields) -> None:
    columns = _columns(machine, f)
    cells, channels = f["kernel_h"] * f["kernel_w"], f["in_channels"]
    groups = up(channels, machine.icp)
    weights = machine.dw_weights[f["weight_base"]:f["weight_base"] + cells * groups].reshape(cells, -1)[:, :channels]
    flat = columns.reshape(*columns.shape[:2], cells, channels)
    _finish(machine, f, np.einsum("yxkc,kc->yxc", flat, weights, dtype=np.int64))


def _max_pool(machine: Machine, f: Fields) -> None:
    largest = _columns(machine, f, -(2**40)).max(axis=(2, 3))
    machine.write(f, fixed.requantize(largest, f["in_pos"], f["out_pos"]))


def _avg_pool(machine: Machine, f: Fields) -> None:
    sums = _columns(machine, f).sum(axis=(2, 3), dtype=np.int64) * f["factor"]
    values = fixed.requantize(sums, f["in_pos"] + f["factor_shift"], f["out_pos"])
    machine.write(f, values)


def _operands(machine: Machine, f: Fields) -> list[tuple[Array, int]]:
    return [(machine.read(f, OPERAND_PREFIXES[at]), f[f"pos{at}"]) for at in range(f["operands"])]


def _add(machine: Machine, f: Fields) -> None:
    operands = _operands(machine, f)
    finest = max(pos for _, pos in operands)
    total = sum(fixed.shift_up(values, finest - pos) for values, pos in operands)
    _write_result(machine, f, np.asarray(total), finest)


def _mul(machine: Machine, f: Fields) -> None:
    operands = _operands(machine, f)
    product = np.ones((), np.int64)
    for values, _ in operands:
        product = product * values
    _write_result(machine, f, product, sum(pos for _, pos in operands))


def _write_result(machine: Machine, f: Fields, acc: Array, pos: int) -> None:
    machine.write(f, nonlinear_requantize(acc, pos, NONLINEARS[f["nonlinear"]], Fix(f["out_pos"])))


def _upsample(machine: Machine, f: Fields) -> None:
    wide = machine.read(f, "in_").repeat(f["factor_h"], axis=0).repeat(f["factor_w"], axis=1)
    machine.write(f, wide[f["skip_h"]:][:f["out_rows"], f["skip_w"]:][:, :f["out_cols"]])


EXECUTE: Mapping[str, Callable[[Machine, Fields], None]] = {
    "load_map": _load_map, "save_map": _save_map, "load_weights": _load_weights, "load_dw_weights": _load_dw_weights,
    "load_bias": _load_bias, "conv": _conv, "dwconv": _dwconv, "max_pool": _max_pool, "avg_pool": _avg_pool,
    "add": _add, "mul": _mul, "upsample": _upsample,
}

