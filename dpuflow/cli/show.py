"""``dpuflow show``: what a model file is and holds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from dpuflow.describe.describe import describe
from dpuflow.describe.description import as_json, as_text
from dpuflow.files import atomic_path


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """The command's options."""
    parser = commands.add_parser("show", help="what a model file is: graph, positions, parameters, core")
    parser.add_argument("file", metavar="FILE", help=".xmodel, .pb, DNNDK .elf or .so")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--html", metavar="OUT.html", help="write a page with the graph drawn")
    return parser


def run(options: argparse.Namespace) -> None:
    """Print the file's kind and network, or write its page."""
    description = describe(options.file)
    if options.html:
        from dpuflow.describe.page import page

        with atomic_path(Path(options.html)) as temporary:
            temporary.write_text(page(description), encoding="utf-8")
    if options.json:
        print(json.dumps(as_json(description), indent=1))
    elif options.html:
        print(f"wrote {options.html}")
    else:
        print(as_text(description), end="")
