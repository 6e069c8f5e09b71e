"""``dpuflow diff``: where two model files part."""

from __future__ import annotations

import argparse
import json

from dpuflow.arrays import read_arrays
from dpuflow.cli.custom import add_custom_option, custom_functions
from dpuflow.compare.files import compare_files
from dpuflow.compare.report import as_json, as_text


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """The command's options."""
    parser = commands.add_parser("diff", help="where two model files part: structure, parameters, positions, bits",
                                 epilog="Exit code 0: no difference; 3: they differ.")
    parser.add_argument("first", metavar="A", help=".xmodel, .pb, DNNDK .elf or .so")
    parser.add_argument("second", metavar="B", help="the same, or .tflite")
    parser.add_argument("--input", metavar="X.npy", help="also run both and compare every tensor")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--like", metavar="GRAPH", help="the quantized graph that a DNNDK file was compiled from")
    add_custom_option(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Compare and print; 3 if the files differ."""
    x = read_arrays(options.input) if options.input else None
    comparison = compare_files(options.first, options.second, x, custom_functions(options.custom_op), options.like)
    print(json.dumps(as_json(comparison), indent=1) if options.json else as_text(comparison), end="")
    if options.json:
        print()
    return 0 if comparison.equal else 3
