"""``dpuflow estimate``: the predicted time on a core, layer by layer; what if; a table over cores and clocks."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dpuflow.cli.common import check_clock
from dpuflow.cli.planning import FILE_HELP, planned_graph
from dpuflow.compiler.driver import compile_graph
from dpuflow.errors import ConfigError
from dpuflow.files import atomic_path
from dpuflow.ir.graph import Graph
from dpuflow.planning.estimate import estimate_compiled
from dpuflow.planning.scenario import Answer, answers, parse_scenario
from dpuflow.target.arch import Core
from dpuflow.target.report import estimate_json, predicted_table
from dpuflow.target.select import find_target

_WHAT_IF = ("ask what the time would be: core=TARGET, mhz=F, bandwidth=GB/s, channels=FACTOR, channels:LAYER=N, "
            "several joined by commas; may be given more than once")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """The command's options."""
    parser = commands.add_parser("estimate", help="predict the time on a core, layer by layer")
    parser.add_argument("file", metavar="FILE", nargs="+", help=f"{FILE_HELP}; several make a table")
    parser.add_argument("--target", default="zedboard", metavar="T[,T...]",
                        help="board, target name, 0x fingerprint, .dcf or arch.json; several make a table")
    parser.add_argument("--mhz", default="", metavar="F[,F...]",
                        help="DPU clock (default: the board's); several make a table")
    parser.add_argument("--what-if", action="append", default=[], metavar="QUESTION", help=_WHAT_IF)
    parser.add_argument("--html", metavar="OUT.html", help="write a page with timeline, roofline and memory map")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _clocks(text: str) -> list[float | None]:
    made: list[float | None] = []
    for part in text.split(",") if text.strip() else []:
        try:
            made.append(check_clock(float(part)))
        except ValueError:
            raise ConfigError("not a number", where="--mhz", got=part or "nothing") from None
    return made or [None]


def answer_json(answer: Answer) -> dict[str, Any]:
    """A scenario's figures as JSON values."""
    return {"what": answer.scenario.text, "target": answer.core.name, "clock_mhz": answer.estimate.clock_mhz,
            "total_ms": answer.estimate.total_ms, "fps": answer.estimate.fps, "speedup": answer.speedup,
            "macs": answer.macs, "parameter_bytes": answer.parameter_bytes, "error_band": answer.estimate.error_band}


def _what_if_table(rows: Sequence[Mapping[str, Any]]) -> str:
    width = max(len(row["what"]) for row in rows)
    lines = ["", f"{'what if':<{width}}  {'target':<24} {'MHz':>5} {'ms':>10} {'images/s':>9} {'faster by':>9} "
             f"{'MMAC':>9} {'MB':>7}"]
    lines += [f"{row['what']:<{width}}  {row['target']:<24} {row['clock_mhz']:>5g} {row['total_ms']:>10.4f} "
              f"{row['fps']:>9.1f} {row['speedup']:>9.2f} {row['macs'] / 1e6:>9.2f} "
              f"{row['parameter_bytes'] / 1e6:>7.2f}" for row in rows]
    return "\n".join(lines) + "\n"


def _write_page(path: Path, graph: Graph, core: Core, fields: Mapping[str, Any],
                questions: Sequence[Mapping[str, Any]]) -> None:
    from dpuflow.report.performance import render_performance

    text = render_performance(compile_graph(graph, core, graph.name), fields, questions)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _one(options: argparse.Namespace, core: Core, mhz: float | None) -> None:
    """One network on one core at one clock, with its questions."""
    scenarios = [parse_scenario(text) for text in options.what_if]
    graph = planned_graph(options.file[0])
    fields = estimate_json(estimate_compiled(compile_graph(graph, core, graph.name), mhz), core)
    rows = [answer_json(one) for one in answers(graph, core, mhz, scenarios)] if scenarios else []
    if options.html:
        _write_page(Path(options.html), graph, core, fields, rows)
    if options.json:
        print(json.dumps(fields | ({"what_if": rows} if rows else {}), indent=1))
        return
    print(predicted_table(fields), end="")
    print(_what_if_table(rows) if rows else "", end="")
    if options.html:
        print(f"wrote {options.html}")


def _row(file: str, graph: Graph, core: Core, mhz: float | None) -> dict[str, Any]:
    predicted = estimate_compiled(compile_graph(graph, core, graph.name), mhz)
    return {"file": file, "target": core.name, "core": core.arch, "clock_mhz": predicted.clock_mhz,
            "total_ms": predicted.total_ms, "fps": predicted.fps, "error_band": predicted.error_band}


def _table(options: argparse.Namespace, cores: Sequence[Core], clocks: Sequence[float | None]) -> None:
    """Every network on every core at every clock."""
    if options.what_if or options.html:
        raise ConfigError("one file, one target and one clock are needed", where="--what-if or --html",
                          got=f"{len(options.file)} files, {len(cores)} targets, {len(clocks)} clocks")
    rows = [_row(file, graph, core, mhz) for file in options.file for graph in [planned_graph(file)]
            for core in cores for mhz in clocks]
    if options.json:
        print(json.dumps({"table": rows, "note": "predicted, not run on hardware; DPU layers only"}, indent=1))
        return
    width, wide = (max(len(row[key]) for row in rows) for key in ("file", "target"))
    print(f"{'network':<{width}}  {'target':<{wide}}  core   {'MHz':>5} {'ms':>10} {'images/s':>9}")
    for row in rows:
        print(f"{row['file']:<{width}}  {row['target']:<{wide}}  {row['core']:<5}  {row['clock_mhz']:>5g} "
              f"{row['total_ms']:>10.4f} {row['fps']:>9.1f}")
    bands = dict.fromkeys(f"{row['target']}: {row['error_band']}" for row in rows)
    print("predicted, not run on hardware; DPU layers only; error: " + "; ".join(bands))


def run(options: argparse.Namespace) -> None:
    """Print the prediction."""
    cores = [find_target(part) for part in options.target.split(",")]
    clocks = _clocks(options.mhz)
    if len(options.file) == len(cores) == len(clocks) == 1:
        _one(options, cores[0], clocks[0])
    else:
        _table(options, cores, clocks)
