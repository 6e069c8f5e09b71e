"""extract: parameters as the file stores them, positions and counts that can be added up."""

from __future__ import annotations

import csv
import json

import numpy as np
from formats.elf_networks import chain, elf_of

from dpuflow import cli
from dpuflow.convert import convert_graph
from dpuflow.extract import Parameter, extract, file_parameters, histogram

from engines.networks import random_network

GRAPH = random_network(6)


def test_histograms_by_hand():
    made = histogram(Parameter(np.array([[-128, 0], [0, 127]], np.int8), 5, 8))
    assert (made["first"], made["step"], len(made["counts"])) == (-128, 1, 256)
    assert {at - 128: count for at, count in enumerate(made["counts"]) if count} == {-128: 1, 0: 2, 127: 1}
    floats = histogram(Parameter(np.array([0.0, 1.0, 1.0, np.nan], np.float32)))
    assert (floats["counts"][0], floats["counts"][-1], sum(floats["counts"])) == (1, 2, 3)
    assert sum(histogram(Parameter(np.zeros((0,), np.float32)))["counts"]) == 0


def test_files(tmp_path):
    convert_graph(GRAPH, tmp_path / "net.xmodel", "compiled", "zedboard")
    assert cli.main(["extract", str(tmp_path / "net.xmodel"), "-o", str(tmp_path / "out")]) == 0
    with np.load(tmp_path / "out" / "weights.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    counts = json.loads((tmp_path / "out" / "histograms.json").read_text())
    positions = json.loads((tmp_path / "out" / "positions.json").read_text())
    rows = list(csv.DictReader((tmp_path / "out" / "histograms.csv").read_text().splitlines()))
    for node in GRAPH.nodes:
        if node.data is not None and node.name in arrays and node.op == "const" and node.data.ndim == 4:
            assert np.array_equal(arrays[node.name], node.data.transpose(3, 0, 1, 2))
            assert positions[node.name] == {"fix_point": node.fix.pos, "bit_width": 8}
    for name, array in arrays.items():
        assert sum(counts[name]["counts"]) == array.size == sum(int(r["count"]) for r in rows if r["tensor"] == name)


def test_other_containers(tmp_path):
    convert_graph(GRAPH, tmp_path / "net.pb", "deploy")
    assert any(entry.fix_point is not None for entry in file_parameters(tmp_path / "net.pb").values())
    (tmp_path / "net.elf").write_bytes(elf_of(chain(0)))
    made = extract(tmp_path / "net.elf", tmp_path / "elf")
    assert [path.name for path in made] == ["weights.npz", "positions.json", "histograms.json", "histograms.csv"]
    with np.load(made[0]) as archive:
        assert "net/net_d_MatMul_weights" in archive.files
