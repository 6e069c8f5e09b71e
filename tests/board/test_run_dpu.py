# -*- coding: utf-8 -*-
# ruff: noqa - must run on Python 2.7 too, newer spelling would break it
"""Tests of the command line board/run_dpu.py with a back end of literal logits. Python 2.7 and 3.5+."""
import json
import os

import board_model
import cv2
import numpy as np
import pytest

import run_dpu
from dpuedge import backends
from dpuedge.errors import BackendError


@pytest.fixture
def array_path(tmpdir):
    """Three images whose first values are the logits in units of 1/8 after the fake network."""
    array = np.zeros((3, 32, 32, 1), np.float32)
    array[0, 0, :3, 0] = [2.0, 0.5, 0.0]       # int8 64 16 0: A, real
    array[1, 0, :3, 0] = [0.0, 1.0, 3.0]       # b, rather fake
    array[2, 0, :3, 0] = [-9.0, 9.0, 0.0]      # saturates
    np.save(str(tmpdir.join("x.npy")), array)
    return str(tmpdir.join("x.npy"))


def picture(path, value=200):
    """A gray picture file with a darker half."""
    gray = np.full((40, 30), value, np.uint8)
    gray[:20] //= 2
    assert cv2.imwrite(str(path), gray)
    return str(path)


def run_json(capsys, *arguments):
    """Exit status, the JSON object, the error stream."""
    status = run_dpu.main(list(arguments) + ["--json"])
    out, err = capsys.readouterr()
    return status, json.loads(out), err


@pytest.mark.usefixtures("fake_emulator")
def test_json_of_literal_logits(capsys, model_path, array_path):
    status, data, _ = run_json(capsys, model_path, "--input", array_path)
    assert status == 0
    assert (data["backend"], data["emulated"], data["engine"]) == ("emulator", True, "fake")
    assert data["model_sha256"] == board_model.sha256(b"model")
    assert data["core"] == {"name": "B1152", "target": "zedboard", "pixel_parallel": 4}
    assert data["preprocessing"] == "gray32-stretch-standardize-v1"
    first, second, third = data["predictions"]
    assert first["logits"] == {"name": "net/dense/BiasAdd", "fix_point": 3, "int8": [64, 16, 0]}
    assert (first["class"], second["class"], third["class"]) == ("A", "b", "b")
    assert third["logits"]["int8"] == [-128, 127, 0]
    powers = np.exp([0.0, 4.0, 12.0])
    assert second["p_real"] == pytest.approx((powers[0] + powers[1]) / powers.sum())
    assert [guess["label"] for guess in second["top"]] == ["b", "A"]
    assert second["top"][0]["probability"] == pytest.approx(powers[1] / powers.sum())
    assert set(first["timing_ms"]) == {"pre", "run", "post"}


