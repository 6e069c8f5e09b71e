"""``dpuflow inspect``: for every layer DPU or CPU, why, what would help, and what it costs."""

from __future__ import annotations

import argparse
import json

from dpuflow.cli.common import check_clock
from dpuflow.cli.planning import FILE_HELP, planned_graph
from dpuflow.planning.inspection import inspect_graph
from dpuflow.planning.inspection_text import inspection_json, inspection_text
from dpuflow.target.select import find_target


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """The command's options."""
    parser = commands.add_parser("inspect", help="which layer runs where on a core, why, and what would help")
    parser.add_argument("file", metavar="FILE", help=FILE_HELP)
    parser.add_argument("--target", default="zedboard", help="board, target name, 0x fingerprint, .dcf or arch.json")
    parser.add_argument("--mhz", type=float, help="DPU clock of the predicted times (default: the board's)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(options: argparse.Namespace) -> None:
    """Print every layer's placement."""
    mhz, core = check_clock(options.mhz), find_target(options.target)
    inspection = inspect_graph(planned_graph(options.file), core, mhz)
    if options.json:
        print(json.dumps(inspection_json(inspection), indent=1))
    else:
        print(inspection_text(inspection), end="")
