"""Positions as a table in a file: exported with every result, and read back to fix some or all of them.

    {"format": "dpuflow positions", "version": 1,
     "tensors": {"conv1/kernel": {"pos": 7, "bits": 8, "kind": "weights"}, ...}}

A tensor goes by the name of the node that yields it. A plain ``{name: position}`` is read as well,
and so are the FixNeurons' own names.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dpuedge import fixed
from dpuflow.errors import DataError, FormatError
from dpuflow.files import read_bytes
from dpuflow.formats.checks import POSITIONS
from dpuflow.formats.graphdef import TFGraph, TFNode
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.deploy import deploy_graph
from dpuflow.quant.quantizer import Quantized, with_positions

FORMAT, VERSION = "dpuflow positions", 1
_MODES = {0: "weights", 1: "activation", 2: "weights"}


def fix_neurons(graph: TFGraph) -> dict[str, TFNode]:
    """The FixNeurons of an evaluation graph by name, in its order."""
    return {node.name: node for node in graph.nodes if node.op == "FixNeuron"}


def tensor_kind(graph: TFGraph, fix: TFNode) -> str:
    """``weights``, ``bias`` or ``activation``."""
    kind = _MODES[int(fix.get("mode", 1))]
    if kind == "activation":
        return kind
    readers = [graph.by_name[name] for name in graph.users[fix.name]]
    return "bias" if readers and all(node.op in ("BiasAdd", "Add", "AddV2") for node in readers) else kind


def positions_table(evaluation: TFGraph) -> dict[str, Any]:
    """The table of an evaluation graph, as JSON values."""
    tensors = {fix.operands[0]: {"pos": int(fix.get("quantize_pos", 0)), "bits": int(fix.get("bit_width", 8)),
                                 "kind": tensor_kind(evaluation, fix)}
               for fix in fix_neurons(evaluation).values()}
    return {"format": FORMAT, "version": VERSION, "tensors": tensors}


def read_positions(path: Path | str) -> dict[str, int]:
    """Positions by tensor name; FormatError or DataError for a file that is no such table."""
    try:
        table = json.loads(read_bytes(path).decode("utf-8"), object_pairs_hook=lambda pairs: _unique(pairs, path))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not a JSON file ({error})", where=path, expected="a table of positions") from None
    if not isinstance(table, dict):
        raise FormatError("not a table of positions", where=path, expected="a JSON object", got=type(table).__name__)
    if "tensors" in table and isinstance(table["tensors"], dict):
        if table.get("version", VERSION) != VERSION:
            raise FormatError("a table of another version", where=path, got=table["version"], expected=VERSION)
        table = table["tensors"]
    return {name: _position(name, value, path) for name, value in table.items()}


def _unique(pairs: list[tuple[str, Any]], where: object) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise DataError("a name stands twice in the table", where=where, got=twice)
    return dict(pairs)


def _position(name: str, value: object, where: object) -> int:
    pos = value.get("pos") if isinstance(value, dict) else value
    if isinstance(value, dict) and value.get("bits", 8) != 8:
        raise DataError("only 8-bit positions can be fixed", where=f"{where}, '{name}'", got=value.get("bits"))
    if isinstance(pos, bool) or not isinstance(pos, int) or not (pos in POSITIONS or pos == fixed.ALL_ZERO_POS):
        raise DataError("not a position", where=f"{where}, '{name}'", got=pos,
                        expected=f"a whole number from {POSITIONS[0]} to {POSITIONS[-1]}")
    return pos


def by_fix_neuron(table: Mapping[str, int], evaluation: TFGraph, where: object) -> dict[str, int]:
    """The table by FixNeuron name; DataError with close matches for a name that nothing quantized has."""
    fixes = fix_neurons(evaluation)
    known = {name: name for name in fixes} | {fix.operands[0]: name for name, fix in fixes.items()}
    unknown = [name for name in table if name not in known]
    if unknown:
        tensors = [fix.operands[0] for fix in fixes.values()]
        close = difflib.get_close_matches(unknown[0], tensors, n=3, cutoff=0.4)
        raise DataError(f"no quantized tensor is named '{unknown[0]}'", where=where,
                        got=f"{len(unknown)} unknown name{'s' * (len(unknown) > 1)}",
                        remedy=f"did you mean {' or '.join(close)}?" if close else
                        "positions.json of a run without --positions lists the names")
    made: dict[str, int] = {}
    for name, pos in table.items():
        if made.setdefault(known[name], pos) != pos:
            raise DataError("two positions for one tensor", where=where, got=name)
    return made


def apply_positions(quantized: Quantized, table: Mapping[str, int], config: QuantizeConfig,
                    where: object) -> Quantized:
    """The result with the table's positions in place of its own."""
    positions = {**quantized.positions, **by_fix_neuron(table, quantized.evaluation, where)}
    evaluation = with_positions(quantized.evaluation, positions)
    return replace(quantized, evaluation=evaluation, deploy=deploy_graph(evaluation, config), positions=positions)
