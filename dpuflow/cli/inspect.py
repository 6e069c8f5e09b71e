"""``dpuflow inspect``: for every layer DPU or CPU, why, and what would help."""

from __future__ import annotations

import argparse
import json
from typing import Any

from dpuflow.compiler.placement import Placement, place_all
from dpuflow.model import load
from dpuflow.passes import FOR_DPU, run_passes
from dpuflow.passes.as_if_quantized import as_if_quantized
from dpuflow.target.arch import core_fields
from dpuflow.target.select import find_target


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """The command's options."""
    parser = commands.add_parser("inspect", help="which layer runs where on a core, and why")
    parser.add_argument("file", metavar="FILE", help="a frozen float .pb or a quantized file")
    parser.add_argument("--target", default="zedboard", help="board, target name, 0x fingerprint, .dcf or arch.json")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _fields(placement: Placement) -> dict[str, Any]:
    return {"name": placement.node.layer, "op": placement.node.op, "device": placement.device,
            "reason": placement.reason, "remedy": placement.remedy,
            "limits": [violation.limit for violation in placement.violations]}


def run(options: argparse.Namespace) -> None:
    """Print every layer's placement."""
    core, model = find_target(options.target), load(options.file)
    graph = model.graph if model.quantized else as_if_quantized(model.graph)
    placements = place_all(run_passes(graph, FOR_DPU), core)
    if options.json:
        print(json.dumps({"core": core_fields(core), "layers": [_fields(p) for p in placements]}, indent=1))
        return
    width = max((len(p.node.layer) for p in placements), default=5)
    for placement in placements:
        node = placement.node
        print(f"{placement.device}  {node.layer:<{width}}  {node.op:<16} {placement.reason}".rstrip())
        if placement.remedy:
            print(f"     {'':<{width}}  remedy: {placement.remedy}")
    on_cpu = sum(placement.device == "CPU" for placement in placements)
    print(f"{len(placements) - on_cpu} of {len(placements)} layers on the DPU of {core.name} ({core.arch})")
