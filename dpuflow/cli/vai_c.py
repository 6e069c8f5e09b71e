"""Vitis AI's compiler commands (board specification, section 1.2): one file in, an xmodel out.

``vai_c_tensorflow``, ``vai_c_tensorflow2`` and ``vai_c_xir`` differ in the flag of their input.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpuflow.cli.common import add_debug, run_command
from dpuflow.errors import ConfigError


@dataclass(frozen=True)
class Command:
    """One of the commands: the flags of its input file, and whether the network must be named."""

    name: str
    input_flags: tuple[str, ...]
    input_help: str
    named: bool


COMMANDS: Mapping[str, Command] = {
    command.name: command for command in (
        Command("vai_c_tensorflow", ("--frozen_pb", "-f"), "quantize_eval_model.pb or deploy_model.pb", True),
        Command("vai_c_tensorflow2", ("--model", "-m"), "the quantized network: .pb or .xmodel", False),
        Command("vai_c_xir", ("--xmodel", "-x"), "the quantizer's .xmodel", False),
    )
}
# Keys of --options: those that change nothing here, and why.
_WITHOUT_EFFECT: Mapping[str, str] = {
    "mode": "one program serves both: `dpuflow emulate --all-tensors` shows every layer",
    "save_kernel": "the kernel table is printed",
    "split_io_mem": "inputs and outputs have registers of their own in any case",
    "dump": "`dpuflow show` prints the graph",
    "input_shape": "the shapes of the file hold",
    "cpu_arch": "an xmodel serves either",
}
_DEFAULTS = {"mode": "normal"}


def _parser(command: Command) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=command.name, allow_abbrev=False,
                                     description="Compile a quantized network for a core.")
    parser.add_argument(*command.input_flags, dest="file", required=True, metavar="FILE", help=command.input_help)
    parser.add_argument("--arch", "-a", required=True, help="arch.json, a target's name or a fingerprint")
    parser.add_argument("--output_dir", "-o", required=command.named, default=".")
    parser.add_argument("--net_name", "-n", required=command.named, default="", help="default: the file's stem")
    parser.add_argument("--options", "-e", default="{}", help="{'mode':'normal','save_kernel':'',...}")
    parser.add_argument("--info", default=None, help="JSON file with labels and preprocessing for the model manifest")
    add_debug(parser)
    return parser


def read_options(text: str) -> dict[str, str]:
    """The ``--options`` dict; unknown keys are refused by name."""
    try:
        options = ast.literal_eval(text or "{}")
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        options = None
    if not isinstance(options, dict):
        raise ConfigError("not a dict", where="--options", got=text, expected="{'key':'value'}")
    unknown = set(map(str, options)) - set(_WITHOUT_EFFECT)
    if unknown:
        remedy = "name the .dcf in the arch.json of --arch" if "dcf" in unknown else ""
        raise ConfigError("unknown option", where="--options", got=", ".join(sorted(unknown)),
                          expected=", ".join(sorted(_WITHOUT_EFFECT)), remedy=remedy)
    return {str(key): str(value) for key, value in options.items()}


def notices(options: Mapping[str, str]) -> list[str]:
    """What there is to say of options that this compiler has no use for."""
    return [f"[UNILOG][WARNING] option '{key}' has no effect here: {_WITHOUT_EFFECT[key]}"
            for key, value in options.items() if _DEFAULTS.get(key) != value]


def _checked_input(command: Command, path: str) -> str:
    suffix = Path(path).suffix.lower()
    if suffix in (".h5", ".keras"):
        raise ConfigError("a Keras file holds no quantized network that can be read here", where=command.input_flags[0],
                          got=path, remedy="quantize it with `dpuflow quantize` and give its quantize_eval_model.pb")
    if command.name == "vai_c_xir" and suffix != ".xmodel":
        raise ConfigError("not an xmodel", where=command.input_flags[0], got=path, expected="a .xmodel file")
    return path


def meta_json(output: Path, kernels: Sequence[str], target: str, runner: str) -> dict[str, Any]:
    """The small file that the vendor's older runtimes read beside an xmodel."""
    return {"target": target, "lib": runner, "filename": output.name, "kernel": list(kernels),
            "config_file": "", "dpuflow_note": "virtual program: for emulation and the performance model"}


def _write_beside(output: Path, kernels: Sequence[str], target: str) -> tuple[Path, Path, str]:
    """``meta.json`` and ``md5sum.txt``; their paths and the digest."""
    from dpuflow.compiler.xmodel import VIRTUAL_RUNNER
    from dpuflow.files import atomic_path

    meta, sums = output.with_name("meta.json"), output.with_name("md5sum.txt")
    digest = hashlib.md5(output.read_bytes(), usedforsecurity=False).hexdigest()
    with atomic_path(meta) as path:
        path.write_text(json.dumps(meta_json(output, kernels, target, VIRTUAL_RUNNER), indent=1) + "\n",
                        encoding="utf-8")
    with atomic_path(sums) as path:
        path.write_text(f"{digest}  {output.name}\n", encoding="utf-8")
    return meta, sums, digest


def run(options: argparse.Namespace) -> None:
    """Compile, write, print the vendor's summary."""
    from dpuflow.cli.compile import compile_file, output_path, read_info, write_compiled
    from dpuflow.formats.xir import read_xmodel

    command = COMMANDS[options.command]
    said = notices(read_options(options.options))
    file = _checked_input(command, options.file)
    name = options.net_name or Path(file).stem
    output = output_path(options.output_dir, name)
    if output.exists() and Path(file).exists() and output.samefile(file):
        raise ConfigError("the output would replace the input", where="--output_dir", got=output,
                          remedy="give another folder or --net_name")
    compiled = compile_file(file, options.arch, name)
    write_compiled(compiled, output, read_info(options.info))
    kernels = [f"subgraph_{kernel.name}" for kernel in compiled.dpu_kernels]
    meta, sums, digest = _write_beside(output, kernels, compiled.core.name)
    info, root = "[UNILOG][INFO]", read_xmodel(output).root
    print(*said, f"{info} Compile mode: dpu", f"{info} Debug mode: function",
          f"{info} Target architecture: {compiled.core.name}",
          f"{info} Graph name: {name}, with op num: {len(compiled.graph.nodes)}", f"{info} Begin to compile...",
          f"{info} Total device subgraph number {len(root.children) if root else 0}, "
          f"DPU subgraph number {len(compiled.dpu_kernels)}", f"{info} Compile done.",
          f'{info} The meta json is saved to "{meta}"', f'{info} The compiled xmodel is saved to "{output}"',
          f"{info} The compiled xmodel's md5sum is {digest}, and has been saved to \"{sums}\"",
          f"{info} virtual: emulation and performance model only", sep="\n")


def main(argv: Sequence[str] | None = None, name: str = "vai_c_tensorflow") -> int:
    """Run the command line of one of the commands; returns the exit code."""
    options = _parser(COMMANDS[name]).parse_args(argv)
    options.command = name
    return run_command(name, run, options)
