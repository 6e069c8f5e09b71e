"""Tests of train/gan.py, trainer.py, outputs.py and train.py on runs of a few steps."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from data.font_maker import make_font

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

import gan  # noqa: E402
import outputs  # noqa: E402
from trainer import Trainer  # noqa: E402

from dpuedge import image  # noqa: E402
from dpuflow.artifact import load_stage  # noqa: E402
from dpuflow.data.classes import FAKE_CLASS  # noqa: E402

pytestmark = pytest.mark.train

# Under a name of its own: this folder of tests is called "train" too.
_spec = importlib.util.spec_from_file_location("train_script", Path(__file__).parents[2] / "train" / "train.py")
assert _spec
assert _spec.loader
train = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(train)
FAMILIES = ("Alpha", "Beta", "Gamma")


@pytest.fixture(scope="module")
def fonts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fonts")
    for number, family in enumerate(FAMILIES):
        (folder / f"{family}.ttf").write_bytes(make_font(family, weight=60 + 20 * number).data)
    return folder


def command(fonts: Path, out: Path, *more: str) -> Sequence[str]:
    settings = ["checkpoint_steps=2", "fake_share=0.5", "dropout=0.2"]
    return ["--out", str(out), "--data", "glyphs", "--fonts", str(fonts), "--batch", "8", "--samples", "48",
            *(word for setting in settings for word in ("--set", setting)), *more]


# -- the networks ------------------------------------------------------------------------------------------

def test_the_discriminator_is_the_one_of_the_issue() -> None:
    weights = gan.export_weights(built(gan.Discriminator(0.1, 1)))
    kernels = {name.split("/")[1]: array.shape for name, array in weights.items() if name.endswith("kernel")}
    assert kernels == {
        "conv2d": (3, 3, 1, 64), "conv2d_1": (3, 3, 64, 64), "conv2d_2": (3, 3, 64, 64),
        "conv2d_3": (3, 3, 64, 128), "conv2d_4": (3, 3, 128, 128), "conv2d_5": (3, 3, 128, 128), "dense": (128, 63)}
    assert len(weights) == 7 * 2 + 3 * 4
    assert weights["discriminator/batch_normalization_2/moving_variance"].shape == (128,)


def built(model: gan.Discriminator) -> gan.Discriminator:
    model(np.zeros((1, 32, 32, 1), np.float32))
    return model


def test_real_statistics_normalize_generated_pictures_too() -> None:
    model = built(gan.Discriminator(0.0, 1))
    rng = np.random.default_rng(0)
    real, other = (rng.standard_normal((4, 32, 32, 1)).astype(np.float32) for _ in range(2))
    alone = np.asarray(model(real, real=4)[0])
    before = np.asarray(model.norms[0].moving_mean)
    mixed = np.asarray(model(np.concatenate([real, other * 9]), real=4)[0])
    assert np.allclose(alone, mixed[:4], atol=1e-4)
    assert (np.asarray(model.norms[0].moving_mean) != before).any()
    assert (np.asarray(model(real)[0]) == np.asarray(model(real)[0])).all()


def test_normalization_of_literal_numbers() -> None:
    norm = gan.Normalization("norm", momentum=0.5)
    x = np.array([1, 3, 7], np.float32).reshape(3, 1, 1, 1)
    got = np.asarray(norm(x, real=2)).ravel()
    assert got == pytest.approx(np.array([-1, 1, 5]) / np.sqrt(1 + gan.EPSILON), rel=1e-5)
    assert np.asarray(norm.moving_mean).tolist() == [1.0]
    assert np.asarray(norm.moving_variance).tolist() == [1.0]
    assert np.asarray(norm(x)).ravel() == pytest.approx(np.array([0, 2, 6]) / np.sqrt(1 + gan.EPSILON), rel=1e-5)


def test_generated_pictures_have_the_range_of_pictures() -> None:
    generator = gan.Generator(1)
    pictures = np.asarray(generator(np.random.default_rng(0).standard_normal((3, 100)).astype(np.float32)))
    assert pictures.shape == (3, 32, 32, 1)
    assert np.abs(pictures).max() <= 1
    kernels = [tuple(variable.shape) for variable in generator.variables if len(variable.shape) == 4]
    assert kernels == [(5, 5, 64, 128), (5, 5, 32, 64), (5, 5, 1, 32)]


@pytest.mark.parametrize("normalization", image.NORMALIZATIONS)
def test_the_differentiable_input_scale_is_the_preprocessing(normalization: str) -> None:
    spec = {**image.DEFAULT_SPEC, "normalize": normalization, "mean": [100.0], "scale": [0.02]}
    gray = np.random.default_rng(0).integers(0, 256, (3, 32, 32)).astype(np.uint8)
    expected = image.normalize(gray, spec)[..., None]
    got = np.asarray(gan.to_input_scale((gray[..., None] / 127.5 - 1).astype(np.float32), spec))
    assert np.abs(got - expected).max() < 1e-4


def test_losses_of_literal_logits() -> None:
    logits = np.zeros((2, 63), np.float32)
    assert float(np.asarray(gan.real_logit(logits))[0]) == pytest.approx(np.log(62))
    assert float(gan.class_loss(logits, np.array([0, 5]), 0.1)) == pytest.approx(np.log(63), rel=1e-5)
    sure = np.full((1, 63), -50, np.float32)
    sure[0, 7] = 50
    assert float(gan.class_loss(sure, np.array([7]), 0.0)) == pytest.approx(0, abs=1e-5)
    assert float(gan.class_loss(sure, np.array([8]), 0.0)) == pytest.approx(100, rel=1e-5)
    assert float(gan.class_loss(sure, np.array([7]), 0.62)) == pytest.approx(61, rel=1e-3)
    fake = np.full((1, 63), -50, np.float32)
    fake[0, FAKE_CLASS] = 50
    assert float(gan.real_or_fake_loss(sure, fake)) == pytest.approx(0, abs=1e-5)
    assert float(gan.real_or_fake_loss(fake, sure)) > 150
    ones, twos = np.ones((4, 3), np.float32), np.full((2, 3), 3, np.float32)
    assert float(gan.matching_loss(ones, twos)) == 4.0


# -- whole runs --------------------------------------------------------------------------------------------

def arrays(folder: Path, *names: str) -> dict[str, bytes]:
    found = {}
    for name in names:
        with np.load(folder / name) as archive:
            found.update({f"{name}:{key}": archive[key].tobytes() for key in archive.files})
    return found


@pytest.mark.parametrize("more", [("--mode", "gan", "--labelled-share", "0.5"), ("--mode", "supervised")],
                         ids=["gan", "supervised"])
def test_a_resumed_run_ends_where_an_unstopped_one_ends(fonts: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert train.main(command(fonts, whole, *more)) == 0
    assert train.main(command(fonts, stopped, *more, "--time-limit", "1e-9")) == 0
    early = arrays(stopped, "weights.npz")
    assert json.loads((stopped / "training.json").read_text())["stopped_by"] == "time limit"
    assert train.main(command(fonts, stopped, *more, "--resume")) == 0
    files = ("weights.npz", "generator.npz", "samples.npz")
    assert arrays(whole, *files) == arrays(stopped, *files)
    assert early != arrays(stopped, "weights.npz")
    curves = [json.loads((folder / "training.json").read_text())["curve"] for folder in (whole, stopped)]
    for entries in curves:
        for entry in entries:
            entry.pop("seconds")
    assert curves[0] == curves[1]


@pytest.fixture(scope="module")
def stage(fonts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("build") / "train"
    assert train.main(command(fonts, out)) == 0
    return out


def test_the_stage_holds_what_later_stages_read(stage: Path) -> None:
    info = load_stage(stage).info
    assert info["labels"][36] == "a"
    assert info["fake_class"] == 62
    assert info["preprocessing"] == image.DEFAULT_SPEC
    assert info["epsilon"] == gan.EPSILON
    assert set(info["accuracy"]) == {"validation", "test", "test_with_views"}
    assert info["dataset"]["train"]["glyphs"]["count"] + info["dataset"]["validation"]["count"] \
        + info["dataset"]["test"]["count"] == len(FAMILIES) * 4 * 62
    with np.load(stage / "calibration.npz") as saved:
        assert saved["x"].shape == (1280, 32, 32, 1)
        assert saved["x"].dtype == np.float32
    with np.load(stage / "test.npz") as saved:
        assert (image.normalize(saved["gray"], info["preprocessing"])[..., None] == saved["x"]).all()
        assert len(saved["names"]) == len(saved["labels"]) == len(saved["x"]) == 248
    with np.load(stage / "nonchars.npz") as saved:
        assert saved["x"].shape[1:] == (32, 32, 1)
        assert len(saved["x"]) == len(saved["gray"])


def test_no_family_stands_in_two_sets(stage: Path) -> None:
    families = []
    for name in ("validation", "test"):
        with np.load(stage / f"{name}.npz") as saved:
            families.append({text.split("/")[2].split("-")[0] for text in saved["names"]})
    assert families[0] != families[1]
    assert all(len(family) == 1 for family in families)


def test_the_exported_weights_compute_what_was_reported(stage: Path) -> None:
    with np.load(stage / "weights.npz") as saved, np.load(stage / "test.npz") as test:
        logits = forward(saved, test["x"][:64])
        with_all = forward(saved, test["x"])[:, :62].argmax(axis=1) == test["labels"]
    assert logits.shape == (64, 63)
    reported = load_stage(stage).info["accuracy"]["test"]["top1"]["accuracy"]
    assert np.mean(with_all) == pytest.approx(reported, abs=1e-5)


def forward(weights: object, x: np.ndarray) -> np.ndarray:
    """The discriminator by TensorFlow's own functions, from the exported arrays."""
    norms = {2: "batch_normalization", 3: "batch_normalization_1", 4: "batch_normalization_2"}
    for index in range(6):
        name = "discriminator/conv2d" + (f"_{index}" if index else "")
        x = tf.nn.conv2d(x, weights[f"{name}/kernel"], 2 if index < 3 else 1, "VALID" if index == 5 else "SAME")
        x = x + weights[f"{name}/bias"]
        if index in norms:
            terms = [weights[f"discriminator/{norms[index]}/{term}"]
                     for term in ("moving_mean", "moving_variance", "beta", "gamma")]
            x = tf.nn.batch_normalization(x, *terms, gan.EPSILON)
        x = tf.nn.relu(x)
    return np.asarray(tf.reduce_mean(x, (1, 2)) @ weights["discriminator/dense/kernel"]
                      + weights["discriminator/dense/bias"])


