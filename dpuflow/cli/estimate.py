"""``dpuflow estimate``: the predicted time on a core, layer by layer."""

from __future__ import annotations

import argparse
import json

from dpuflow.cli.common import check_clock
from dpuflow.cli.planning import FILE_HELP, planned_graph
from dpuflow.compiler.driver import compile_graph, estimate_compiled
from dpuflow.target.report import estimate_json, predicted_table
from dpuflow.target.select import find_target


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """The command's options."""
    parser = commands.add_parser("estimate", help="predict the time on a core, layer by layer")
    parser.add_argument("file", metavar="FILE", help=FILE_HELP)
    parser.add_argument("--target", default="zedboard", help="board, target name, 0x fingerprint, .dcf or arch.json")
    parser.add_argument("--mhz", type=float, help="DPU clock (default: the board's)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(options: argparse.Namespace) -> None:
    """Print the prediction."""
    mhz, core = check_clock(options.mhz), find_target(options.target)
    graph = planned_graph(options.file)
    result = estimate_compiled(compile_graph(graph, core, graph.name), mhz)
    predicted = estimate_json(result, core)
    print(json.dumps(predicted, indent=1) + "\n" if options.json else predicted_table(predicted), end="")
