"""Files that the tests of several commands share."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from target.test_dcf import dcf

from dpuflow import cli
from dpuflow.formats.graphdef import write_graphdef
from dpuflow.quant.quantizer import quantize_graph

from quant import small_net


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> Path:
    """A float graph, its quantized graphs, a compiled file, inputs and a core description."""
    folder = tmp_path_factory.mktemp("files")
    network = small_net.layers(5)
    graph = small_net.frozen(network)
    result = quantize_graph(graph, small_net.config(graph), [{"x": batch} for batch in small_net.batches(network)])
    write_graphdef(graph, folder / "float.pb")
    write_graphdef(result.evaluation, folder / "eval.pb")
    write_graphdef(result.deploy, folder / "deploy.pb")
    assert cli.main(["compile", str(folder / "deploy.pb"), "-o", str(folder / "net.xmodel")]) == 0
    np.save(folder / "x.npy", small_net.batches(network, count=1)[0])
    (folder / "board.dcf").write_bytes(dcf())
    (folder / "info.json").write_text(json.dumps({"info": {"labels": ["a", "b"], "fake_class": 2}}))
    return folder
