"""``decent_q``'s other flags, commands and environment: used, taken without effect, or refused by name."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from dpuflow.cli.decent_q import main
from dpuflow.cli.decent_q_flags import FLAGS
from dpuflow.formats.graphdef import read_graphdef, write_graphdef
from dpuflow.quant.versions import VERSIONS

from quant import small_net

MODULE = """
import numpy as np

def images(iter):
    return {"x": np.random.default_rng(iter).normal(0, 1, (4, 8, 8, 2))}

def loud(iter):
    return {"image_tensor": np.random.default_rng(iter).normal(0, 1, (2, 4, 4, 3))}
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    write_graphdef(small_net.frozen(small_net.layers(2)), tmp_path / "frozen.pb")
    (tmp_path / "flag_fn.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("flag_fn", None)


def quantize(output: str, **flags: object) -> int:
    flags = {"input_frozen_graph": "frozen.pb", "input_nodes": "x", "input_shapes": "?,8,8,2",
             "output_nodes": "net/out", "input_fn": "flag_fn.images", "calib_iter": 2, "output_dir": output, **flags}
    return main("decent_q", ["quantize", *(f"--{name}={value}" for name, value in flags.items())])


def fixes(path) -> dict:
    return {node.name: node for node in read_graphdef(path).nodes if node.op == "FixNeuron"}


@pytest.mark.parametrize("flag", [flag for flag in FLAGS if flag.refused], ids=lambda flag: flag.name)
def test_what_is_not_there_is_refused_by_name_with_a_remedy(work, capsys, flag):
    value = {"mode": "train", "fold_constant": 0}.get(flag.name, "other" if flag.type is str else 7)
    assert quantize("o", **{flag.name: value}) == 1
    err = capsys.readouterr().err
    assert f"--{flag.name}: this value is not supported" in err
    assert f"Remedy: {flag.refused}" in err


def test_flags_of_all_releases_are_known_to_every_command(work, capsys):
    values = {"str": "x", "int": 1, "float": 0.5}
    arguments = []
    for flag in FLAGS:
        value = flag.default if flag.refused or flag.default in ("frozen", "dnndk") else values[flag.type.__name__]
        if flag.name != "input_frozen_graph" and value != "":
            arguments.append(f"--{flag.name}={value}")
    assert main("decent_q", [*arguments, "--dump_as_xir", "inspect", "--input_frozen_graph=frozen.pb"]) == 0
    assert "Found 1 possible inputs" in capsys.readouterr().out


@pytest.mark.parametrize("name", VERSIONS)
def test_releases_differ_in_their_attributes_and_files(work, capsys, name):
    assert quantize("o", version_compat=name) == 0
    version = VERSIONS[name]
    fix = fixes("o/quantize_eval_model.pb")["x/aquant"]
    assert fix.get("output_dir") == (b"o" if version.writes_output_dir else None)
    assert ("T" in fix.attrs) == version.writes_type
    assert (work / "o" / "deploy_model.pb").exists() == version.deploys
    assert ("deploy_model:" in capsys.readouterr().out) == version.deploys


def test_a_release_without_deploy_graph_leaves_no_old_one(work):
    assert quantize("o") == quantize("o", version_compat="2.x") == 0
    assert not (work / "o" / "deploy_model.pb").exists()


def test_dpu_accuracy_rounds_activations_half_away(work, monkeypatch):
    import dpuflow.quant.calibrate as calibrate

    seen = []
    snap = calibrate.snap_blocks
    monkeypatch.setattr(calibrate, "snap_blocks", lambda x, pos, how, bits: (seen.append(how), snap(
        x, pos, how, bits))[1])
    assert quantize("o") == 0
    assert set(seen) == {"half_up", "half_away"}
    seen.clear()
    monkeypatch.setenv("DPU_ACCURACY", "0")
    assert quantize("o") == 0
    assert set(seen) == {"half_away"}


def test_decent_debug_writes_every_stage(work, monkeypatch):
    monkeypatch.setenv("DECENT_DEBUG", "1")
    assert quantize("o") == 0
    assert sorted(path.stem for path in (work / "o" / "decent_debug").iterdir()) == [
        "aux_graph", "convert_patterns", "deploy_sub_graph", "deployed", "fn_inserted", "fold_batchnorms",
        "fold_constants", "fold_convmul", "fold_fix_neuron", "fold_op_params", "inference_reshapes", "main_graph",
        "optimized", "quantize_calibration_model", "quantize_evaluation_model", "remove_nodes",
        "separate_shared_constants", "simulate_dpu", "update_old_batchnorms"]


def test_arch_type_in_the_environment_is_the_flag(work, monkeypatch, capsys):
    monkeypatch.setenv("ARCH_TYPE", "DPUCADF8H")
    assert quantize("o") == 1
    assert "--arch_type: this value is not supported" in capsys.readouterr().err


def test_quantized_weights_in_the_evaluation_graph(work):
    assert quantize("float") == quantize("fixed", keep_float_weight=0) == 0
    first, second = (read_graphdef(f"{folder}/quantize_eval_model.pb") for folder in ("float", "fixed"))
    deployed = read_graphdef("float/deploy_model.pb").node("net/conv0/Conv2D").tensor("weights")
    name = "net/conv0/kernel"
    assert np.array_equal(second.node(name).tensor(), deployed)
    assert not np.array_equal(first.node(name).tensor(), deployed)


def test_the_given_batch_is_deployed(work):
    for shapes, batch in (("?,8,8,2", 1), ("4,8,8,2", 4)):
        assert quantize("o", input_shapes=shapes) == 0
        assert read_graphdef("o/deploy_model.pb").node("x").get("shape").dims == (batch, 8, 8, 2)


def test_update_adds_types(work, capsys):
    assert quantize("o") == 0
    arguments = ["update", "--input_frozen_graph=o/quantize_eval_model.pb", "--output_dir=new"]
    assert main("vai_q_tensorflow", arguments) == 0
    old, new = fixes("o/quantize_eval_model.pb"), fixes("new/quantize_eval_model.pb")
    assert all("T" not in node.attrs for node in old.values())
    assert {node.get("T").number for node in new.values()} == {1}
    assert main("decent_q", ["update", "--input_frozen_graph=frozen.pb"]) == 1
    assert "holds no FixNeuron" in capsys.readouterr().err


def test_deploy_of_an_evaluation_graph_gives_the_same_file(work):
    assert quantize("o") == 0
    assert main("decent_q", ["deploy", "--input_frozen_graph=o/quantize_eval_model.pb", "--input_nodes=x",
                             "--input_shapes=?,8,8,2", "--output_nodes=net/out", "--output_dir=again"]) == 0
    again = (work / "again" / "deploy" / "deploy_model.pb").read_bytes()
    assert again == (work / "o" / "deploy_model.pb").read_bytes()


DEPLOY_ERRORS = [
    ([], "No --input_meta_graph assigned."),
    (["--input_meta_graph=x.meta"], "No --input_checkpoint assigned."),
    (["--input_meta_graph=absent.meta", "--input_checkpoint=x"], "absent.meta: no such file"),
    (["--input_meta_graph=flag_fn.py", "--input_checkpoint=x"], "not a valid file of this kind"),
    (["--input_frozen_graph=frozen.pb"], "No --input_nodes assigned."),
    (["--input_frozen_graph=frozen.pb", "--input_nodes=x", "--output_nodes=net/out", "--input_shapes=?,8,8,2"],
     "the graph holds no FixNeuron"),
]


@pytest.mark.parametrize(("arguments", "message"), DEPLOY_ERRORS)
def test_deploy_needs_its_inputs(work, capsys, arguments, message):
    assert main("decent_q", ["deploy", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_dump_of_a_graph_behind_preprocessing(work, capsys):
    """``--dump_input_tensors``: the images go in where the network begins."""
    from dpuflow.formats.graphdef import new_node
    from dpuflow.formats.tf_builder import FrozenBuilder
    from dpuflow.formats.tf_values import FLOAT

    build = FrozenBuilder()
    x = build.placeholder("raw", (-1, 4, 4, 3))
    start = build.unary("start", "Relu", x)
    build.add(new_node("start/aquant", "FixNeuron", (start,), bit_width=8, method=1, mode=1, phase=1, quantize_pos=4))
    build.add(new_node("end", "Relu", ("start/aquant",), T=FLOAT))
    write_graphdef(build.graph(), work / "eval.pb")
    assert main("decent_q", ["dump", "--input_frozen_graph=eval.pb", "--input_fn=flag_fn.loud", "--output_dir=d",
                             "--dump_input_tensors=start:0"]) == 0
    ints = np.fromfile("d/dump_results_0/start_aquant.bin", np.int8)
    assert ints.size == 2 * 4 * 4 * 3
    assert ints.min() < 0  # the relu before the tensor was not run
