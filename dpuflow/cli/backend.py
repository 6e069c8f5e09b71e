"""``--backend vendor``: show or run a plan for the vendor's own tools, on any command that has one."""

from __future__ import annotations

import argparse
from pathlib import Path

from dpuflow.vendor.plan import Plan, plan_text
from dpuflow.vendor.releases import RELEASES


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that every command with a vendor back end shares."""
    add = parser.add_argument_group("the vendor's tools").add_argument
    add("--backend", default="native", choices=("native", "vendor"), help="native: here, by dpuflow (default)")
    add("--release", default="dnndk-3.1", choices=[release.name for release in RELEASES],
        help="backend vendor: which release (default: dnndk-3.1)")
    add("--executor", default="docker", metavar="E", help="backend vendor: docker (default), local or ssh:HOST")
    add("--plan", action="store_true", help="backend vendor: show what would be run, run nothing")
    add("--licence-accepted", action="store_true", help="backend vendor: you have accepted the vendor's licence")


def run_plan(plan: Plan, options: argparse.Namespace, output: Path) -> None:
    """Print the plan, or execute it and name its products."""
    if options.plan:
        print(plan_text(plan, options.executor), end="")
        return
    from dpuflow.vendor.executors import execute

    for path in execute(plan, options.executor, output, options.licence_accepted):
        print(f"wrote {path} (made by the vendor's tools, release {plan.release.name})")
