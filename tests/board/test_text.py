# ruff: noqa - must run on Python 2.7 too, newer spelling would break it
"""Tests of networks that read text: the layers behind the DPU, their manifest, the command. Python 2.7 and 3.5+."""
import io
import json
import os

import board_model
import numpy as np
import pytest

import run_dpu
from dpuedge import backends, ctc, manifest, tail, tasks
from dpuedge.errors import ManifestError
from dpuedge.recurrent import lstm

SPEC = {"id": "text4x6-v1", "height": 4, "width": 6, "channels": 1, "fit": "stretch", "transpose": True,
        "normalize": "unit", "clip": None}
STEPS, WIDTH, CLASSES = 6, 4, 3


def plain_lstm(x, kernel, recurrent, bias, reverse):
    """Keras's equations, gate by gate in float64."""
    units = recurrent.shape[0]
    result = np.zeros((len(x), x.shape[1], units))
    for row in range(len(x)):
        h, c = np.zeros(units), np.zeros(units)
        steps = range(x.shape[1])
        for t in (reversed(steps) if reverse else steps):
            z = x[row, t].dot(kernel) + h.dot(recurrent) + bias
            i, f, g, o = [z[k * units:(k + 1) * units] for k in range(4)]
            i, f, o = [1 / (1 + np.exp(-gate)) for gate in (i, f, o)]
            c = f * c + i * np.tanh(g)
            h = o * np.tanh(c)
            result[row, t] = h
    return result


@pytest.mark.parametrize("reverse", [False, True])
def test_lstm_against_its_equations(reverse):
    rng = np.random.RandomState(1)
    x, kernel, recurrent, bias = [rng.normal(0, 1, size).astype(np.float32)
                                  for size in ((3, 7, 5), (5, 16), (4, 16), (16,))]
    got = lstm(x, kernel, recurrent, bias, reverse)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, plain_lstm(x, kernel, recurrent, bias, reverse), atol=1e-5)


def test_lstm_saturates_without_a_warning():
    big = np.full((1, 2, 1), 1e4, np.float32)
    got = lstm(big, np.array([[1, 1, -1, 1]], np.float32), np.zeros((1, 4), np.float32), np.zeros(4, np.float32))
    assert got.tolist() == [[[pytest.approx(np.tanh(-1.0))], [pytest.approx(np.tanh(-2.0))]]]


def parameters():
    """Weights of a tail: an LSTM in each direction, joined, and a dense layer."""
    rng = np.random.RandomState(2)
    sizes = {"f/kernel": (WIDTH, 8), "f/recurrent": (2, 8), "f/bias": (8,), "b/kernel": (WIDTH, 8),
             "b/recurrent": (2, 8), "b/bias": (8,), "dense/kernel": (4, CLASSES), "dense/bias": (CLASSES,)}
    return dict((name, rng.normal(0, 1, size).astype(np.float32)) for name, size in sizes.items())


TAIL = [
    {"name": "steps", "op": "reshape", "inputs": ["net/relu"], "attrs": {"shape": [STEPS, WIDTH]}},
    {"name": "f", "op": "lstm", "inputs": ["steps"], "parameters": ["f/kernel", "f/recurrent", "f/bias"]},
    {"name": "b", "op": "lstm", "inputs": ["steps"], "parameters": ["b/kernel", "b/recurrent", "b/bias"],
     "attrs": {"reverse": True}},
    {"name": "both", "op": "concat", "inputs": ["f", "b"], "attrs": {"axis": 2}},
    {"name": "dense", "op": "dense", "inputs": ["both"], "parameters": ["dense/kernel", "dense/bias"]},
    {"name": "out", "op": "softmax"},
]


