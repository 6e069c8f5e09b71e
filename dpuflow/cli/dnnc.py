"""``dnnc``: DNNDK's compiler command (board specification, section 1.1).

It writes ``<net>.xmodel`` with its manifest where the vendor's tool writes ELF files: silicon runs
only the vendor's code.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dpuflow.cli.common import add_debug, run_command
from dpuflow.errors import ConfigError

if TYPE_CHECKING:
    from dpuflow.target.arch import Core

_ZYNQ_7000_PORT_BITS = 64

# Options of the vendor's tool that change nothing here, and why.
_WITHOUT_EFFECT = {
    "--dump": "`dpuflow show` prints the graph", "--abi": "an xmodel holds no machine code",
    "--split-io-mem": "inputs and outputs have registers of their own in any case",
}


def _notices(options: argparse.Namespace, core: Core) -> list[str]:
    """What there is to say of options before compiling."""
    said = [f"[DNNC][Warning] option {flag} has no effect here: {why}" for flag, why in _WITHOUT_EFFECT.items()
            if getattr(options, flag.strip("-").replace("-", "_")) is not None]
    if options.mode == "debug":
        said.append("[DNNC][Warning] mode debug has no effect here: one program serves both, and "
                    "`dpuflow emulate --all-tensors` shows every layer")
    if options.cpu_arch == "arm64" and core.hp_port_bits <= _ZYNQ_7000_PORT_BITS:
        said.append("[DNNC][Warning] --cpu_arch arm64 on a board of the Zynq-7000: the vendor's tool needs arm32 there")
    return said


def _parser() -> argparse.ArgumentParser:
    from dpuflow import __version__

    parser = argparse.ArgumentParser(prog="dnnc", allow_abbrev=False,
                                     description="Compile a deploy graph into kernels for DPU and CPU.")
    add = parser.add_argument
    add("--version", action="version", version=f"dnnc (dpuflow {__version__})")
    add("--parser", default="tensorflow", choices=("tensorflow", "caffe"))
    add("--frozen_pb", default="", help="deploy_model.pb")
    add("--prototxt", default="", help=argparse.SUPPRESS)
    add("--caffemodel", default="", help=argparse.SUPPRESS)
    add("--dcf", default="", help="DPU configuration file of the board")
    add("--target", default="", help="instead of --dcf: zedboard, a target name, 0x fingerprint, arch.json")
    add("--cpu_arch", default="arm32", choices=("arm32", "arm64"))
    add("--mode", default="normal", choices=("normal", "debug"))
    add("--output_dir", default=".")
    add("--net_name", default="", help="stem of the kernel names")
    add("--save_kernel", action="store_true", help="also write the kernel table as text")
    for flag in _WITHOUT_EFFECT:
        add(flag, nargs="?", const="", default=None, help=argparse.SUPPRESS)
    add("--info", default=None, help="JSON file with labels and preprocessing for the model manifest")
    add_debug(parser)
    return parser


def run(options: argparse.Namespace) -> None:
    """Compile, write, print the kernel table."""
    from dpuflow.cli.compile import compile_file, output_path, read_info, write_compiled
    from dpuflow.compiler.console import kernel_graph, kernel_table
    from dpuflow.files import atomic_path
    from dpuflow.target.dcf import read_dcf
    from dpuflow.target.select import find_target

    if options.parser == "caffe" or options.prototxt or options.caffemodel:
        raise ConfigError("caffe models cannot be read", where="--parser", expected="tensorflow")
    if not options.frozen_pb or not options.net_name:
        raise ConfigError("an option is missing", expected="--frozen_pb and --net_name")
    if bool(options.dcf) == bool(options.target):
        raise ConfigError("give the core once", expected="--dcf FILE or --target NAME")
    output = output_path(options.output_dir, options.net_name)
    core = read_dcf(options.dcf) if options.dcf else find_target(options.target)
    print(*_notices(options, core), sep="\n", end="\n" if _notices(options, core) else "")
    compiled = compile_file(options.frozen_pb, core, options.net_name)
    write_compiled(compiled, output, read_info(options.info))
    with atomic_path(output.with_name(f"{options.net_name}_kernel_graph.gv")) as path:
        path.write_text(kernel_graph(compiled), encoding="utf-8")
    table = kernel_table(compiled)
    if options.save_kernel:
        with atomic_path(output.with_name(f"{options.net_name}_kernel.txt")) as path:
            path.write_text(table, encoding="utf-8")
    print(table, end="")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_command("dnnc", run, _parser().parse_args(argv))
