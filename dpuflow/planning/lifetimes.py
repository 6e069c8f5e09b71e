"""How long each map of a program occupies its bytes of DDR: from the step that makes it to the last that reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dpuflow.compiler.memory import INPUTS, OUTPUTS, PARAMETERS, WORKSPACE
from dpuflow.program.schedule import Program

REGISTER_NAMES: Mapping[int, str] = {PARAMETERS: "parameters", WORKSPACE: "workspace", INPUTS: "inputs",
                                     OUTPUTS: "outputs"}


@dataclass(frozen=True)
class Lifetime:
    """A map's bytes in memory: from ``offset`` of ``register``, during the program's steps ``first`` to ``last``."""

    tensor: str
    register: int
    offset: int
    size_bytes: int
    first: int
    last: int


def lifetimes(program: Program) -> tuple[Lifetime, ...]:
    """Every storage in DDR; maps that stay on the chip have none. Inputs lie there from the start, outputs to the
    end."""
    touched: dict[str, list[int]] = {}
    views = program.ddr.placing.views
    for at, choice in enumerate(program.choices):
        for name in (*choice.loads, *choice.saves):
            touched.setdefault(views[name].storage, []).append(at)
    end, made = len(program.choices) - 1, []
    for name, storage in program.ddr.storages.items():
        steps = touched.get(name, [0])
        first = 0 if storage.register == INPUTS else min(steps)
        last = end if storage.register == OUTPUTS else max(steps)
        made.append(Lifetime(name, storage.register, storage.offset, storage.size_bytes, first, last))
    return tuple(sorted(made, key=lambda life: (life.first, life.register, life.offset)))