@pytest.mark.usefixtures("fake_emulator")
def test_every_table_says_emulated(capsys, model_path, array_path):
    assert run_dpu.main([model_path, "--input", array_path]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("EMULATED on this computer's CPU (engine fake)")
    assert "emulator ms" in out
    assert "not a DPU time" in lines[-1]
    row = next(line for line in lines if "x.npy[0]" in line).split()
    assert row[1:3] == ["A", "0.9997"]
    assert row[3:7] == ["A", "0.9972", "b", "0.0025"]
    assert len(err.splitlines()) == 1
    assert "emulating" in err
    assert "silicon runs only" in err


def test_int8_input_goes_through_unchanged(capsys, tmpdir, model_path, fake_emulator):
    array = np.random.RandomState(1).randint(-128, 128, (1, 32, 32, 1)).astype(np.int8)
    np.save(str(tmpdir.join("q.npy")), array)
    assert run_dpu.main([model_path, "--input", str(tmpdir.join("q.npy"))]) == 0
    capsys.readouterr()
    assert (fake_emulator[0].images[0] == array).all()


@pytest.mark.parametrize(("how", "expected"), [("round", [1, 0, -1, 2]), ("trunc", [0, 0, -1, 1])])
def test_float_input_is_rounded_or_truncated(capsys, tmpdir, model_path, fake_emulator, how, expected):
    array = np.zeros((1, 32, 32, 1), np.float32)
    array[0, 0, :4, 0] = np.array([0.5, -0.5, -1.5, 1.5]) / 32
    np.save(str(tmpdir.join("x.npy")), array)
    assert run_dpu.main([model_path, "--input", str(tmpdir.join("x.npy")), "--quantize-input", how]) == 0
    capsys.readouterr()
    assert fake_emulator[0].images[0].reshape(-1)[:4].tolist() == expected


@pytest.mark.usefixtures("fake_emulator")
def test_unreadable_pictures_give_one_message_each_and_the_others_are_read(capsys, tmpdir, model_path):
    good = [picture(tmpdir.join("a.png")), picture(tmpdir.join("z.png"), 90)]
    tmpdir.join("empty.png").write("")
    tmpdir.join("text.png").write("no picture")
    status, data, err = run_json(capsys, model_path, str(tmpdir.join("missing.png")), str(tmpdir))
    assert status == 1
    assert [entry["file"] for entry in data["predictions"]] == good
    broken = [os.path.basename(entry["name"]) for entry in data["errors"]]
    assert broken == ["missing.png", "empty.png", "text.png"]
    messages = [line for line in err.splitlines() if "error:" in line]
    assert len(messages) == 3
    assert all(name in line for name, line in zip(broken, messages))


@pytest.mark.usefixtures("fake_emulator")
def test_nothing_readable_still_ends_in_order(capsys, tmpdir, model_path):
    status, data, err = run_json(capsys, model_path, str(tmpdir.join("none*.png")))
    assert (status, data["predictions"]) == (1, [])
    assert "no picture found" in err


@pytest.mark.usefixtures("fake_emulator")
def test_threads_and_repetitions_change_no_result(capsys, tmpdir, model_path):
    folder = tmpdir.mkdir("many")
    for index in range(12):
        picture(folder.join("%02d.png" % index), 60 + 15 * index)
    _, one, _ = run_json(capsys, model_path, str(folder))
    _, many, _ = run_json(capsys, model_path, str(folder), "--threads", "3", "--repeat", "2")
    for data in (one, many):
        for entry in data["predictions"]:
            del entry["timing_ms"]
    assert one["predictions"] == many["predictions"]
    assert len(one["predictions"]) == 12


def test_each_thread_has_its_own_runner_and_all_are_closed(capsys, array_path, model_path, fake_emulator):
    before = board_model.FakeRunner.closed
    assert run_dpu.main([model_path, "--input", array_path, "--threads", "9", "--repeat", "4"]) == 0
    capsys.readouterr()
    assert len(fake_emulator) == 3  # not more runners than images
    assert board_model.FakeRunner.closed == before + 3
    assert sum(len(runner.images) for runner in fake_emulator) == 12


@pytest.mark.usefixtures("fake_emulator")
def test_options_may_stand_between_model_and_pictures(capsys, tmpdir, model_path):
    path = picture(tmpdir.join("a.png"))
    assert run_dpu.main([model_path, "--topk", "1", path]) == 0
    out, _ = capsys.readouterr()
    assert "top 1" in out


@pytest.mark.usefixtures("fake_emulator")
def test_file_names_in_any_script_are_shown(capsys, tmpdir, model_path):
    path = picture(tmpdir.join("a.png"))
    odd = str(tmpdir.join("\xc3\xa9.png")) if str is bytes else str(tmpdir.join(u"\u00e9.png"))
    os.rename(path, odd)
    status, data, _ = run_json(capsys, model_path, odd)
    assert status == 0
    assert data["predictions"][0]["file"].endswith(u"\u00e9.png")
    assert run_dpu.main([model_path, odd]) == 0
    assert ".png" in capsys.readouterr()[0]


@pytest.mark.parametrize("options,text", [
    (["n2cube"], "does not run this kind of file"), (["vart"], "Remedy: use --backend emulator"),
    (["pynq"], "name the bitstream"), (["pynq", "--overlay", "d.bit"], "back end 'pynq' is not available"),
])
def test_a_dpu_back_end_that_is_not_there_is_an_error(capsys, array_path, model_path, options, text):
    assert run_dpu.main([model_path, "--input", array_path, "--backend"] + options) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert text in err


def test_a_back_end_names_what_is_missing(monkeypatch):
    monkeypatch.setenv("DPUEDGE_N2CUBE", "/nonexistent")
    with pytest.raises(BackendError, match=r"it lacks .*libn2cube\.so"):
        backends.choose("n2cube", "model.so")


def test_an_emulator_that_is_not_installed_names_the_remedy(monkeypatch, capsys, array_path, model_path):
    rows = [row._replace(find_missing=lambda: ["the Python package dpuflow"]) if row.emulated else row
            for row in backends.BACKENDS]
    monkeypatch.setattr(backends, "BACKENDS", tuple(rows))
    for name in ("auto", "emulator"):
        assert run_dpu.main([model_path, "--input", array_path, "--backend", name]) == 1
        err = capsys.readouterr()[1]
        assert "it lacks the Python package dpuflow" in err
        assert "Remedy: install dpuflow" in err


@pytest.mark.parametrize("arguments", [
    [], ["m.xmodel"], ["m.xmodel", "a.png", "--input", "x.npy"], ["m.xmodel", "a.png", "--backend", "fpga"],
    ["m.xmodel", "a.png", "--topk", "0"], ["m.xmodel", "a.png", "--threads", "x"], ["m.xmodel", "a.png", "--nope"],
    ["m.xmodel", "a.png", "--warmup", "-1"], ["m.xmodel", "a.png", "--mean", "x"],
])
def test_wrong_usage_exits_2(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        run_dpu.main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr()[1]


@pytest.mark.usefixtures("fake_emulator")
def test_errors_are_one_message_and_debug_shows_the_origin(capsys, tmpdir, array_path):
    missing = str(tmpdir.join("none.xmodel"))
    assert run_dpu.main([missing, "--input", array_path]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["run_dpu.py: error: %s: no such model. Remedy: run `make compile`, "
                                "or check the path" % missing]
    assert run_dpu.main([missing, "--input", array_path, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr()[1]


@pytest.mark.usefixtures("fake_emulator")
def test_ctrl_c_is_one_message(capsys, monkeypatch, array_path, model_path):
    def interrupt(_runner, _image):
        raise KeyboardInterrupt
    monkeypatch.setattr(board_model.FakeRunner, "run", interrupt)
    assert run_dpu.main([model_path, "--input", array_path]) == 130
    assert capsys.readouterr()[1].splitlines()[-1] == "run_dpu.py: error: interrupted"


# -- overrides, warm-up, profile -----------------------------------------------------------------------------

@pytest.mark.usefixtures("fake_emulator")
def test_mean_scale_and_resize_replace_the_manifest_s(capsys, tmpdir, model_path, fake_emulator):
    path = picture(tmpdir.join("a.png"))
    status, data, _ = run_json(capsys, model_path, path, "--mean", "200", "--scale", "0.125", "--resize", "crop")
    assert status == 0
    assert data["preprocessing"] == "gray32-stretch-standardize-v1, changed: resize=crop affine"
    given = fake_emulator[0].images[0]
    assert given.max() == 0 and given.min() == -128  # (200 - 200) / 8 and (100 - 200) / 8, saturated at 2**5
    status, plain, _ = run_json(capsys, model_path, path)
    assert plain["preprocessing"] == "gray32-stretch-standardize-v1"


@pytest.mark.usefixtures("fake_emulator")
def test_another_specification_and_other_labels(capsys, tmpdir, model_path):
    spec = tmpdir.join("spec.json")
    spec.write(json.dumps(dict(board_model.SPEC, normalize="symmetric", id="mine")))
    labels = tmpdir.join("labels.txt")
    labels.write("yes\nno\n")
    path = picture(tmpdir.join("a.png"))
    status, data, _ = run_json(capsys, model_path, path, "--preprocess", str(spec), "--labels", str(labels))
    assert (status, data["preprocessing"]) == (0, "mine")
    assert data["predictions"][0]["class"] in ("yes", "no")
    labels.write("yes\n")
    assert run_dpu.main([model_path, path, "--labels", str(labels)]) == 1
    assert "2 texts" in capsys.readouterr()[1]
    spec.write(json.dumps(dict(board_model.SPEC, height=16)))
    assert run_dpu.main([model_path, path, "--preprocess", str(spec)]) == 1
    assert "does not fit the network's input" in capsys.readouterr()[1]
    spec.write("{")
    assert run_dpu.main([model_path, path, "--preprocess", str(spec)]) == 1
    assert "cannot read the preprocessing specification" in capsys.readouterr()[1]


@pytest.mark.usefixtures("fake_emulator")
def test_a_value_beyond_int8_without_saturation(capsys, model_path, array_path):
    assert run_json(capsys, model_path, "--input", array_path)[0] == 0
    status, data, err = run_json(capsys, model_path, "--input", array_path, "--no-saturate")
    assert status == 1
    assert len(data["predictions"]) == 2  # the third holds 9.0: beyond 127 / 32
    assert "beyond the int8 range" in err and "-9 to 9" in err


def test_the_edges_of_the_range_without_saturation(array_path):
    from dpuedge import session
    from dpuedge.errors import ImageError
    from dpuedge.manifest import Tensor

    tensor = Tensor("x", (1, 1, 1, 2), 0)
    for rounding, values, fits in (("round", [127.49, -128.5], True), ("round", [127.5, 0], False),
                                   ("trunc", [127.99, -128.99], True), ("trunc", [128.0, 0], False),
                                   ("trunc", [0, -129.0], False), ("round", [0, -128.51], False)):
        array = np.array(values, np.float32).reshape(1, 1, 2)
        if fits:
            assert set(session.to_int8(array, tensor, rounding, False).reshape(-1)) <= {127, -128}
        else:
            with pytest.raises(ImageError):
                session.to_int8(array, tensor, rounding, False)


def test_warm_up_runs_are_not_shown(capsys, model_path, array_path, fake_emulator):
    status, data, _ = run_json(capsys, model_path, "--input", array_path, "--warmup", "4", "--profile")
    assert status == 0
    assert len(fake_emulator[0].images) == 4 + 3
    assert not fake_emulator[0].images[3].any()
    found = data["profile"]
    assert (found["pictures"], found["warmup"], len(data["predictions"])) == (3, 4, 3)
    assert set(found["ms"]) == {"pre", "run", "post", "total"}
    for row in found["ms"].values():
        assert 0 <= row["p50"] <= row["p95"] <= row["p99"]
    assert found["per_second"] > 0 and "no DPU time" in found["mode"]
    assert run_dpu.main([model_path, "--input", array_path, "--profile", "--backend", "emu"]) == 0
    text = capsys.readouterr()[0]
    assert "profile of 3 pictures after 0 warm-up runs" in text
    assert "pictures a second" in text and "run: the back end alone" in text
