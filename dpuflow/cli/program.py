"""``dpuflow program``: the virtual program of a quantized or compiled file, verified, as text or bytes."""

from __future__ import annotations

import argparse
from pathlib import Path

from dpuflow.compiler.console import VIRTUAL
from dpuflow.compiler.driver import compile_graph
from dpuflow.compiler.xmodel import PROGRAM
from dpuflow.errors import ConfigError
from dpuflow.files import atomic_path
from dpuflow.model import load, quantized_graph
from dpuflow.program.instructions import QUEUES, decode, encode, to_text
from dpuflow.program.schedule import Program, schedule_kernel
from dpuflow.program.verify import verify_program
from dpuflow.target.made_for import made_for
from dpuflow.target.select import find_target


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """The command's options."""
    parser = commands.add_parser("program", help="the virtual instructions of a file, verified")
    parser.add_argument("file", metavar="FILE", help=".xmodel, deploy_model.pb, quantize_eval_model.pb or zoo:NAME")
    parser.add_argument("--target", help="the core (default: the file's own, else zedboard)")
    parser.add_argument("--text", action="store_true", help="print every instruction, not only how many")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT.bin", help="write the binary form")
    return parser


def _summary(program: Program) -> str:
    counts = {queue: sum(i.queue == queue for i in program.instructions) for queue in QUEUES}
    cycles, ddr_bytes = program.timeline.total_cycles, sum(program.ddr.sizes_bytes.values())
    return (f"kernel {program.kernel.name} on {program.core.name}: {len(program.instructions)} virtual instructions ("
            + ", ".join(f"{queue} {count}" for queue, count in counts.items())
            + f"), {len(program.ddr.parameters)} parameter bytes, {ddr_bytes} bytes of DDR; "
            f"verified\n  predicted {cycles:.0f} cycles, {cycles / program.clock_mhz / 1e3:.4f} ms at "
            f"{program.clock_mhz:g} MHz; the simple fixed schedule takes {program.baseline_cycles:.0f} cycles"
            + "".join(f"\n  {note}" for note in program.notes))


def run(options: argparse.Namespace) -> None:
    """Schedule, verify, then print or write."""
    model = load(options.file)
    core = find_target(options.target) if options.target else made_for(model) or find_target("zedboard")
    compiled = compile_graph(quantized_graph(model), core, model.graph.name or "net")
    programs = [verify_program(schedule_kernel(compiled, kernel)) for kernel in compiled.dpu_kernels]
    parts = model.xir.dpu_subgraphs if model.xir else ()
    held = [len(decode(bytes(part.get(PROGRAM)))) for part in parts if part.get(PROGRAM)]
    print(VIRTUAL)
    if held:
        counts = ", ".join(map(str, held))
        print(f"the file holds what it was compiled to: {counts} virtual instructions; scheduled anew:")
    for program in programs:
        print(_summary(program))
        if options.text:
            print("".join(f"# layer {at}: {' + '.join(names)}\n" for at, names in enumerate(program.layers))
                  + to_text(program.instructions), end="")
    if options.output:
        if len(programs) != 1:
            raise ConfigError("the binary form holds one kernel", where=options.file, got=f"{len(programs)} kernels")
        with atomic_path(options.output) as path:
            path.write_bytes(encode(programs[0].instructions))
        print(f"wrote {options.output}")
