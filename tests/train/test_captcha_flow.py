"""From weights to words through the stages' own commands, with networks that know nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from captcha_freeze import freeze_layers
from captcha_networks import NETWORKS, STEPS

from dpuedge.image import preprocess_batch
from dpuflow.arrays import read_arrays
from dpuflow.artifact import load_stage, write_stage
from dpuflow.data.captcha import BLANK, PREPROCESSING, SYMBOLS
from dpuflow.errors import DataError
from dpuflow.formats.graphdef import read_graphdef

ROOT = Path(__file__).resolve().parents[2]
IMAGES = 8


class Weights(dict):
    """Random weights of whatever shape a network asks for, by name."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], seed: int = 1) -> None:
        rng = np.random.default_rng(seed)
        for name, shape in shapes.items():
            spread = (2.0 / max(int(np.prod(shape[:-1])), 1)) ** 0.5
            value = rng.normal(0, spread, shape) if len(shape) > 1 else rng.uniform(0.1, 0.6, shape)
            self[name] = value.astype(np.float32)


def shapes_of(network: str) -> dict[str, tuple[int, ...]]:
    """The shapes of a network's weights, as Keras would hold them."""
    from captcha_networks import Conv, Dense, Recurrent, layer_rows

    shapes, shape = {}, (200, 50, 1)
    for layer, row in zip(NETWORKS[network], layer_rows(NETWORKS[network]), strict=True):
        if isinstance(layer, Conv):
            shapes[f"{layer.name}/kernel"] = (*layer.kernel, shape[-1], layer.filters)
            terms = ("gamma", "beta", "moving_mean", "moving_variance") if layer.norm else ()
            shapes |= {f"{layer.name}_norm/{term}": (layer.filters,) for term in terms}
            shapes |= {} if layer.norm else {f"{layer.name}/bias": (layer.filters,)}
        elif isinstance(layer, Dense):
            shapes |= {f"{layer.name}/kernel": (shape[-1], layer.units), f"{layer.name}/bias": (layer.units,)}
        elif isinstance(layer, Recurrent):
            for direction in ("forward", "backward"):
                scope = f"{layer.name}/{direction}_lstm/lstm_cell"
                shapes |= {f"{scope}/kernel": (shape[-1], 4 * layer.units), f"{scope}/bias": (4 * layer.units,),
                           f"{scope}/recurrent_kernel": (layer.units, 4 * layer.units)}
        shape = row.shape
    return shapes


def pictures() -> np.ndarray:
    rng = np.random.default_rng(3)
    return cv2.GaussianBlur(rng.integers(0, 256, (50, 200, IMAGES), np.uint8), (9, 9), 3).transpose(2, 0, 1)


def write_train(folder: Path, network: str) -> None:
    """The train stage of a network with random weights."""
    gray = pictures()
    x = preprocess_batch(list(gray), PREPROCESSING)
    labels = np.random.default_rng(4).integers(0, BLANK, (IMAGES, 5))
    with write_stage(folder, "train", {"network": network}) as stage:
        np.savez(stage.path("weights.npz"), **Weights(shapes_of(network)))
        np.savez(stage.path("calibration.npz"), x=x)
        np.savez(stage.path("test.npz"), x=x, gray=gray, labels=labels, names=np.array(["x"] * IMAGES))
        stage.path("layers.txt").write_text("layers\n")
        stage.path("training.json").write_text(json.dumps({"curve": [], "parameters": 1}))
        stage.info.update({"task": "ctc", "network": network, "labels": list(SYMBOLS), "blank": BLANK,
                           "fake_class": None, "preprocessing": dict(PREPROCESSING), "epsilon": 1e-3,
                           "calibration_batch": 2})


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "board")])
    environment = {**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1",
                   "DECENT_Q": str(Path(sys.executable).with_name("decent_q")),
                   "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("DPUFLOW_CALIBRATION", None)
    return subprocess.run([sys.executable, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True,
                          check=False)


@pytest.mark.parametrize(("network", "devices", "crossing"), [
    ("twin_small", ["DPUKernel", "CPUKernel"], (1, STEPS, 1, 20)),
    ("crnn", ["DPUKernel", "CPUKernel"], (1, STEPS, 64)),
])
def test_from_weights_to_words(tmp_path: Path, network: str, devices: list[str], crossing: tuple[int, ...]) -> None:
    model, build = network, tmp_path
    folder = build / model
    write_train(folder / "train", network)
    steps = [("train/freeze.py", "--model", model, "--train", str(folder / "train"), "--out", str(folder / "freeze"))]
    steps += [("scripts/stage.py", stage, "--model", model, "--build", str(build))
              for stage in ("quantize", "compile", "emulate", "report")]
    outputs = []
    for step in steps:
        done = command(*step)
        assert done.returncode == 0, done.stdout + done.stderr
        outputs.append(done.stdout)
    compiled = load_stage(folder / "compile")
    kernels = compiled.path("kernels.txt").read_text()
    assert [word for word in kernels.split() if word.endswith("Kernel") and word != "Kernel"] == devices
    manifest = json.loads(compiled.path(f"{model}.json").read_text())
    assert [tuple(tensor["shape"]) for tensor in manifest["outputs"]] == [crossing]
    assert ("boundary.json" in load_stage(folder / "quantize").manifest["files"]) == (network == "crnn")
    deploy = read_graphdef(load_stage(folder / "quantize").path("deploy_model.pb"))
    assert not any(node.op == "BlockLSTM" for node in deploy.nodes)
    evaluation = json.loads(load_stage(folder / "emulate").path("evaluation.json").read_text())
    assert evaluation["engines"]["values_different"] == 0
    assert "values differ" in outputs[3] and (folder / "report" / "report.html").stat().st_size > 10_000
    logits = read_arrays(load_stage(folder / "emulate").path("evaluation.npz"))
    assert np.allclose(logits["quantized_logits"], logits["fast_logits"], atol=1e-4)

    picture = tmp_path / "2bnny.png"
    assert cv2.imwrite(str(picture), pictures()[0])
    done = command("board/run_dpu.py", str(folder / "compile" / f"{model}.xmodel"), str(picture), "--json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert result["image"] == str(picture) and 0 <= result["confidence"] <= 1
    best = logits["fast_logits"].reshape(IMAGES, STEPS, 20)[0].argmax(axis=1)
    word = [s for at, s in enumerate(best) if s != BLANK and (at == 0 or s != best[at - 1])]
    assert result["text"] == "".join(SYMBOLS[s] for s in word)


def test_a_network_that_nobody_knows_cannot_be_frozen(tmp_path: Path) -> None:
    write_train(tmp_path / "train", "twin_small")
    path = tmp_path / "train" / "manifest.json"
    path.write_text(path.read_text().replace('"network": "twin_small"', '"network": "alexnet"'))
    done = command("train/freeze.py", "--model", "x", "--train", str(tmp_path / "train"), "--out", str(tmp_path / "f"))
    assert done.returncode == 1
    assert "names no captcha network" in done.stderr and "Traceback" not in done.stderr
    with pytest.raises(DataError, match="conv1/kernel"):
        freeze_layers(NETWORKS["twin_small"], {}, 1e-3, "x")
