"""``dpuflow report``: one self-contained HTML page from the stages' folders."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """The command's options."""
    parser = commands.add_parser("report", help="one HTML page from the folders of all stages")
    parser.add_argument("build", type=Path, metavar="BUILD", help="folder of the model's stages, build/<model>")
    parser.add_argument("--output", "-o", type=Path, metavar="REPORT.html",
                        help="the page (default BUILD/report/report.html)")
    return parser


def run(options: argparse.Namespace) -> None:
    """Write the page."""
    from dpuflow.report import write_report

    output = options.output or options.build / "report" / "report.html"
    write_report(options.build, output)
    print(f"wrote {output}")
