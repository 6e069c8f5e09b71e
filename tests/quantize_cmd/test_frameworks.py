"""Keras files and SavedModel folders through ``dpuflow quantize``; pictures from a folder."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dpuflow.cli import main
from dpuflow.engines.evaluate import evaluate
from dpuflow.model import load


@pytest.fixture(scope="module")
def network():
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(1)
    model = keras.Sequential([
        keras.Input((12, 12, 3), name="image"), keras.layers.Conv2D(6, 3, padding="same", name="c1"),
        keras.layers.BatchNormalization(name="bn"), keras.layers.ReLU(name="r1"), keras.layers.MaxPooling2D(2),
        keras.layers.Conv2D(8, 3, activation="relu", name="c2"), keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(4, activation="softmax", name="out")])
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(0, 0.3, w.shape) ** (2 if "variance" in v.name else 1)
                       for v, w in zip(model.weights, model.get_weights(), strict=True)])
    return model


@pytest.mark.train
@pytest.mark.parametrize("form", ["net.keras", "saved"])
def test_keras_and_saved_models(network, tmp_path, form, capsys):
    path = tmp_path / form
    if form == "saved":
        network.export(path, verbose=False)
    else:
        network.save(path)
    x = np.random.default_rng(0).uniform(0, 1, (120, 12, 12, 3)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, labels=np.zeros(120, np.int64))
    assert main(["quantize", str(path), "--calibration", str(tmp_path / "d.npz"), "--recipe", "vendor", "-o",
                 str(tmp_path / "out"), "--json", str(tmp_path / "out.json")]) == 0, capsys.readouterr().err
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["closeness"]["output_sqnr_db"] > 20
    graph = load(path).graph
    got = evaluate(graph, {graph.inputs[0].name: x[:8]})[graph.outputs[0]]
    np.testing.assert_allclose(got, network.predict(x[:8], verbose=0), atol=1e-5)


def test_a_folder_of_pictures_with_the_manifests_preprocessing(tmp_path, capsys):
    cv2 = pytest.importorskip("cv2")
    from dpuflow.formats.graphdef import write_graphdef
    from dpuflow.formats.tf_builder import FrozenBuilder

    rng = np.random.default_rng(0)
    build = FrozenBuilder()
    x = build.conv2d("c", build.placeholder("x", (-1, 8, 8, 1)), rng.normal(0, 1, (3, 3, 1, 4)))
    build.mean("m", build.unary("r", "Relu", x))
    write_graphdef(build.graph(), tmp_path / "net.pb")
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(3):
        cv2.imwrite(str(folder / f"{index}.png"), rng.integers(0, 256, (20, 15), np.uint8))
    arguments = ["quantize", str(tmp_path / "net.pb"), "--calibration", str(folder), "--recipe", "vendor"]
    assert main([*arguments, "-o", str(tmp_path / "a")]) == 0
    assert "preprocessing of pictures is assumed" in capsys.readouterr().err
    spec = {"id": "mine-v1", "height": 8, "width": 8, "channels": 1, "fit": "crop", "normalize": "unit", "clip": None}
    (tmp_path / "manifest.json").write_text(json.dumps({"info": {"preprocessing": spec}}))
    assert main([*arguments, "-o", str(tmp_path / "b")]) == 0
    said = capsys.readouterr()
    assert "assumed" not in said.err
    assert "mine-v1" in said.out
    assert load(tmp_path / "b" / "deploy_model.pb").graph.inputs[0].fix.pos == 7  # 0 .. 255/256
