"""The program engine: the virtual instructions on modelled memory; CPU layers on the reference kernels.

Bit-equal to the reference engine. The network is compiled for the core that is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

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
        self.programs = {kernel.id: schedule_kernel(self.compiled, kernel) for kernel in self.compiled.dpu_kernels}
        for program in self.programs.values():
            verify_program(program)

    @property
    def description(self) -> str:
        """What runs, and for which core."""
        count = sum(len(program.instructions) for program in self.programs.values())
        return f"program: {count} virtual instructions for {self.compiled.core.name}, not the vendor's code"

    def compute(self, values: dict[str, Array], wanted: tuple[str, ...]) -> Mapping[str, Array]:
        """Kernel after kernel."""
        for kernel in self.compiled.kernels:
            if kernel.is_dpu:
                values.update(_run(self.programs[kernel.id], self.graph, values))
                continue
            for name in kernel.nodes:
                node = self.graph.by_name[name]
                for operand in self.graph.operands(node):
                    if operand.data is not None:
                        values[operand.name] = operand.data
                values[name] = compute_node(self.graph, node, values)
        return values


def _run(program: Program, graph: Graph, values: Mapping[str, Array]) -> dict[str, Array]:
    """Every tensor that a kernel leaves in DDR, for all images."""
    machine = Machine(program)
    places = program.memory.places
    batch = values[program.kernel.inputs[0]].shape[0]
    made: dict[str, list[Array]] = {name: [] for name in program.kernel.nodes}
    for index in range(batch):
        for name in program.kernel.inputs:
            data = values[name][index].reshape(-1)
            machine.ddr[places[name].register][places[name].offset:places[name].offset + data.size] = data
        machine.run()
        for name, images in made.items():
            shape, place = graph.by_name[name].shape, places[name]
            flat = machine.ddr[place.register][place.offset:place.offset + int(np.prod(shape))]
            images.append(flat.reshape(shape[1:]).copy())
    return {name: np.stack(images) for name, images in made.items()}
