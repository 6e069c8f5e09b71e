"""Fuzz targets for virtual programs and core configurations: what is done with an input, seeds, mutations."""

from __future__ import annotations

import dataclasses
import random
import struct
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from dpuflow.compiler.driver import compile_graph
from dpuflow.program.instructions import MAGIC, OPERATIONS, Instruction, decode, encode, from_text, to_text
from dpuflow.program.machine import Machine
from dpuflow.program.schedule import Program, schedule_kernel
from dpuflow.program.verify import verify_program
from dpuflow.target.dcf import parse_dcf
from dpuflow.target.select import find_target
from dpuflow.zoo import quantized_network

_NUMBERS = (0, 1, -1, 2, 3, 7, 8, 255, 256, 2047, 2048, 65535, 2**31 - 1, -(2**31))


@lru_cache
def _program() -> Program:
    compiled = compile_graph(quantized_network("lenet"), find_target("DPUCZDX8G_ISA1_B512"), "lenet")
    return schedule_kernel(compiled, compiled.dpu_kernels[0])


def read(data: bytes) -> None:
    """Decode, print and parse; then verify, and run what the verifier lets through."""
    instructions = decode(data)
    assert encode(instructions) == data and from_text(to_text(instructions)) == instructions
    program = verify_program(dataclasses.replace(_program(), instructions=instructions))
    Machine(program).run()


def seeds() -> list[bytes]:
    """One program."""
    return [encode(_program().instructions)]


def _changed(instruction: Instruction, rng: random.Random) -> Instruction:
    choice = rng.randrange(10)
    if choice == 0:
        return dataclasses.replace(instruction, wait=rng.randrange(16))
    if choice == 1:
        return dataclasses.replace(instruction, signal=rng.randrange(16))
    if choice == 2:
        return dataclasses.replace(instruction, layer=rng.choice((0, 1, 99, 2**32 - 1)))
    values = list(instruction.values)
    at = rng.randrange(len(values))
    values[at] = rng.choice((*_NUMBERS, values[at] + 1 & 0x7FFFFFFF, max(values[at], 1) - 1))
    return dataclasses.replace(instruction, values=tuple(values))


def mutator() -> Callable[[bytes, random.Random], bytes]:
    """Changes fields, tokens and order, sometimes bytes."""
    def mutate(data: bytes, rng: random.Random) -> bytes:
        made = list(decode(data))
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            at = rng.randrange(len(made))
            choice = rng.randrange(8)
            if choice == 0 and len(made) > 1:
                del made[at]
            elif choice == 1:
                made.insert(rng.randrange(len(made)), made[at])
            else:
                made[at] = _changed(made[at], rng)
        changed = bytearray(encode(made))
        if rng.random() < 0.2:
            for _ in range(rng.randrange(1, 4)):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
        if rng.random() < 0.05:
            del changed[rng.randrange(len(changed)):]
        return bytes(changed) if rng.random() < 0.99 else MAGIC + struct.pack("<HBBI", len(OPERATIONS) + 9, 0, 0, 0)
    return mutate


# -- core configurations -----------------------------------------------------------------------------------------

def _varint(value: int) -> bytes:
    out, value = bytearray(), value % 2**64
    while value > 127:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def dcf_seeds() -> list[bytes]:
    """A ZedBoard's and an Ultra96's file, written by the tests' builder from the message table."""
    root = Path(__file__).resolve().parent.parent / "tests"
    sys.path.append(str(root))
    from target.test_dcf import BOARD_CHANGES, dcf

    return [dcf(), dcf(**BOARD_CHANGES["ultra96"])]


def read_dcf(data: bytes) -> None:
    """What `--dcf` and `--target core.dcf` do with a file."""
    parse_dcf(data, "fuzz")


def dcf_mutator() -> Callable[[bytes, random.Random], bytes]:
    """Bytes changed, cut, doubled; numbers replaced by large ones."""
    def mutate(data: bytes, rng: random.Random) -> bytes:
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(len(changed) + 1)
            choice = rng.randrange(5)
            if choice == 0 and at < len(changed):
                changed[at] = rng.randrange(256)
            elif choice == 1:
                del changed[at:at + rng.randrange(1, 20)]
            elif choice == 2:
                changed[at:at] = _varint(rng.choice(_NUMBERS))
            elif choice == 3:
                changed[at:at] = changed[at:at + rng.randrange(1, 30)]
            elif at < len(changed):
                changed[at] = changed[at] ^ 1 << rng.randrange(8)
        return bytes(changed)
    return mutate
