"""A model made for another core is refused with both descriptions, field by field."""

from __future__ import annotations

import numpy as np
import pytest
from formats.elf_networks import chain, elf_of

import dpuflow
from dpuflow import cli
from dpuflow.convert import convert_graph
from dpuflow.errors import CompileError
from dpuflow.model import load
from dpuflow.target.made_for import core_text, require_core
from dpuflow.target.select import find_target

from engines.networks import random_network

GRAPH = random_network(1)


@pytest.fixture
def compiled(tmp_path):
    convert_graph(GRAPH, tmp_path / "net.xmodel", "compiled", "zedboard")
    return tmp_path / "net.xmodel"


def test_the_core_it_was_made_for(compiled):
    assert require_core(load(compiled), find_target("zedboard")).kind == "compiled xmodel"
    assert core_text(load(compiled))["arch"] == "B1152"


def test_another_core(compiled):
    with pytest.raises(CompileError) as caught:
        require_core(load(compiled), find_target("DPUCZDX8G_ISA1_B4096"))
    message = str(caught.value)
    assert "expected DPUCZDX8G_ISA1_B4096 with" in message
    for field in ("isa 1", "peak_ops_per_cycle 4096", "pixel_parallel 8"):
        assert field in message.split("got", maxsplit=1)[0]
    for field in ("isa 0", "peak_ops_per_cycle 1152", "pixel_parallel 4"):
        assert field in message.split("got")[1]
    assert "equal in both: " in message


def test_releases_of_one_core_differ_in_one_field(tmp_path):
    """The 2.5 release has no argmax in the saver (targets specification, section 3)."""
    convert_graph(GRAPH, tmp_path / "net.xmodel", "compiled", "0x0101000016010407")
    with pytest.raises(CompileError, match="0x0101000056010407; argmax True.*got fingerprint .*; argmax False"):
        require_core(load(tmp_path / "net.xmodel"), find_target("DPUCZDX8G_ISA1_B4096"))


def test_a_file_for_no_core_fits_every_core(tmp_path):
    convert_graph(GRAPH, tmp_path / "net.xmodel", "quantized")
    assert core_text(load(tmp_path / "net.xmodel")) == {}
    require_core(load(tmp_path / "net.xmodel"), find_target("zedboard"))


@pytest.mark.filterwarnings("ignore:.*the file does not say")
def test_a_dnndk_file(tmp_path):
    (tmp_path / "net.elf").write_bytes(elf_of(chain(0)))
    model = load(tmp_path / "net.elf")
    require_core(model, find_target("zedboard"))
    with pytest.raises(CompileError, match="output_channel_parallel 16.*output_channel_parallel 12"):
        require_core(model, find_target("zcu102"))


def test_the_commands(compiled, tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.zeros(GRAPH.inputs[0].shape, np.float32))
    run = ["emulate", str(compiled), "--input", str(tmp_path / "x.npy"), "--output", str(tmp_path / "y.npz"),
           "--engine", "reference", "--target"]
    assert cli.main([*run, "zcu102"]) == 1
    assert "made for another core" in capsys.readouterr().err
    assert cli.main([*run, "zedboard"]) == 0
    with pytest.raises(CompileError, match="made for another core"):
        dpuflow.run(compiled, np.zeros(GRAPH.inputs[0].shape, np.float32), target="zcu102")
