"""The board's archive: made, unpacked in an empty place, checked, run; damage is found."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import elf_builder
import numpy as np
import pytest

from dpuflow import cli
from dpuflow.artifact import write_stage
from dpuflow.formats.graphdef import write_graphdef
from dpuflow.quant.quantizer import quantize_graph

from quant import small_net

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """scripts/bundle_board.py as a module, and a build folder of a small network."""
    spec = importlib.util.spec_from_file_location("bundle_board", ROOT / "scripts" / "bundle_board.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.folder = tmp_path_factory.mktemp("bundle") / "net"
    network = small_net.layers(5)
    graph = small_net.frozen(network)
    batches = small_net.batches(network)
    result = quantize_graph(graph, small_net.config(graph), [{"x": batch} for batch in batches])
    write_graphdef(result.deploy, module.folder / "deploy.pb")
    with write_stage(module.folder / "train", "train", {}) as stage:
        np.savez(stage.path("calibration.npz"), x=batches[0])
    with write_stage(module.folder / "compile", "compile", {}) as stage:
        assert cli.main(["compile", str(module.folder / "deploy.pb"), "-o", str(stage.path("net.xmodel"))]) == 0
    return module


def unpacked(bundle, place: Path, elf: Path | None = None) -> Path:
    archive = place / "b.tar.gz"
    bundle.write_archive(bundle.board_files() | bundle.model_files(bundle.folder, "net", elf), archive)
    with tarfile.open(archive) as packed:
        assert all(name.startswith("dpuflow-board/") and ".." not in name for name in packed.getnames())
        # Python 3.11.3 and earlier do not know the filter; the names were looked at above
        packed.extractall(place, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return place / "dpuflow-board"


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def test_the_unpacked_bundle_is_whole_and_says_how_to_run(bundle, tmp_path):
    folder = unpacked(bundle, tmp_path)
    done = subprocess.run(["sh", str(folder / "install.sh")], capture_output=True, text=True, check=False,
                          env=environment())
    assert done.returncode == 0, done.stderr
    assert "--verify golden/net.npz" in done.stdout
    with np.load(folder / "golden" / "net.npz") as arrays:
        assert arrays["input"].dtype == np.int8
        assert arrays["output"].any()


def test_the_same_inputs_give_the_same_bytes(bundle, tmp_path):
    files = bundle.board_files()
    bundle.write_archive(files, tmp_path / "a")
    bundle.write_archive(files, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_damage_is_found(bundle, tmp_path):
    folder = unpacked(bundle, tmp_path)
    (folder / "models" / "net.xmodel").write_bytes(b"damaged")
    done = subprocess.run(["sh", str(folder / "install.sh")], capture_output=True, text=True, check=False,
                          env=environment())
    assert done.returncode == 1
    assert "copy the bundle again" in done.stderr


def test_a_vendors_library_takes_the_place_of_our_file(bundle, tmp_path):
    library = tmp_path / "libdpumodelnet.so"
    library.write_bytes(elf_builder.tiny())
    folder = unpacked(bundle, tmp_path, library)
    assert sorted(path.name for path in (folder / "models").iterdir()) == ["libdpumodelnet.so", "net.json"]
    fields = json.loads((folder / "models" / "net.json").read_text())
    assert fields["tool"] == "dnnc (vendor)"
