"""``dpuflow compat run``: a program written for vart, xir or pynq_dpu, on this computer's emulator."""

from __future__ import annotations

import argparse
import traceback
from pathlib import Path

from dpuflow.engines import ENGINES


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """The command's options."""
    parser = commands.add_parser("compat", help="run programs written for vart, xir or pynq_dpu, emulated")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("path", help="print the folder of the stand-ins, for PYTHONPATH")
    runs = actions.add_parser("run", help="run a program")
    runs.add_argument("--strict", action="store_true", help="abort the process where the real runtime does")
    runs.add_argument("--engine", default="fast", choices=tuple(ENGINES))
    runs.add_argument("program", metavar="PROGRAM.py", type=Path)
    runs.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="the program's own arguments")
    return parser


def run(options: argparse.Namespace) -> int | None:
    """Run the program; its exit code is the command's."""
    from dpuflow.compat import launch
    from dpuflow.errors import ConfigError

    if options.action == "path":
        print(launch.MODULES)
        return None
    try:
        launch.run_program(options.program, options.arguments, strict=options.strict, engine=options.engine)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except ConfigError:
        raise
    except Exception:  # the program's own failure: the user needs its lines
        traceback.print_exc()
        return 1
    return None