def write_text_model(folder, weights=None, **changes):
    """A model that reads text with a recurrent tail; the model's path."""
    weights = parameters() if weights is None else weights
    np.savez(os.path.join(str(folder), "tiny.tail.npz"), **weights)
    with open(os.path.join(str(folder), "tiny.tail.npz"), "rb") as stream:
        digest = board_model.sha256(stream.read())
    fields = {
        "inputs": [{"name": "image", "shape": [1, 6, 4, 1], "fix_point": 7}],
        "outputs": [{"name": "net/relu", "shape": [1, STEPS, 1, WIDTH], "fix_point": 5}],
        "cpu_tail": TAIL, "preprocessing": SPEC, "labels": ["a", "b"], "fake_class": None, "task": "ctc", "blank": 2,
        "files": {"tiny.xmodel": board_model.sha256(b"model"), "tiny.tail.npz": digest}}
    fields.update(changes)
    return board_model.write_model(folder, **fields)


class StepRunner(object):
    """Answers with the picture itself: six steps of four values."""

    name = "fake"

    def __init__(self):
        self.closed = False

    def run(self, image):
        """Int8 (24,) of int8 (1, 6, 4, 1)."""
        assert image.shape == (1, 6, 4, 1)
        return image.reshape(-1)

    def close(self):
        """Note it."""
        self.closed = True


@pytest.fixture
def step_emulator(monkeypatch):
    """The emulator row of the back end table with a runner that needs no dpuflow."""
    rows = [row._replace(open_runner=lambda _model, _engine: StepRunner(), find_missing=lambda: [])
            if row.emulated else row for row in backends.BACKENDS]
    monkeypatch.setattr(backends, "BACKENDS", tuple(rows))


def test_the_tail_step_by_step(tmpdir):
    model = manifest.load(write_text_model(tmpdir))
    assert (model.task, model.blank) == ("ctc", 2)
    weights, x = parameters(), np.random.RandomState(5).normal(0, 1, (2, STEPS, 1, WIDTH)).astype(np.float32)
    steps = x.reshape(2, STEPS, WIDTH)
    parts = [plain_lstm(steps, *([weights[d + "/" + p] for p in ("kernel", "recurrent", "bias")] + [d == "b"]))
             for d in "fb"]
    expected = np.concatenate(parts, axis=2).dot(weights["dense/kernel"]) + weights["dense/bias"]
    np.testing.assert_allclose(tail.scores(model, x), expected, atol=1e-5)
    np.testing.assert_allclose(tasks.steps_of(model, x[:1]), expected[:1], atol=1e-5)


def test_multiplications_of_the_steps(tmpdir):
    model = manifest.load(write_text_model(tmpdir))
    values = {"net/relu": np.zeros((1, STEPS, 1, WIDTH), np.float32)}
    counted = {}
    for step in tail.layers(model.cpu_tail):
        values[step["name"]] = tail.compute(step, values, model.parameters)
        counted[step["name"]] = tail.macs(step, values, model.parameters)
    assert counted == {"steps": 0, "f": STEPS * (WIDTH + 2) * 8, "b": STEPS * (WIDTH + 2) * 8, "both": 0,
                       "dense": STEPS * 4 * CLASSES}


@pytest.mark.usefixtures("step_emulator")
@pytest.mark.parametrize("beam", [[], ["--beam", "4"]])
def test_json_has_text_and_confidence(capsys, tmpdir, beam):
    model_path = write_text_model(tmpdir)
    array = np.random.RandomState(7).randint(-128, 128, (3, 6, 4, 1)).astype(np.int8)
    np.save(str(tmpdir.join("x.npy")), array)
    assert run_dpu.main([model_path, "--input", str(tmpdir.join("x.npy")), "--json"] + beam) == 0
    data = json.loads(capsys.readouterr()[0])
    scores = tasks.steps_of(manifest.load(model_path), array.reshape(3, STEPS, 1, WIDTH).astype(np.float32) / 32)
    assert [set(entry) for entry in data["results"]] == [{"image", "text", "confidence", "timing_ms"}] * 3
    for row, entry in enumerate(data["results"]):
        word = ctc.beam_search(scores[row], 2, 4)[0][0] if beam else ctc.greedy(scores[row:row + 1], 2)[0]
        assert entry["text"] == "".join("ab"[symbol] for symbol in word)
        assert entry["confidence"] == pytest.approx(ctc.word_probabilities(scores[row:row + 1], [word], 2)[0])
    assert data["emulated"] is True and data["task"] == "ctc"


