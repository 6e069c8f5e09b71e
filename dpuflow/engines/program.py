"""The program engine: the virtual instructions on modelled memory; CPU layers on the reference kernels.

Bit-equal to the reference engine. The network is compiled for the core that is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dpuflow.compiler.compiled import Compiled, Kernel
from dpuflow.compiler.driver import compile_graph
from dpuflow.engines.base import Engine
from dpuflow.engines.reference import compute_node
from dpuflow.ir.graph import Array, Graph
from dpuflow.program.machine import Machine
from dpuflow.program.schedule import Program, schedule_kernel
from dpuflow.program.verify import verify_program
from dpuflow.target.arch import Core


class ProgramEngine(Engine):
    """Runs image after image; every program is verified before its first run."""

    name = "program"

    def __init__(self, graph: Graph, core: Core) -> None:
        self.compiled = compile_graph(graph, core, graph.name or "net")
        super().__init__(self.compiled.graph)
        self.programs = {kernel.id: _scheduled(self.compiled, kernel) for kernel in self.compiled.dpu_kernels}

    @property
    def description(self) -> str:
        """What runs, for which core, and how long it would take."""
        count = sum(len(program.instructions) for program in self.programs.values())
        return (f"program: {count} virtual instructions for {self.compiled.core.name}, not the vendor's code; "
                f"{self.cycles:.0f} cycles an image predicted, not run on hardware")

    @property
    def cycles(self) -> float:
        """Cycles of the DPU for one image, counted by the program's clock."""
        return sum(program.timeline.total_cycles for program in self.programs.values())

    def compute(self, values: dict[str, Array], wanted: tuple[str, ...]) -> Mapping[str, Array]:
        """Kernel after kernel. A map that would stay on the chip is also written to memory if it is wanted."""
        for kernel in self.compiled.kernels:
            if kernel.is_dpu:
                values.update(self._run(kernel, values, wanted))
                continue
            for name in kernel.nodes:
                node = self.graph.by_name[name]
                for operand in self.graph.operands(node):
                    if operand.data is not None:
                        values[operand.name] = operand.data
                values[name] = compute_node(self.graph, node, values)
        return values

    def _run(self, kernel: Kernel, values: Mapping[str, Array], wanted: tuple[str, ...]) -> dict[str, Array]:
        inside = frozenset(wanted) & frozenset(kernel.nodes) - frozenset(kernel.outputs)
        program = _scheduled(self.compiled, kernel, inside) if inside else self.programs[kernel.id]
        return run_program(program, self.graph, values, (*kernel.outputs, *inside))


def _scheduled(compiled: Compiled, kernel: Kernel, keep: frozenset[str] = frozenset()) -> Program:
    return verify_program(schedule_kernel(compiled, kernel, keep))


def run_program(program: Program, graph: Graph, values: Mapping[str, Array],
                names: tuple[str, ...]) -> dict[str, Array]:
    """The maps ``names`` that a kernel leaves in DDR, for all images."""
    machine, ddr = Machine(program), program.ddr
    batch = values[program.kernel.inputs[0]].shape[0]
    made: dict[str, list[Array]] = {name: [] for name in names}
    for index in range(batch):
        for name in program.kernel.inputs:
            storage, data = ddr.storages[name], values[name][index].reshape(-1)
            machine.ddr[storage.register][storage.offset:storage.offset + data.size] = data
        machine.run()
        for name, images in made.items():
            images.append(_seen(machine, name).reshape(graph.by_name[name].shape[1:]))
    return {name: np.stack(images) for name, images in made.items()}


def _seen(machine: Machine, name: str) -> Array:
    """A map out of DDR, by its view."""
    view = machine.program.ddr.placing.views[name]
    storage = machine.program.ddr.storages[view.storage]
    flat = machine.ddr[storage.register][storage.offset + view.offset:]
    shown: Array = np.lib.stride_tricks.as_strided(flat, view.size, (view.row_stride, view.pixel_stride, 1))
    return np.array(shown)
