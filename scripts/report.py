"""Write the report of a model's stages: one self-contained HTML file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dpuflow.cli.common import add_debug, parse_args, run_command
from dpuflow.report.stage import FILE, run_report


def report(options: argparse.Namespace) -> None:
    """Write it, or say that it is current."""
    written = run_report(options.build, options.out)
    print(f"report: {'wrote' if written else 'current:'} {options.out / FILE}")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(prog="report.py", description=__doc__)
    parser.add_argument("--build", type=Path, required=True, metavar="DIR", help="folder of the model's stages")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write report.html to")
    add_debug(parser)
    return run_command("report.py", report, parse_args(parser, argv))


if __name__ == "__main__":
    sys.exit(main())