@pytest.mark.usefixtures("step_emulator")
def test_pictures_of_every_kind_and_a_stream(capsys, tmpdir):
    import cv2
    model_path, folder = write_text_model(tmpdir), tmpdir.mkdir("pictures")
    gray = np.random.RandomState(8).randint(0, 256, (9, 20)).astype(np.uint8)
    colour = np.stack([gray] * 3, axis=2)
    pictures = {"1.png": gray, "2.png": np.concatenate([colour, np.full((9, 20, 1), 255, np.uint8)], axis=2),
                "3.png": gray.astype(np.uint16) * 257, "4.png": colour}
    for name, picture in pictures.items():
        assert cv2.imwrite(str(folder.join(name)), picture)
    folder.join("5.png").write("")
    folder.join("6.png").write("no picture")
    assert run_dpu.main([model_path, str(folder), "--json"]) == 1
    data = json.loads(capsys.readouterr()[0])
    assert [os.path.basename(entry["image"]) for entry in data["results"]] == ["1.png", "2.png", "3.png", "4.png"]
    assert len(set((entry["text"], entry["confidence"]) for entry in data["results"])) == 1
    assert [os.path.basename(entry["name"]) for entry in data["errors"]] == ["5.png", "6.png"]
    frames = os.path.join(str(folder), "%d.png")
    assert run_dpu.main([model_path, "--stream", frames, "--frames", "2"]) == 0
    out = capsys.readouterr()[0]
    assert "confidence" in out and "2 read, 0 failed" in out


@pytest.mark.usefixtures("step_emulator")
def test_a_stream_without_frames_is_an_error(capsys, tmpdir):
    assert run_dpu.main([write_text_model(tmpdir), "--stream", str(tmpdir.join("none_%d.png"))]) == 1
    assert "the stream gives no frame" in capsys.readouterr()[1]


def test_usage_of_streams(capsys, tmpdir):
    for arguments in (["a.png", "--stream", "0"], ["a.png", "--frames", "3"]):
        with pytest.raises(SystemExit) as stopped:
            run_dpu.main([str(tmpdir)] + arguments)
        assert stopped.value.code == 2
    capsys.readouterr()


def changed(step, **fields):
    return [dict(item, **fields) if item["name"] == step else item for item in TAIL]


@pytest.mark.parametrize("changes, message", [
    ({"blank": 0}, "the blank is not the last output"),
    ({"blank": None}, "the blank is not the last output"),
    ({"labels": ["a", "b", "c"]}, "expected 2 labels and the blank"),
    ({"task": "magic"}, "task: wrong entry"),
    ({"cpu_tail": changed("f", op="gru")}, r"cpu_tail\[1\].op: wrong entry"),
    ({"cpu_tail": changed("f", inputs=["nowhere"])}, "do not fit its output"),
    ({"cpu_tail": changed("both", attrs={})}, "do not fit its output"),
    ({"cpu_tail": changed("steps", attrs={"shape": [5, 5]})}, "do not fit its output"),
    ({"cpu_tail": changed("f", parameters=["f/kernel"])}, "do not fit its output"),
    ({"cpu_tail": changed("f", parameters=["none"])}, "cannot read the weights"),
    ({"files": {"tiny.xmodel": board_model.sha256(b"model")}}, "not those that the manifest describes"),
    ({"task": "classification"}, "not one row of logits"),
])
def test_manifests_that_do_not_fit(tmpdir, changes, message):
    with pytest.raises(ManifestError, match=message):
        manifest.load(write_text_model(tmpdir, **changes))


def test_damaged_weights(tmpdir):
    path = write_text_model(tmpdir)
    with io.open(os.path.join(str(tmpdir), "tiny.tail.npz"), "ab") as stream:
        stream.write(b"x")
    with pytest.raises(ManifestError, match="not those that the manifest describes"):
        manifest.load(path)
    os.remove(os.path.join(str(tmpdir), "tiny.tail.npz"))
    with pytest.raises(ManifestError, match="cannot read the model"):
        manifest.load(path)
