"""The board's runtimes behind child processes: a stand-in library in C, fakes of vart and pynq_dpu, every fault."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import n2cube_board
import numpy as np
import pytest
from board_model import manifest_data
from n2cube_board import IN_POS, OUT_POS

from dpuedge import failures

HERE = Path(__file__).parent
RUN = Path(__file__).resolve().parents[2] / "board" / "run_dpu.py"

VART = '''
"""A fake vart: one int8 input, the first three values come back."""
import os
import numpy as np

class Tensor:
    def __init__(self, name, dims, pos):
        self.name, self.dims, self.pos = name, dims, pos
    def get_attr(self, name):
        return {"fix_point": self.pos}[name]

class Runner:
    @staticmethod
    def create_runner(subgraph, mode):
        if os.environ.get("VART_FAULT") == "fingerprint":
            print("CHECK fingerprint fail ! model_fingerprint 0x1 dpu_fingerprint 0x2", flush=True)
            os.abort()
        return Runner()
    def get_input_tensors(self):
        return [Tensor("in", [1, 32, 32, 1], %d)]
    def get_output_tensors(self):
        return [Tensor("out", [1, 3], %d)]
    def execute_async(self, inputs, outputs):
        assert inputs[0].dtype == np.int8 and inputs[0].flags.c_contiguous
        if os.environ.get("VART_FAULT") == "raise":
            raise RuntimeError("cannot allocate memory")
        outputs[0][...] = inputs[0].reshape(-1)[:3]
        return (0, 0)
    def wait(self, job):
        assert job == (0, 0)
        return 0
''' % (IN_POS, OUT_POS)
XIR = '''
class Subgraph:
    is_leaf = False
    def __init__(self, device=None): self.device = device
    def has_attr(self, name): return self.device is not None
    def get_attr(self, name): return self.device
    def toposort_child_subgraph(self): return [Subgraph("USER"), Subgraph("DPU")]
class Graph:
    @staticmethod
    def deserialize(path): return Graph()
    def get_root_subgraph(self): return Subgraph()
'''
PYNQ = '''
import vart
class DpuOverlay:
    def __init__(self, bitfile): assert bitfile == "dpu.bit"
    def load_model(self, model): self.runner = vart.Runner.create_runner(None, "run")
'''


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    path = tmp_path_factory.mktemp("lib") / "libn2cube.so"
    n2cube_board.build_library(path)
    return path


@pytest.fixture
def board(tmp_path, library, monkeypatch):
    """A folder with a model library, images, and an environment in which the stand-in is the board's runtime."""
    settings, answers = n2cube_board.make(tmp_path, library)
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.answers = answers
    return tmp_path


def run(*arguments: object, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, str(RUN), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)


def n2cube(board: Path, *more: object) -> subprocess.CompletedProcess:
    return run(board / "model" / "libdpumodeltiny.so", "--input", board / "x.npy", *more)


def int8s(done: subprocess.CompletedProcess) -> list[list[int]]:
    assert done.returncode == 0, done.stderr
    return [entry["logits"]["int8"] for entry in json.loads(done.stdout)["predictions"]]


def test_n2cube_gives_the_emulators_bits_and_says_that_a_dpu_ran(board, monkeypatch):
    done = n2cube(board, "--json")
    assert int8s(done) == monkeypatch.answers.tolist()
    found = json.loads(done.stdout)
    assert (found["backend"], found["emulated"]) == ("n2cube", False)
    assert done.stderr == ""


def test_every_thread_has_a_task_of_its_own(board, monkeypatch):
    assert int8s(n2cube(board, "--json", "--threads", 3)) == monkeypatch.answers.tolist()


def test_names_can_be_given(board, monkeypatch):
    done = n2cube(board, "--json", "--kernel", "tiny", "--input-node", "net_conv", "--output-node", "net_out")
    assert int8s(done) == monkeypatch.answers.tolist()
    assert "no single kernel" in n2cube(board, "--kernel", "other").stderr


def test_an_elf_needs_its_library_beside_it(board, monkeypatch):
    (board / "model" / "dpu_tiny.elf").write_bytes((board / "model" / "libdpumodeltiny.so").read_bytes())
    done = run(board / "model" / "dpu_tiny.elf", "--input", board / "x.npy", "--json")
    assert int8s(done) == monkeypatch.answers.tolist()
    (board / "model" / "libdpumodeltiny.so").unlink()
    done = run(board / "model" / "dpu_tiny.elf", "--input", board / "x.npy")
    assert done.returncode == 1
    assert "gcc -fPIC -shared" in done.stderr


# Fault of the stand-in, options, what the one message must hold: the meaning and the remedy.
FAULTS = [
    ("no_driver", (), "the DPU driver is not there", "modprobe dpu"),
    ("version_skew", (), "driver and library are of different releases", "dexplorer -v"),
    ("wrong_core", (), "compiled for another core", "compile again"),
    ("out_of_memory", (), "contiguous memory", "cma="),
    ("timeout", (), "did not answer in time", "clock"),
    ("hang", ("--timeout", "0.5"), "did not answer in time", "clock"),
    ("short_buffer", (), "does not fit the node's tensor", "elements"),
    ("exit", (), "the runtime ended its process (exit code 255)", "something unheard of"),
    ("exit_later", (), "the runtime ended its process (exit code 5)", "dmesg"),
    ("crash", (), "signal SIGABRT", "dmesg"),
]


