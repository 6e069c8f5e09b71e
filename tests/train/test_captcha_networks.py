"""Tests of the captcha networks: layer tables, training of a few steps, frozen graphs, the NumPy tail."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from data.font_maker import make_font

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

import captcha_data  # noqa: E402
from captcha_augment import Source, frame_targets, views  # noqa: E402
from captcha_config import load_captcha_config  # noqa: E402
from captcha_freeze import freeze_layers  # noqa: E402
from captcha_keras import EPSILON, build, weights_of  # noqa: E402
from captcha_networks import CRNN, NETWORKS, STEPS, layer_rows, layer_table  # noqa: E402
from captcha_trainer import ctc_loss  # noqa: E402
from train_config import task_of  # noqa: E402

from dpuedge import ctc  # noqa: E402
from dpuflow.artifact import load_stage  # noqa: E402
from dpuflow.engines.evaluate import evaluate  # noqa: E402
from dpuflow.errors import ConfigError, DataError  # noqa: E402
from dpuflow.formats.graphdef import serialize_graphdef  # noqa: E402
from dpuflow.formats.tf_import import import_tf  # noqa: E402
from dpuflow.quant.nodes import quantize_nodes  # noqa: E402

pytestmark = pytest.mark.train

# Under a name of its own: this folder of tests is called "train" too.
_spec = importlib.util.spec_from_file_location("train_script", Path(__file__).parents[2] / "train" / "train.py")
assert _spec
assert _spec.loader
train = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(train)


@pytest.fixture(scope="module")
def models():
    """Every network with weights of a fixed seed and statistics that are not those of the start."""
    keras.utils.set_random_seed(3)
    made = {name: build(layers) for name, layers in NETWORKS.items()}
    rng = np.random.default_rng(4)
    for model in made.values():
        for variable in model.variables:
            if "norm" in variable.path or variable.path.endswith("bias"):
                variable.assign(np.asarray(variable) + rng.uniform(0.1, 0.5, variable.shape).astype(np.float32))
    return made


# -- the networks ------------------------------------------------------------------------------------------

def test_the_crnn_is_the_network_of_the_example(models) -> None:
    rows = {row.name: (row.shape, row.parameters) for row in layer_rows(CRNN)}
    assert rows == {
        "Conv1": ((200, 50, 32), 320), "pool1": ((100, 25, 32), 0), "Conv2": ((100, 25, 64), 18_496),
        "pool2": ((50, 12, 64), 0), "reshape": ((50, 768), 0), "dense1": ((50, 64), 49_216), "dropout": ((50, 64), 0),
        "bidirectional": ((50, 256), 197_632), "bidirectional_1": ((50, 128), 164_352), "dense2": ((50, 20), 2_580)}
    assert sum(parameters for _, parameters in rows.values()) == 432_596
    assert models["crnn"].count_params() == 432_596
    assert "432,596" in layer_table(CRNN).splitlines()[-1]


@pytest.mark.parametrize(("name", "parameters"), [
    ("crnn", 432_596), ("twin_small", 25_808), ("twin_medium", 84_032), ("twin_large", 200_108)])
def test_the_table_counts_as_keras_does(models, name: str, parameters: int) -> None:
    model = models[name]
    assert model.count_params() == parameters == sum(row.parameters for row in layer_rows(NETWORKS[name]))
    assert model.output_shape == (None, STEPS, 20)
    shapes = {layer.name: tuple(layer.output.shape[1:]) for layer in model.layers}
    for row in layer_rows(NETWORKS[name]):
        assert shapes[row.name] == row.shape


@pytest.mark.parametrize("name", ["crnn", "twin_small"])
def test_frozen_graphs_compute_what_keras_does_here_and_in_tensorflow(models, name: str) -> None:
    x = np.random.default_rng(1).normal(0, 1, (2, 200, 50, 1)).astype(np.float32)
    expected = tf.nn.softmax(models[name](x, training=False)).numpy()
    frozen = freeze_layers(NETWORKS[name], weights_of(models[name]), EPSILON, name)
    network = import_tf(frozen, [node.name for node in frozen.sinks])
    np.testing.assert_allclose(evaluate(network, {"image": x})["out"].reshape(expected.shape), expected, atol=1e-5)
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(tf.compat.v1.GraphDef.FromString(serialize_graphdef(frozen)), name="")
    with tf.compat.v1.Session(graph=graph) as session:
        theirs = session.run("out:0", {"image:0": x})
    np.testing.assert_allclose(theirs.reshape(expected.shape), expected, atol=1e-5)


def test_quantization_ends_where_the_processor_begins(models) -> None:
    crnn = quantize_nodes(freeze_layers(CRNN, weights_of(models["crnn"]), EPSILON, "crnn"))
    assert (crnn.outputs, crnn.has_tail) == (("bidirectional/steps",), True)
    text = freeze_layers(NETWORKS["twin_small"], weights_of(models["twin_small"]), EPSILON, "twin")
    nodes = quantize_nodes(text)
    assert (nodes.inputs, nodes.outputs, nodes.has_tail) == (("image",), ("out",), False)
    assert nodes.shell_text() == "INPUT_NODES=image\nINPUT_SHAPES='?,200,50,1'\nOUTPUT_NODES=out\nHAS_TAIL=''\n"


def test_missing_weights_are_named(models) -> None:
    weights = dict(weights_of(models["crnn"]))
    del weights["bidirectional/backward_lstm/lstm_cell/bias"]
    with pytest.raises(DataError, match="bidirectional/backward_lstm/lstm_cell/bias"):
        freeze_layers(CRNN, weights, EPSILON, "crnn")


# -- loss, views -------------------------------------------------------------------------------------------

def test_the_loss_is_the_likelihood_that_the_decoder_states() -> None:
    scores = np.random.default_rng(2).normal(0, 1, (3, 12, 6)).astype(np.float32)
    words = np.array([[0, 1, 2], [3, 3, 4], [4, 4, 4]])
    expected = -np.log(ctc.word_probabilities(scores, [tuple(word) for word in words.tolist()], 5)).mean()
    assert float(ctc_loss(tf.constant(scores), tf.constant(words))) == pytest.approx(expected, rel=1e-5)


def test_steps_say_the_glyph_that_stands_over_them() -> None:
    targets = frame_targets(np.array([[7, 3]]), np.array([[10.0, 30.0]]), 10, 19)
    assert targets.tolist() == [[19, 7, 7, 7, 19, 19, 3, 3, 3, 19]]  # steps at 2, 6, 10, ... within 6 pixels


def test_views_know_where_the_glyphs_went() -> None:
    config = load_captcha_config("captcha_conv", {"noise": 0.0, "contrast": 0.0, "shear": 0.0, "curve_share": 0.0})
    gray = np.full((20, 50, 200), 255, np.uint8)
    plain = 22.0 + 2.5 * 111.0 / 5  # the third glyph's centre
    gray[:, 20:30, int(plain) - 2:int(plain) + 3] = 0
    moved, centres = views(gray, np.random.default_rng(1), config)
    for image, centre in zip(moved, centres, strict=True):
        ink = 255.0 - image
        assert float((ink.sum(axis=0) * np.arange(200)).sum() / ink.sum()) == pytest.approx(centre[2], abs=1.5)
    plain_views = dict.fromkeys(
        ("noise", "contrast", "curve_share", "shear", "zoom", "shift_x", "shift_y", "rotation_degrees"), 0.0)
    still = load_captcha_config("captcha_conv", plain_views)
    assert (views(gray, np.random.default_rng(1), still)[0] == gray).all()


def test_a_batch_depends_on_seed_and_number_alone() -> None:
    config = load_captcha_config("captcha_conv", {"batch": 4})
    gray = np.random.default_rng(1).integers(0, 256, (6, 50, 200)).astype(np.uint8)
    symbols = np.arange(30).reshape(6, 5) % 19
    source = Source(gray, symbols, captcha_data.SPEC, config, STEPS)
    first, again, other = source.batch(3), source.batch(3), source.batch(4)
    assert all((one == two).all() for one, two in zip(first, again, strict=True))
    assert not (first[0] == other[0]).all()
    assert [part.shape for part in first] == [(4, 200, 50, 1), (4, 5), (4, STEPS)]


# -- configuration, training ---------------------------------------------------------------------------------

@pytest.mark.parametrize("changes", [
    {"network": "alexnet"}, {"data": "mnist"}, {"symbols": "22"}, {"fold": 5}, {"folds": 1}, {"frame_epochs": 9999},
    {"validation_share": 0.0}, {"epochs": 0}, {"zoom": 1.0}, {"batch": "many"}, {"noise": -1.0}, {"speed": 1},
])
def test_impossible_entries_are_refused_by_name(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        load_captcha_config("captcha", changes)


def test_the_shipped_configurations_differ_in_what_they_say() -> None:
    plain = load_captcha_config("captcha_conv", {}).as_json()
    for model, network in (("captcha", "crnn"), ("captcha_conv_small", "twin_small"),
                           ("captcha_conv_large", "twin_large")):
        other = load_captcha_config(model, {}).as_json()
        assert other["network"] == network
        assert {name for name in plain if plain[name] != other[name]} <= {"network", "learning_rate"}
        assert task_of(model) == "ctc"


def test_a_base_has_no_base(tmp_path: Path) -> None:
    for base in ("captcha", str(tmp_path / "x.toml")):
        (tmp_path / "x.toml").write_text(f'[model]\nbase = "{base}"\n[train]\n')
        with pytest.raises(ConfigError, match="builds on another"):
            load_captcha_config(str(tmp_path / "x.toml"), {})


@pytest.fixture
def few_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    font = make_font("Alpha", "Bold")  # made once: it holds the time at which it was made
    monkeypatch.setattr(captcha_data, "package_fonts", lambda: iter([font]))
    monkeypatch.delenv("DPUFLOW_DATA", raising=False)


def command(out: Path, *more: str) -> list[str]:
    settings = ("drawn=24", "network=twin_small", "look_epochs=1", "checkpoint_steps=2", "frame_epochs=1",
                "validation_share=0.2", "validation_views=1")
    return ["--model", "captcha_conv", "--out", str(out), "--data", "drawn", "--batch", "8", "--epochs", "2",
            *(word for setting in settings for word in ("--set", setting)), *more]


@pytest.mark.usefixtures("few_fonts")
def test_training_writes_a_stage_and_goes_on_from_a_checkpoint(tmp_path: Path,
                                                                capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(command(tmp_path / "whole")) == 0
    assert "captchas to learn from" in capsys.readouterr().out
    stage = load_stage(tmp_path / "whole")
    assert stage.info["labels"] == list("2345678bcdefgmnpwxy")
    assert (stage.info["task"], stage.info["blank"], stage.info["network"]) == ("ctc", 19, "twin_small")
    training = json.loads(stage.path("training.json").read_text())
    assert [entry["step"] for entry in training["curve"]] == [2, 4]
    assert training["parameters"] == 25_808
    test = np.load(stage.path("test.npz"))
    assert test["x"].shape[1:] == (200, 50, 1) and test["labels"].shape == (len(test["x"]), 5)
    assert list((tmp_path / "tensorboard").glob("events*"))
    assert train.main(command(tmp_path / "whole")) == 0
    assert "up to date" in capsys.readouterr().out
    # Stopped after the first step and taken up again: the same weights.
    assert train.main(command(tmp_path / "parts", "--time-limit", "1e-6")) == 0
    assert load_stage(tmp_path / "parts").info["accuracy"]
    assert train.main(command(tmp_path / "parts", "--resume")) == 0
    assert "going on from step" in capsys.readouterr().out
    one, other = (np.load(load_stage(tmp_path / name).path("weights.npz")) for name in ("whole", "parts"))
    for name in one.files:
        np.testing.assert_allclose(one[name], other[name], atol=1e-6)


@pytest.mark.usefixtures("few_fonts")
def test_bad_input_ends_with_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in ((["--mode", "gan"], "--mode"), (["--data", "captcha", "--data-root", str(tmp_path)],
                                                               "holds no captchas")):
        assert train.main(command(tmp_path / "out", *arguments)) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("train.py: error:") and message in error
