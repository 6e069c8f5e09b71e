"""``dpuflow quantize``: what it writes, what its report says, and every way to get it wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dpuflow.cli import main
from dpuflow.formats.graphdef import read_graphdef, serialize_graphdef
from dpuflow.model import load
from dpuflow.quant.quantizer import quantize_graph

from quant import small_net
from quantize_cmd.conftest import images


def quantize(*arguments: object) -> int:
    return main(["quantize", *map(str, arguments)])


def files(folder) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_vendor_recipe_is_decent_qs_rule(work):
    graph = read_graphdef("float.pb")
    x = images()
    expected = quantize_graph(graph, small_net.config(graph), ({"x": x[at:at + 128]} for at in (0, 128)))
    assert quantize("float.pb", "--calibration", "data.npz", "--recipe", "vendor", "-o", "out") == 0
    assert (work / "out/quantize_eval_model.pb").read_bytes() == serialize_graphdef(expected.evaluation)
    assert (work / "out/deploy_model.pb").read_bytes() == serialize_graphdef(expected.deploy)
    table = json.loads((work / "out/positions.json").read_text())["tensors"]
    assert table["net/conv0/kernel"] == {"pos": expected.positions["net/conv0/kernel/wquant"], "bits": 8,
                                         "kind": "weights"}
    assert {name: entry["kind"] for name, entry in table.items()}["net/conv0/bias"] == "bias"
    assert len(table) == len(expected.positions)
    assert files(work / "out") == ["deploy_model.pb", "positions.json", "quantize_eval_model.pb"]


@pytest.mark.filterwarnings("ignore:.DECENT_WARNING. Shift")
def test_record_and_page_hold_the_same_measurements(work, capsys):
    assert quantize("float.pb", "--calibration", "quantize_cmd_user.input_fn", "--recipe", "vendor", "-o", "out",
                    "--evaluate", "data.npz", "--json", "out.json", "--report", "out.html", "--what-if",
                    "weights=4,conv0=2") == 0
    record = json.loads((work / "out.json").read_text())
    page = (work / "out.html").read_text()
    assert 0 <= record["accuracy"]["float"] <= 1
    assert record["accuracy"]["drop_points"] == pytest.approx(
        100 * (record["accuracy"]["float"] - record["accuracy"]["quantized"]))
    assert {layer["name"] for layer in record["layers"]} == {
        "x", "net/conv0/Conv2D", "net/conv1/Conv2D", "net/mean2", "net/dense3/MatMul"}
    assert record["cost_unit"] == "accuracy"
    costs = [layer["cost"] for layer in record["layers"]]
    assert costs == sorted(costs, reverse=True)
    assert [outcome["runnable_on_dpu"] for outcome in record["what_if"]] == [False]
    for layer in record["layers"]:
        assert layer["name"] in page
    assert "not runnable on the DPU" in page
    assert "not run on hardware" in page
    assert "dearest layers" in capsys.readouterr().out


def test_without_a_measure_the_cost_is_called_divergence(work):
    assert quantize("float.pb", "--calibration", "data.npz", "--recipe", "vendor", "-o", "out", "--json",
                    "out.json") == 0
    record = json.loads((work / "out.json").read_text())
    assert record["accuracy"] == {}
    assert "not accuracy" in record["cost_is"]
    assert all(layer["cost"] == layer["noise_share"] for layer in record["layers"])


def test_module_functions_measure_accuracy(work):
    assert quantize("float.pb", "--calibration", "data.npz", "--recipe", "vendor", "--evaluate",
                    "quantize_cmd_user.constant_share", "-o", "out", "--json", "out.json") == 0
    accuracy = json.loads((work / "out.json").read_text())["accuracy"]
    out = load("float.pb")
    from dpuflow.engines.evaluate import evaluate

    x = np.random.default_rng(0).normal(0, 1, (8, 8, 8, 2)).astype(np.float32)
    expected = float((evaluate(out.graph, {"x": x})["net/out"].argmax(axis=1) == 0).mean())
    assert accuracy["float"] == expected


def test_positions_come_back_and_partial_tables_change_only_their_tensors(work):
    base = ("float.pb", "--calibration", "data.npz", "--recipe", "vendor")
    assert quantize(*base, "-o", "first") == 0
    table = json.loads((work / "first/positions.json").read_text())["tensors"]
    name = "net/conv1/kernel"
    (work / "some.json").write_text(json.dumps({name: table[name]["pos"] - 1}))
    assert quantize(*base, "--positions", "some.json", "-o", "second") == 0
    changed = json.loads((work / "second/positions.json").read_text())["tensors"]
    assert {key for key in table if table[key] != changed[key]} == {name}
    assert changed[name]["pos"] == table[name]["pos"] - 1
    deployed = load("second/deploy_model.pb").graph
    assert {node.name: node.fix.pos for node in deployed.nodes if node.fix}[
        next(n.name for n in deployed.nodes if n.op == "const" and "conv1" in n.name and len(n.shape) == 4)
    ] == table[name]["pos"] - 1
    # The whole table needs no calibration data and gives the same files again.
    assert quantize("float.pb", "--positions", "second/positions.json", "-o", "third") == 0
    assert (work / "third/deploy_model.pb").read_bytes() == (work / "second/deploy_model.pb").read_bytes()


def test_illegal_positions_are_named(work, capsys):
    (work / "wild.json").write_text(json.dumps({"net/conv1/kernel": -20}))
    assert quantize("float.pb", "--calibration", "data.npz", "--recipe", "vendor", "--positions", "wild.json", "-o",
                    "out") == 0
    assert "net/conv1/Conv2D: shift_cut" in capsys.readouterr().err


BAD = {
    "no file": (("none.pb", "--calibration", "data.npz"), "no such file"),
    "no data": (("float.pb", "--calibration", "none.npz"), "no such file or folder"),
    "no function": (("float.pb", "--calibration", "quantize_cmd_user.nothing"), "Fail to import"),
    "no positions": (("float.pb",), "positions are missing"),
    "recipe": (("float.pb", "--calibration", "data.npz", "--recipe", "magic"), "no such recipe"),
    "nan": (("float.pb", "--calibration", "quantize_cmd_user.nan"), "NaN or infinity"),
    "limit alone": (("float.pb", "--calibration", "data.npz", "--max-drop", 1), "needs a measure"),
    "per cent": (("float.pb", "--calibration", "data.npz", "--evaluate", "quantize_cmd_user.in_per_cent"),
                 "did not return an accuracy"),
    "evaluation fails": (("float.pb", "--calibration", "data.npz", "--evaluate", "quantize_cmd_user.fails"),
                         "RuntimeError: no data here"),
    "no labels": (("float.pb", "--calibration", "data.npz", "--evaluate", "plain.npz"), "holds no labels"),
    "width": (("float.pb", "--calibration", "data.npz", "--what-if", "weights=9"), "2 to 8 bits"),
    "layer": (("float.pb", "--calibration", "data.npz", "--what-if", "conv7=4"), "no layer has this name"),
    "several layers": (("float.pb", "--calibration", "data.npz", "--what-if", "net=4"), "several layers fit"),
    "position name": (("float.pb", "--calibration", "data.npz", "--positions", "wrong_name.json"),
                      "did you mean net/conv1/kernel"),
    "position": (("float.pb", "--calibration", "data.npz", "--positions", "wrong_value.json"), "not a position"),
    "twice": (("float.pb", "--calibration", "data.npz", "--positions", "twice.json"), "stands twice"),
    "no json": (("float.pb", "--calibration", "data.npz", "--positions", "data.npz"), "not a JSON file"),
    "wrong size": (("float.pb", "--calibration", "small.npz"), "do not fit the network's input"),
    "damaged": (("float.pb", "--calibration", "cut.npy"), "ends in row"),
    "empty": (("float.pb", "--calibration", "empty.npz"), "no images"),
    "objects": (("float.pb", "--calibration", "objects.npy"), "not an array of numbers"),
    "node": (("float.pb", "--calibration", "data.npz", "--output-nodes", "net/put"), "net/out"),
    "strict": (("float.pb", "--calibration", "few.npz", "--strict"), "few-images"),
    "deploy graph": (("done/deploy_model.pb", "--calibration", "data.npz"), "deploy graph"),
    "folder": (("float.pb", "--calibration", "."), "pictures have 1 or 3 channels"),
}


@pytest.fixture
def spoiled(work):
    """Beside the good files some of every bad kind."""
    np.savez(work / "plain.npz", x=images(4))
    np.savez(work / "few.npz", x=images(4))
    np.savez(work / "small.npz", x=np.zeros((4, 7, 8, 2), np.float32))
    np.savez(work / "empty.npz", x=np.zeros((0, 8, 8, 2), np.float32))
    np.save(work / "objects.npy", np.array([{}, {}], object), allow_pickle=True)
    np.save(work / "whole.npy", images())
    (work / "cut.npy").write_bytes((work / "whole.npy").read_bytes()[:-700])
    (work / "wrong_name.json").write_text('{"net/conv1/kernels": 7}')
    (work / "wrong_value.json").write_text('{"net/conv1/kernel": 7.5}')
    (work / "twice.json").write_text('{"net/conv1/kernel": 7, "net/conv1/kernel": 8}')
    assert quantize("float.pb", "--calibration", "data.npz", "-o", "done") == 0
    return work


def test_bad_input_is_one_message_and_leaves_nothing(spoiled, capsys):
    before = files(spoiled)
    for name, (arguments, expected) in BAD.items():
        assert quantize(*arguments, "-o", "out", "--json", "r.json") == 1, name
        error = capsys.readouterr().err
        assert expected in error, (name, error)
        assert "Traceback" not in error
    assert files(spoiled) == before


def test_an_interrupted_run_leaves_nothing_half_written(work, monkeypatch):
    from dpuflow.cli import quantize as command

    def interrupt(data):
        raise KeyboardInterrupt

    before = files(work)
    monkeypatch.setattr(command, "serialize_graphdef", interrupt)
    assert quantize("float.pb", "--calibration", "data.npz", "-o", "out") == 130
    assert [name for name in files(work) if name not in before] == []


def test_a_quantized_graph_is_analysed_with_its_own_positions(work, capsys):
    assert quantize("float.pb", "--calibration", "data.npz", "--recipe", "vendor", "-o", "out", "--json", "a.json") == 0
    assert quantize("out/quantize_eval_model.pb", "--calibration", "data.npz", "--evaluate", "data.npz", "-o", "again",
                    "--json", "b.json") == 0
    first, second = (json.loads((work / name).read_text()) for name in ("a.json", "b.json"))
    assert second["recipe"] == "the file's own positions"
    assert second["positions"] == first["positions"]
    assert second["closeness"] == first["closeness"]
    assert (work / "again/deploy_model.pb").read_bytes() == (work / "out/deploy_model.pb").read_bytes()


def test_the_library_gives_the_commands_result(work):
    import dpuflow

    assert quantize("float.pb", "--calibration", "data.npz", "--recipe", "vendor", "-o", "out") == 0
    for source in ("data.npz", images(), {"x": images()}, [{"x": images()[:128]}, {"x": images()[128:]}]):
        made = dpuflow.quantize("float.pb", source)
        assert serialize_graphdef(made.result.deploy) == (work / "out/deploy_model.pb").read_bytes()
    name = "net/conv1/kernel"
    before = made.result.positions[f"{name}/wquant"]
    fixed = dpuflow.quantize("float.pb", "data.npz", positions={name: before - 2})
    assert fixed.result.positions == {**made.result.positions, f"{name}/wquant": before - 2}


@pytest.mark.filterwarnings("ignore:.DECENT_WARNING. Shift")
def test_what_auto_tried_is_said_and_shown(work, capsys):
    assert quantize("float.pb", "--calibration", "data.npz", "--recipe", "auto", "--max-drop", "100", "--evaluate",
                    "data.npz", "-o", "out", "--json", "out.json", "--report", "out.html") == 0
    text, search = capsys.readouterr().out, json.loads((work / "out.json").read_text())["search"]
    assert search["best"] == "vendor"
    assert [trial["plan"] for trial in search["trials"]] == ["vendor"]
    assert "tried 1 plans" in text
    assert "*vendor" in text
    assert "<strong>vendor</strong>" in (work / "out.html").read_text()
    assert quantize("float.pb", "--calibration", "data.npz", "--recipe", "vendor", "-o", "out", "--json", "v.json") == 0
    assert json.loads((work / "v.json").read_text())["search"] is None


def test_the_images_of_an_evaluation_are_counted(work):
    from dpuflow.calibration.accuracy import Runner, counted

    run = Runner(("x",), ("y",), lambda arrays: {"y": arrays["x"]})

    def measure(network):
        assert (network.inputs, network.outputs) == (("x",), ("y",))
        return float(network(np.zeros((3, 2)))["y"].size + network({"x": np.ones((4, 2))})["y"].sum()) / 100

    assert counted(measure, run) == (0.14, 7)