@pytest.mark.parametrize(("fault", "options", "meaning", "remedy"), FAULTS, ids=[row[0] for row in FAULTS])
def test_no_fault_hangs_or_kills_the_runner_without_a_remedy(board, monkeypatch, fault, options, meaning, remedy):
    monkeypatch.setenv("N2CUBE_FAULT", fault)
    done = n2cube(board, *options)
    assert done.returncode == 1
    assert meaning in done.stderr
    assert remedy in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_nodes_and_kernels_are_named(board, monkeypatch):
    done = n2cube(board, "--input-node", "other")
    assert "no boundary node of that name" in done.stderr
    monkeypatch.setenv("N2CUBE_KERNEL", "another")
    assert "the model library was not found" in n2cube(board).stderr


def test_a_back_end_that_is_not_there_is_an_error(board, monkeypatch):
    monkeypatch.setenv("DPUEDGE_N2CUBE", "/nonexistent.so")
    done = n2cube(board)
    assert done.returncode == 1
    assert "libn2cube.so" in done.stderr
    assert "does not run this kind of file" in n2cube(board, "--backend", "vart").stderr


def test_positions_of_the_runtime_are_taken_and_the_difference_said(board):
    path = board / "table"
    data = path.read_bytes()
    path.write_bytes(struct.pack("<IIIiIiI", 32, 32, 1, 4, 3, 2, 4) + data[28:])
    done = n2cube(board, "--json")
    assert "quantized otherwise" in done.stderr
    assert json.loads(done.stdout)["predictions"][0]["logits"]["fix_point"] == 2


@pytest.fixture
def xrt(board, monkeypatch):
    """Fakes of vart, xir and pynq_dpu on the path, and a vendor's xmodel."""
    modules = board / "modules"
    modules.mkdir()
    for name, text in (("vart", VART), ("xir", XIR), ("pynq_dpu", PYNQ)):
        (modules / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(modules))
    (board / "model" / "tiny.xmodel").write_bytes(b"vendor's")
    data = manifest_data(b"vendor's", tool="vai_c_tensorflow 2.5")
    (board / "model" / "tiny.json").write_text(json.dumps(data))
    return board


@pytest.mark.parametrize("options", [("--backend", "vart"), (), ("--backend", "pynq", "--overlay", "dpu.bit"),
                                     ("--overlay", "dpu.bit")])
def test_vart_and_pynq(xrt, options):
    done = run(xrt / "model", "--input", xrt / "x.npy", "--json", *options)
    images = np.load(xrt / "x.npy")
    assert int8s(done) == images.reshape(4, -1)[:, :3].tolist()
    assert json.loads(done.stdout)["backend"] == ("pynq" if "--overlay" in options else "vart")


def test_vart_s_aborts_and_errors_have_a_remedy(xrt, monkeypatch):
    monkeypatch.setenv("VART_FAULT", "fingerprint")
    done = run(xrt / "model", "--input", xrt / "x.npy")
    assert done.returncode == 1
    assert "compiled for another core" in done.stderr
    assert "signal SIGABRT" in done.stderr
    monkeypatch.setenv("VART_FAULT", "raise")
    assert "contiguous memory" in run(xrt / "model", "--input", xrt / "x.npy").stderr


def test_pynq_needs_an_overlay_and_our_own_files_never_reach_a_dpu(xrt):
    assert "name the bitstream" in run(xrt / "model", "--input", xrt / "x.npy", "--backend", "pynq").stderr
    data = manifest_data(b"vendor's", tool="dpuflow 0.1.0")
    (xrt / "model" / "tiny.json").write_text(json.dumps(data))
    done = run(xrt / "model", "--input", xrt / "x.npy", "--backend", "vart")
    assert done.returncode == 1
    assert "silicon runs only" in done.stderr


@pytest.mark.parametrize("row", failures.KNOWN, ids=lambda row: row.signs[0])
def test_each_known_failure_is_found_by_each_of_its_signs(row):
    for sign in row.signs:
        assert failures.explain(f"[DNNDK] {sign} here") is row
    assert failures.explain("all is well") is failures.EXIT


def test_golden_vectors_tell_where_bits_part(board, monkeypatch):
    images, model = np.load(board / "x.npy"), board / "model" / "libdpumodeltiny.so"
    np.savez(board / "golden.npz", input=images, output=monkeypatch.answers)
    done = run(model, "--verify", board / "golden.npz")
    assert done.returncode == 0, done.stderr
    assert "n2cube: 0 of 4 images differ" in done.stdout
    wrong = monkeypatch.answers.copy()
    wrong[2, 1] ^= 1
    np.savez(board / "golden.npz", input=images, output=wrong)
    done = run(model, "--verify", board / "golden.npz")
    assert done.returncode == 1
    assert "1 of 4 images differ" in done.stdout
    assert "image 2, value 1" in done.stdout
    np.savez(board / "golden.npz", input=images[:, :4], output=wrong)
    assert "for another model" in run(model, "--verify", board / "golden.npz").stderr
