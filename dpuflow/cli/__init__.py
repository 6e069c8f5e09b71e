"""The command line: ``dpuflow COMMAND``, and the vendors' commands under their own names."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

# Command -> module with add_parser(commands) and run(options). Imported when it is asked for.
COMMANDS = {
    "quantize": "dpuflow.cli.quantize",
    "emulate": "dpuflow.cli.emulate",
    "compile": "dpuflow.cli.compile",
    "estimate": "dpuflow.cli.estimate",
    "inspect": "dpuflow.cli.inspect",
    "show": "dpuflow.cli.show",
    "convert": "dpuflow.cli.convert",
    "diff": "dpuflow.cli.diff",
    "extract": "dpuflow.cli.extract",
    "report": "dpuflow.cli.report",
    "targets": "dpuflow.cli.targets",
    "zoo": "dpuflow.cli.zoo",
    "program": "dpuflow.cli.program",
    "compat": "dpuflow.cli.compat",
}


def _parser(wanted: str | None) -> argparse.ArgumentParser:
    from dpuflow import __version__

    parser = argparse.ArgumentParser(prog="dpuflow", description="Bring a neural network onto a Xilinx DPU.")
    parser.add_argument("--version", action="version", version=f"dpuflow {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        if wanted in (None, name):
            from dpuflow.cli.common import add_debug

            add_debug(import_module(module).add_parser(commands))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    from dpuflow.cli.common import run_command

    arguments = list(sys.argv[1:] if argv is None else argv)
    wanted = arguments[0] if arguments and arguments[0] in COMMANDS else None
    options = _parser(wanted).parse_args(arguments)
    return run_command(f"dpuflow {options.command}", import_module(COMMANDS[options.command]).run, options)