def test_a_current_stage_is_not_trained_again(stage: Path, fonts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (stage / "manifest.json").stat().st_mtime_ns
    assert train.main(command(fonts, stage)) == 0
    assert "is up to date" in capsys.readouterr().out
    assert (stage / "manifest.json").stat().st_mtime_ns == before
    key = load_stage(stage).manifest["key"]
    (fonts / "Delta.ttf").write_bytes(make_font("Delta", weight=150).data)
    try:
        options = train.parser().parse_args(command(fonts, stage))
        changed = train.stage_key(train.load_config("chars74k", train.overrides(options)), options)
    finally:
        (fonts / "Delta.ttf").unlink()
    assert changed["data"] != key["data"]
    assert {**changed, "data": key["data"]} == key


# -- what goes wrong ---------------------------------------------------------------------------------------

def failure(capsys: pytest.CaptureFixture[str], arguments: Sequence[str]) -> str:
    assert train.main(arguments) == 1
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    return shown


def test_a_checkpoint_of_another_run_is_refused(fonts: Path, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "train"
    assert train.main(command(fonts, out, "--time-limit", "1e-9")) == 0
    shown = failure(capsys, command(fonts, out, "--resume", "--seed", "9"))
    assert "other data or options" in shown
    checkpoint = tmp_path / ".train.checkpoint.npz"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    assert "unreadable checkpoint" in failure(capsys, command(fonts, out, "--resume"))


def test_ctrl_c_leaves_a_checkpoint_and_no_stage(fonts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    original = Trainer.step

    def step(self: Trainer, batch: tuple[object, ...], number: int) -> tuple[float, ...]:
        if number == 3:
            raise KeyboardInterrupt
        return original(self, batch, number)

    monkeypatch.setattr(Trainer, "step", step)
    assert train.main(command(fonts, tmp_path / "train")) == 130
    assert "--resume" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [".train.checkpoint.npz"]
    with np.load(tmp_path / ".train.checkpoint.npz") as saved:
        assert json.loads(saved["note"].tobytes())["step"] == 3


def test_bad_arguments_and_data_are_one_message(fonts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("DPUFLOW_DATA", raising=False)
    out = str(tmp_path / "train")
    assert "--data-root" in failure(capsys, ["--data", "good", "--out", out])
    assert "no such font folder" in failure(capsys, ["--data", "glyphs", "--fonts", str(tmp_path / "x"), "--out", out])
    assert "unknown" in failure(capsys, ["--set", "speed=3", "--out", out])
    with pytest.raises(SystemExit) as usage:
        train.main(["--mode", "magic"])
    assert usage.value.code == 2
    assert not (tmp_path / "train").exists()


def test_a_loss_that_is_not_finite_stops_the_run(fonts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Trainer, "step", lambda *_: (float("nan"), 0.0, 0.0))
    assert "diverged" in failure(capsys, command(fonts, tmp_path / "train"))
    assert not (tmp_path / "train").exists()


def test_shifted_and_inverted_views_of_a_picture() -> None:
    gray = np.arange(2 * 32 * 32).reshape(2, 32, 32).astype(np.uint8)
    seen = outputs.views(gray)
    assert len(seen) == 6
    assert (seen[0] == gray).all()
    assert (seen[1][:, 1:] == gray[:, :-1]).all()
    assert (seen[1][:, 0] == gray[:, 0]).all()
    assert (seen[4][:, :, :-1] == gray[:, :, 1:]).all()
    assert (seen[5] == 255 - gray).all()


def test_both_networks_slow_down_to_a_stop() -> None:
    config = train.load_config("chars74k", {"samples": 8000, "batch": 8, "generator_every": 4})
    trainer = Trainer(config, image.DEFAULT_SPEC)
    for optimizer, updates, peak in ((trainer.optimizer, 1000, config.learning_rate),
                                     (trainer.generator_optimizer, 250, config.generator_rate)):
        rate = [float(optimizer._learning_rate(step)) for step in range(updates + 1)]
        assert max(rate) == pytest.approx(peak, rel=0.01)
        assert rate[-1] == pytest.approx(0, abs=1e-9)
        assert rate[updates // 2] < peak
