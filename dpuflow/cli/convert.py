"""``dpuflow convert``: a quantized network from one file format to another."""

from __future__ import annotations

import argparse
from pathlib import Path

from dpuflow.cli.custom import add_custom_option, custom_functions
from dpuflow.convert import FORMS, convert_graph, form_of
from dpuflow.model import load, quantized_graph


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """The command's options."""
    parser = commands.add_parser("convert", help="write a quantized network in another file format")
    parser.add_argument("file", metavar="IN", help=".xmodel, .pb with positions, DNNDK .elf or .so")
    parser.add_argument("out", metavar="OUT", help=".xmodel (quantized, or with --target compiled) or .pb (deploy)")
    parser.add_argument("--form", choices=tuple(FORMS), help="what to write, where the suffix leaves a choice")
    parser.add_argument("--target", help="the core, for a compiled .xmodel")
    parser.add_argument("--like", metavar="GRAPH", help="the quantized graph that a DNNDK file was compiled from")
    parser.add_argument("--kernel", help="which kernel of a DNNDK file with several")
    add_custom_option(parser)
    return parser


def run(options: argparse.Namespace) -> None:
    """Convert, or say by name what the other format cannot express."""
    out = Path(options.out)
    form = form_of(out, options.form, options.target)
    model = load(options.file, custom_functions(options.custom_op), options.like, options.kernel)
    convert_graph(quantized_graph(model), out, form, options.target)
    print(f"{options.file} ({model.kind}) -> {out} ({form})")
