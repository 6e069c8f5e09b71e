"""``dpuflow show``: what a model file is and holds."""

from __future__ import annotations

import argparse
import json
from typing import Any

from dpuflow.artifact import file_digest
from dpuflow.ir.graph import Node
from dpuflow.ir.text import graph_text
from dpuflow.model import Model, load


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """The command's options."""
    parser = commands.add_parser("show", help="what a model file is: graph, positions, parameters, core")
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _core(model: Model) -> dict[str, Any]:
    parts = model.xir.dpu_subgraphs if model.xir else ()
    return {key: parts[0].get(f"dpu_{key}") for key in ("name", "fingerprint")} if parts else {}


def _node(node: Node) -> dict[str, Any]:
    made: dict[str, Any] = {"name": node.name, "op": node.op, "inputs": list(node.inputs), "shape": list(node.shape)}
    if node.fix:
        made |= {"fix_point": node.fix.pos, "bit_width": node.fix.bits}
    if node.label:
        made["layer"] = node.label
    return made


def run(options: argparse.Namespace) -> None:
    """Print the file's kind and network."""
    model = load(options.file)
    parameters = sum(node.data.size for node in model.graph.nodes if node.data is not None)
    core = _core(model)
    if options.json:
        print(json.dumps({"file": options.file, "kind": model.kind, "sha256": file_digest(options.file),
                          "quantized": model.quantized, "parameters": parameters, "core": core,
                          "outputs": list(model.graph.outputs),
                          "nodes": [_node(node) for node in model.graph.nodes]}, indent=1))
        return
    print(f"{options.file}: {model.kind}, {parameters} parameters")
    if core:
        fingerprint = core["fingerprint"]
        shown = f"0x{fingerprint:016x}" if isinstance(fingerprint, int) else "unknown"
        print(f"compiled for {core['name']}, fingerprint {shown}")
    print(graph_text(model.graph), end="")
