"""``dpuflow extract``: a model file's parameters as arrays, positions and histograms."""

from __future__ import annotations

import argparse

from dpuflow.extract import extract


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """The command's options."""
    parser = commands.add_parser("extract", help="parameters as arrays, with positions and histograms")
    parser.add_argument("file", metavar="FILE", help=".xmodel, .pb, DNNDK .elf or .so")
    parser.add_argument("-o", "--out", required=True, metavar="DIR",
                        help="gets weights.npz, positions.json, histograms.json and histograms.csv")
    return parser


def run(options: argparse.Namespace) -> None:
    """Extract and name the files."""
    for path in extract(options.file, options.out):
        print(f"wrote {path}")
