"""``decent_q``: the vendor's command line, its messages, and every way to get it wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dpuflow.cli.decent_q import main
from dpuflow.formats.graphdef import read_graphdef, write_graphdef
from dpuflow.model import load

from chars74k_weights import random_weights
from quant import small_net

ROOT = Path(__file__).resolve().parents[2]

INPUT_FN = """
import numpy as np

calls = []

def good(iter):
    calls.append(iter)
    return {"x": np.random.default_rng(iter).normal(0, 1, (4, 8, 8, 2))}

def positional(index):
    return good(index)

def only_positional(iter, /):
    return good(iter)

def bytes_of_pixels(iter):
    return {"x": np.random.default_rng(iter).integers(0, 256, (4, 8, 8, 2)).astype(np.uint8)}

def leaves(iter):
    raise SystemExit(0)

def complex_numbers(iter):
    return {"x": np.ones((4, 8, 8, 2), complex)}

def text(iter):
    return {"x": np.full((4, 8, 8, 2), "1")}

def ragged(iter):
    return {"x": [[1, 2], [3]]}

def too_large(iter):
    return {"x": np.full((4, 8, 8, 2), 1e300)}

def other_size_later(iter):
    return {"x": np.ones((4, 8, 8 if iter < 2 else 9, 2)) * np.arange(2)}

def raises(iter):
    raise RuntimeError("no pictures here")

def wrong(iter):
    return [1, 2]

def wrong_name(iter):
    return {"pixels": np.zeros((1, 8, 8, 2))}

def wrong_shape(iter):
    return {"x": np.ones((1, 9, 9, 2))}

def nan(iter):
    return {"x": np.full((1, 8, 8, 2), np.nan)}

def constant(iter):
    return {"x": np.ones((4, 8, 8, 2))}

