"""Freeze a trained network, or a given SavedModel or .keras file, into a TensorFlow-1 style GraphDef.

    .venv/bin/python train/freeze.py --model chars74k --train build/chars74k/train --out build/chars74k/freeze
    .venv/bin/python train/freeze.py --from my_model.keras --out build/my_model/freeze
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dpuflow.arrays import read_arrays
from dpuflow.artifact import current_stage, file_digest, load_stage, write_stage
from dpuflow.cli.common import add_debug, run_command
from dpuflow.errors import ConfigError, DataError
from dpuflow.formats.graphdef import TFGraph, serialize_graphdef
from dpuflow.quant.nodes import quantize_nodes

FROZEN_FILE = "frozen_model.pb"
SOURCES = ("freeze.py", "networks.py", "captcha_freeze.py", "captcha_networks.py")
CARRIED = ("labels", "fake_class", "preprocessing", "task", "blank")  # notes of the train stage for later stages
NODES_FILE = "nodes.env"  # for the shell scripts of the later stages


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="freeze", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="chars74k", help="name of the network")
    parser.add_argument("--train", type=Path, help="folder of the train stage")
    parser.add_argument("--from", dest="source", type=Path, help="a SavedModel folder or a .keras file instead")
    parser.add_argument("--out", type=Path, required=True, help="folder of this stage")
    parser.add_argument("--list", action="store_true", help="list the nodes on the console")
    add_debug(parser)
    return parser


def _trained(model: str, folder: Path) -> tuple[TFGraph, Mapping[str, Any]]:
    from networks import NETWORKS

    stage = load_stage(folder)
    network = str(stage.info.get("task", model))
    if network not in NETWORKS:
        raise ConfigError("no such network", where="--model", got=network, expected=" or ".join(NETWORKS))
    weights = read_arrays(stage.path("weights.npz"))
    if not isinstance(weights, dict):
        raise DataError("not an archive of weights", where=stage.path("weights.npz"))
    return NETWORKS[network](weights, stage.info), stage.info


def node_list(graph: TFGraph) -> str:
    """One line per node: name, operator, operands."""
    return "".join(f"{node.name} {node.op} {' '.join(node.inputs)}".rstrip() + "\n" for node in graph.nodes)


def _key(options: argparse.Namespace) -> dict[str, Any]:
    if options.source:
        from dpuflow.formats.keras_freeze import source_digest

        return {"stage": "freeze", "source": source_digest(options.source)}
    return {"stage": "freeze", "model": options.model, "train": file_digest(options.train / "manifest.json"),
            "networks": [file_digest(Path(__file__).with_name(name)) for name in SOURCES]}


def run(options: argparse.Namespace) -> None:
    """Freeze unless the result is current."""
    if (options.train is None) == (options.source is None):
        raise ConfigError("give either --train or --from")
    if options.train:
        load_stage(options.train)
    key = _key(options)
    if current_stage(options.out, key):
        print(f"freeze: {options.out} is up to date")
        return
    graph, info = _freeze(options)
    with write_stage(options.out, "freeze", key) as stage:
        stage.path(FROZEN_FILE).write_bytes(serialize_graphdef(graph))
        stage.path("nodes.txt").write_text(node_list(graph), encoding="utf-8")
        stage.info.update({name: info[name] for name in CARRIED if name in info})
        stage.info.update(inputs=[node.name for node in graph.placeholders], outputs=[n.name for n in graph.sinks])
        nodes = quantize_nodes(graph)
        batch = f"CALIBRATION_BATCH={int(info.get('calibration_batch', 128))}\n"
        stage.path(NODES_FILE).write_text(nodes.shell_text() + batch, encoding="utf-8")
        stage.info.update(quantize_outputs=list(nodes.outputs), has_tail=nodes.has_tail)
    print(f"freeze: {len(graph.nodes)} nodes, {', '.join(n.name for n in graph.placeholders)} -> "
          f"{', '.join(n.name for n in graph.sinks)}; wrote {options.out / FROZEN_FILE}")
    if options.list:
        print(node_list(graph), end="")


def _freeze(options: argparse.Namespace) -> tuple[TFGraph, Mapping[str, Any]]:
    if options.source:
        from dpuflow.formats.keras_freeze import freeze_file

        return freeze_file(options.source), {}
    return _trained(options.model, options.train)


if __name__ == "__main__":
    sys.exit(run_command("freeze", run, _parser().parse_args()))
