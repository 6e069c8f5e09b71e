"""``vai_c_tensorflow``: Vitis AI's compiler command (board specification, section 1.2)."""

from __future__ import annotations

import argparse
import ast
import hashlib
from collections.abc import Sequence

from dpuflow.cli.common import add_debug, run_command
from dpuflow.errors import ConfigError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vai_c_tensorflow", allow_abbrev=False,
                                     description="Compile a quantized TensorFlow graph for a core.")
    parser.add_argument("--frozen_pb", "-f", required=True, help="quantize_eval_model.pb or deploy_model.pb")
    parser.add_argument("--arch", "-a", required=True, help="arch.json, a target's name or a fingerprint")
    parser.add_argument("--output_dir", "-o", required=True)
    parser.add_argument("--net_name", "-n", required=True)
    parser.add_argument("--options", "-e", default="{}", help="{'mode':'normal','save_kernel':'',...}")
    parser.add_argument("--info", default=None, help="JSON file with labels and preprocessing for the model manifest")
    add_debug(parser)
    return parser


_KNOWN = {"mode", "save_kernel", "split_io_mem", "dump", "input_shape", "cpu_arch"}


def read_options(text: str) -> dict[str, str]:
    """The ``--options`` dict; unknown keys are refused by name."""
    try:
        options = ast.literal_eval(text or "{}")
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        options = None
    if not isinstance(options, dict):
        raise ConfigError("not a dict", where="--options", got=text, expected="{'key':'value'}")
    unknown = set(map(str, options)) - _KNOWN
    if unknown:
        raise ConfigError("unknown option", where="--options", got=", ".join(sorted(unknown)),
                          expected=", ".join(sorted(_KNOWN)))
    return {str(key): str(value) for key, value in options.items()}


def run(options: argparse.Namespace) -> None:
    """Compile, write, print the vendor's summary."""
    from dpuflow.cli.compile import compile_file, output_path, read_info, write_compiled

    read_options(options.options)
    output = output_path(options.output_dir, options.net_name)
    compiled = compile_file(options.frozen_pb, options.arch, options.net_name)
    write_compiled(compiled, output, read_info(options.info))
    print(f"[UNILOG][INFO] Target architecture: {compiled.core.name}")
    print(f"[UNILOG][INFO] Total device subgraph number {len(compiled.kernels) + 1}, "
          f"DPU subgraph number {len(compiled.dpu_kernels)}")
    print(f'[UNILOG][INFO] The compiled xmodel is saved to "{output}"')
    digest = hashlib.md5(output.read_bytes(), usedforsecurity=False).hexdigest()
    print(f"[UNILOG][INFO] The compiled xmodel's md5sum is {digest} (virtual: emulation and performance model only)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run_command("vai_c_tensorflow", run, _parser().parse_args(argv))