value = 3
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with a frozen graph and an input_fn module, and it is the current one."""
    write_graphdef(small_net.frozen(small_net.layers(2)), tmp_path / "frozen.pb")
    (tmp_path / "calib_fn.py").write_text(INPUT_FN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("calib_fn", None)


def command(**changes: object) -> list[str]:
    flags = {"input_frozen_graph": "frozen.pb", "input_nodes": "x", "input_shapes": "?,8,8,2",
             "output_nodes": "net/out", "input_fn": "calib_fn.good", "calib_iter": 3, **changes}
    return ["quantize", *(f"--{name}={value}" for name, value in flags.items() if value is not None)]


def test_quantize_writes_both_files_and_the_vendors_lines(work, capsys):
    assert main("decent_q", command()) == 0
    out = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert out == [
        "INFO: Checking Float Graph...", "INFO: Float Graph Check Done.", "INFO: Calibrating for 3 iterations...",
        "INFO: Calibration Done.", "INFO: Generating Deploy Model...", "INFO: Deploy Model Generated.",
        "********************* Quantization Summary *********************", "INFO: Output:",
        "  quantize_eval_model: quantize_results/quantize_eval_model.pb",
        "  deploy_model: quantize_results/deploy_model.pb"]
    assert sorted(path.name for path in (work / "quantize_results").iterdir()) == [
        "deploy_model.pb", "quantize_eval_model.pb"]
    assert sys.modules["calib_fn"].calls == [0, 0, 1, 2]  # iteration 0 once more, for the float check
    assert load(work / "quantize_results" / "deploy_model.pb").quantized


def test_the_same_command_gives_the_same_bytes(work):
    first, second = work / "a", work / "b"
    assert main("decent_q", command(output_dir=first)) == main("vai_q_tensorflow", command(output_dir=second)) == 0
    for name in ("deploy_model.pb", "quantize_eval_model.pb"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_input_fn_by_position_and_skip_check(work):
    assert main("decent_q", command(input_fn="calib_fn.positional", skip_check=1)) == 0
    assert sys.modules["calib_fn"].calls == [0, 1, 2]


@pytest.mark.parametrize("name", ["only_positional", "bytes_of_pixels"])
def test_what_an_input_fn_may_be_and_return(work, name):
    assert main("decent_q", command(input_fn=f"calib_fn.{name}")) == 0


def test_method_and_widths_change_the_positions(work):
    def positions(**changes):
        assert main("decent_q", command(output_dir="o", **changes)) == 0
        graph = read_graphdef(work / "o" / "quantize_eval_model.pb")
        return {n.name: (n.get("quantize_pos"), n.get("bit_width")) for n in graph.nodes if n.op == "FixNeuron"}

    plain, overflow, narrow = positions(), positions(method=0), positions(weight_bit=4, nodes_bit="net/mean2:6")
    assert plain != overflow
    assert narrow["net/conv0/kernel/wquant"] == (plain["net/conv0/kernel/wquant"][0] - 4, 4) or (
        narrow["net/conv0/kernel/wquant"][1] == 4)
    assert narrow["net/mean2/aquant"][1] == 6


BAD = [
    ({"input_frozen_graph": None}, "No --input_frozen_graph assigned."),
    ({"input_nodes": None}, "No --input_nodes assigned."),
    ({"input_shapes": None}, "No --input_shapes assigned."),
    ({"output_nodes": None}, "No --output_nodes assigned."),
    ({"input_fn": None}, "No input_fn assigned."),
    ({"input_frozen_graph": "missing.pb"}, "missing.pb: no such file"),
    ({"input_frozen_graph": "."}, "a folder was given"),
    ({"input_frozen_graph": "calib_fn.py"}, "not a valid file of this kind"),
    ({"input_nodes": "y"}, "Node 'y' not found in graph"),
    ({"output_nodes": "net/ou"}, "did you mean net/out"),
    ({"ignore_nodes": "nothing"}, "Node 'nothing' not found in graph"),
    ({"input_shapes": "?,8,8"}, "an input shape has 4 dimensions"),
    ({"input_shapes": "?,?,8,2"}, "'?' stands for the batch only"),
    ({"input_shapes": "?,0,8,2"}, "sizes are positive"),
    ({"input_shapes": "?,8,8,2:?,8,8,2"}, "input_nodes and input_shapes differ in number"),
    ({"input_shapes": "?,8,8,3"}, "input channels and weights differ"),
    ({"method": 3}, "--method: not a value of this option"),
    ({"align_concat": -1}, "--align_concat"),
    ({"calib_iter": 0}, "at least one iteration"),
    ({"weight_bit": 40}, "not a supported width"),
    ({"nodes_bit": "net/mean2"}, "not a list of name:number"),
    ({"mode": "train"}, "No --input_meta_graph assigned."),
    ({"input_fn": "calib_fn"}, "expected module.function"),
    ({"input_fn": "nowhere.good"}, "Fail to import input_fn, error: No module named 'nowhere'"),
    ({"input_fn": "calib_fn.absent"}, "Fail to import input_fn, error:"),
    ({"input_fn": "calib_fn.value"}, "not a function"),
    ({"input_fn": "calib_fn.leaves"}, "input_fn failed: SystemExit"),
    ({"input_fn": "calib_fn.complex_numbers"}, "not an array of numbers"),
    ({"input_fn": "calib_fn.text"}, "not an array of numbers"),
    ({"input_fn": "calib_fn.ragged"}, "not an array of numbers"),
    ({"input_fn": "calib_fn.too_large"}, "NaN or infinity"),
    ({"input_fn": "calib_fn.other_size_later"}, "the input's shape does not fit"),
    ({"input_fn": "calib_fn.raises"}, "input_fn failed: RuntimeError: no pictures here"),
    ({"input_fn": "calib_fn.wrong"}, "input_fn must return a dict"),
    ({"input_fn": "calib_fn.wrong_name"}, "does not fit the graph's placeholders"),
    ({"input_fn": "calib_fn.wrong_shape"}, "the input's shape does not fit"),
    ({"input_fn": "calib_fn.nan"}, "NaN or infinity"),
    ({"input_fn": "calib_fn.constant"}, "every calibration image is constant"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_one_message_exit_1_and_no_files(work, capsys, changes, message):
    assert main("decent_q", command(**changes)) == 1
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert not (work / "quantize_results").exists() or not list((work / "quantize_results").iterdir())


def test_debug_shows_the_traceback(work):
    from dpuflow.errors import QuantizeError

    with pytest.raises(QuantizeError):
        main("decent_q", [*command(input_fn="calib_fn.raises"), "--debug"])


def test_usage_errors_exit_2(work, capsys):
    for arguments in (["quantize", "--nonsense=1"], ["polish"], [], ["quantize", "--method", "x"]):
        with pytest.raises(SystemExit) as stopped:
            main("decent_q", arguments)
        assert stopped.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_interruption_leaves_nothing(work, monkeypatch, capsys):
    import dpuflow.quant.quantizer as quantizer

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(quantizer, "adjust_positions", stop)
    assert main("decent_q", command()) == 130
    assert "interrupted" in capsys.readouterr().err
    assert not (work / "quantize_results").exists()


def test_full_disk_keeps_the_old_pair(work, monkeypatch, capsys):
    assert main("decent_q", command()) == 0
    before = {path.name: path.read_bytes() for path in (work / "quantize_results").iterdir()}
    writes = []

    def full(path, data):
        writes.append(path)
        if len(writes) == 2:
            raise OSError(28, "No space left on device")
        return len(data)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert main("decent_q", command(method=0)) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (work / "quantize_results").iterdir()} == before


def test_inspect_prints_the_vendors_text(work, capsys):
    assert main("decent_q", ["inspect", "--input_frozen_graph", "frozen.pb"]) == 0
    assert capsys.readouterr().out == (
        "Op types used: 7 Const, 6 Identity, 3 BiasAdd, 2 Conv2D, 2 Relu, 1 MatMul, 1 Mean, 1 Placeholder, 1 Softmax\n"
        "\n"
        "Found 1 possible inputs: (name=x, type=float(1), shape=[?,8,8,2]) \n"
        "Found 1 possible outputs: (name=net/out, op=Softmax) \n")


def dump(capsys, **flags: object) -> list[str]:
    arguments = {"input_frozen_graph": "quantize_results/quantize_eval_model.pb", "input_fn": "calib_fn.good",
                 "output_dir": "dumped", **flags}
    assert main("decent_q", ["dump", *(f"--{name}={value}" for name, value in arguments.items())]) == 0
    return capsys.readouterr().out.splitlines()


def test_dump_writes_every_quantized_tensor(work, capsys):
    assert main("decent_q", command()) == 0
    capsys.readouterr()
    out = dump(capsys, max_dump_batches=2)
    assert out[:3] == ["INFO: Start Dumping for 2 batches", "INFO: Dumping weights/biases...",
                       "INFO: Dumping (1/6): net/dense3/bias/wquant"]
    assert out[8:11] == ["INFO: Start Dumping for 2 batches", "INFO: Dumping for batch: 1/2 ...",
                         "INFO: Dumping (1/5): x/aquant"]
    assert out[-1] == "INFO: Dump results are saved in dumped."
    weights = sorted(path.name for path in (work / "dumped" / "dump_results_weights").iterdir())
    assert len(weights) == 12
    assert "net_conv0_kernel_wquant.bin" in weights
    second = work / "dumped" / "dump_results_1"
    ints = np.fromfile(second / "net_conv0_Relu_aquant.bin", np.int8)
    assert ints.tolist() == [int(line) for line in (second / "net_conv0_Relu_aquant.txt").read_text().split()]
    model = load(work / "quantize_results" / "quantize_eval_model.pb").graph
    from dpuflow.engines.reference import ReferenceEngine

    x = sys.modules["calib_fn"].good(1)["x"].astype(np.float32)
    expected = ReferenceEngine(model).run(x, ["net/conv0/Relu"], int8=True)["net/conv0/Relu"]
    assert np.array_equal(ints, expected.reshape(-1))


def test_dump_with_floats_leaves_the_weights_folder_empty(work, capsys):
    """As release 1.2: everything counts as activation (quantizer specification, section 9)."""
    assert main("decent_q", command()) == 0
    dump(capsys, dump_float=1)
    assert list((work / "dumped" / "dump_results_weights").iterdir()) == []
    folder = work / "dumped" / "dump_results_0"
    floats = np.fromfile(folder / "net_out_float.bin", np.float32)
    assert np.allclose(floats.reshape(4, 3).sum(axis=1), 1)
    assert [np.float32(line) for line in (folder / "net_out_float.txt").read_text().split()] == floats.tolist()
    names = {path.name for path in folder.iterdir()}
    assert {"x_float.bin", "net_conv0_kernel_wquant.bin", "net_conv0_kernel_wquant_float.txt"} <= names


def test_dump_refuses_a_float_graph(work, capsys):
    assert main("decent_q", ["dump", "--input_frozen_graph", "frozen.pb", "--input_fn", "calib_fn.good"]) == 1
    assert "holds no FixNeuron" in capsys.readouterr().err


def test_shell_script_from_another_folder(tmp_path):
    """``sh quantize/decent_q.sh`` finds everything by itself; the graph may come from anywhere."""
    sys.path.insert(0, str(ROOT / "train"))
    try:
        from networks import chars74k_discriminator
    finally:
        sys.path.remove(str(ROOT / "train"))
    build = tmp_path / "build"
    write_graphdef(chars74k_discriminator(random_weights(), 1e-3), build / "chars74k" / "freeze" / "frozen_model.pb")
    (build / "chars74k" / "train").mkdir()
    x = np.random.default_rng(0).normal(0, 1, (150, 32, 32, 1)).astype(np.float32)
    np.savez(build / "chars74k" / "train" / "calibration.npz", x=x)
    tool = tmp_path / "decent_q"
    tool.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'import sys; from dpuflow.cli.decent_q import main; "
                    'sys.exit(main("decent_q"))\' "$@"\n')
    tool.chmod(0o755)
    environment = {**os.environ, "BUILD": str(build), "DECENT_Q": str(tool), "DPUFLOW_CALIBRATION_BATCH": "16",
                   "PYTHONPATH": f"{ROOT}:{ROOT / 'board'}"}
    done = subprocess.run(["sh", str(ROOT / "quantize" / "decent_q.sh"), "chars74k", str(tmp_path / "out")],
                          cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert load(tmp_path / "out" / "deploy_model.pb").graph.outputs == ("discriminator/out",)
    done = subprocess.run(["sh", str(ROOT / "quantize" / "decent_q.sh"), "absent"], cwd=tmp_path, env=environment,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "run 'make freeze MODEL=absent'" in done.stderr
