# ruff: noqa - must run on Python 2.7 too, newer spelling would break it
"""Tests of dpuedge.manifest. Python 2.7 and 3.5+."""
import json
import os

import board_model
import pytest

from dpuedge import manifest
from dpuedge.errors import ManifestError


def test_a_good_manifest_gives_a_checked_model(tmpdir):
    path = board_model.write_model(tmpdir, b"bytes of the model")
    model = manifest.load(path)
    assert model.path == path
    assert model.sha256 == board_model.sha256(b"bytes of the model")
    assert model.inputs == (manifest.Tensor("input_real", (1, 32, 32, 1), 5),)
    assert model.outputs == (manifest.Tensor("net/dense/BiasAdd", (1, 3), 3),)
    assert model.labels == ("A", "b")
    assert model.fake_class == 2
    assert model.core["name"] == "B1152"
    assert model.cpu_tail == ({"name": "net/out", "op": "softmax"},)


def test_a_folder_means_its_one_model(tmpdir):
    path = board_model.write_model(tmpdir)
    tmpdir.join("manifest.json").write("{}")  # the stage's own manifest does not matter
    assert manifest.load(str(tmpdir)).path == path


def test_a_model_without_a_fake_class_names_every_output(tmpdir):
    path = board_model.write_model(tmpdir, labels=["A", "b", "c"], fake_class=None)
    assert manifest.load(path).fake_class is None


@pytest.mark.parametrize(("changes", "expected"), [
    ({"schema": 2}, "unknown manifest schema: expected 1, got 2"),
    ({"name": 7}, "name: wrong entry"),
    ({"name": ""}, "name: wrong entry"),
    ({"kernel": None}, "kernel: wrong entry"),
    ({"inputs": []}, "inputs: wrong entry"),
    ({"inputs": {"name": "x"}}, "inputs: wrong entry"),
    ({"inputs": ["x"]}, "inputs[0]: wrong entry"),
    ({"inputs": [{"name": "x", "shape": [1, 32, 32, 1]}]}, "inputs[0].fix_point: wrong entry"),
    ({"inputs": [{"name": "x", "shape": [1, 32, "32", 1], "fix_point": 5}]}, "inputs[0].shape[2]: wrong entry"),
    ({"inputs": [{"name": "x", "shape": [2, 32, 32, 1], "fix_point": 5}]}, "inputs[0].shape: wrong entry"),
    ({"inputs": [{"name": "x", "shape": [1, 32, 32, 1], "fix_point": 5.0}]}, "inputs[0].fix_point: wrong entry"),
    ({"inputs": [{"name": "x", "shape": [1, 32, 32, 1], "fix_point": True}]}, "inputs[0].fix_point: wrong entry"),
    ({"inputs": [{"name": "x", "shape": [1, 32, 32, 1], "fix_point": 99}]}, "between -64 and 64"),
    ({"inputs": [{"name": "x", "shape": [1, 28, 32, 1], "fix_point": 5}]}, "preprocessing does not fit"),
    ({"inputs": 2 * [{"name": "x", "shape": [1, 32, 32, 1], "fix_point": 5}]}, "only networks with one input"),
    ({"outputs": [{"name": "y", "shape": [1, 2, 2, 3], "fix_point": 5}]}, "not one row of logits"),
    ({"cpu_tail": [{"name": "ctc", "op": "ctc"}]}, "cpu_tail[0].op: wrong entry"),
    ({"preprocessing": []}, "preprocessing: wrong preprocessing specification"),
    ({"preprocessing": dict(board_model.SPEC, height=0)}, "preprocessing: wrong preprocessing specification"),
    ({"preprocessing": dict(board_model.SPEC, id=1)}, "preprocessing.id: wrong entry"),
    ({"labels": ["A"]}, "labels: wrong entry"),
    ({"labels": ["A", 3]}, "labels[1]: wrong entry"),
    ({"labels": ["A", "b", "c"]}, "the labels do not fit the outputs: expected 2 labels, got 3"),
    ({"fake_class": None}, "the labels do not fit the outputs: expected 3 labels, got 2"),
    ({"fake_class": 3}, "fake class is not one of the outputs: expected 0..2, got 3"),
    ({"fake_class": -1}, "fake class is not one of the outputs"),
    ({"core": {"name": "B1152"}}, "core.target: wrong entry"),
    ({"files": {}}, "files.tiny.xmodel: wrong entry"),
    ({"files": {"tiny.xmodel": "00" * 32}}, "the model is not the one its manifest describes"),
])
def test_every_wrong_entry_is_named(tmpdir, changes, expected):
    path = board_model.write_model(tmpdir, **changes)
    with pytest.raises(ManifestError) as caught:
        manifest.load(path)
    assert expected in str(caught.value)


@pytest.mark.parametrize("key", sorted(board_model.manifest_data(b"")))
def test_every_entry_is_needed(tmpdir, key):
    data = board_model.manifest_data(b"model")
    del data[key]
    path = board_model.write_model(tmpdir, text=json.dumps(data))
    with pytest.raises(ManifestError, match=key):
        manifest.load(path)


@pytest.mark.parametrize(("text", "expected"), [
    ("", "not JSON"), ("{", "not JSON"), ("[1]", "unknown manifest schema"), ("null", "unknown manifest schema"),
    ("[" * 100000, "not JSON"),
])
def test_what_is_no_manifest_is_refused(tmpdir, text, expected):
    path = board_model.write_model(tmpdir, text=text)
    with pytest.raises(ManifestError, match=expected):
        manifest.load(path)


def test_bytes_that_are_not_utf8_are_refused(tmpdir):
    path = board_model.write_model(tmpdir)
    tmpdir.join("tiny.json").write_binary(b"\xff\xfe\x00{")
    with pytest.raises(ManifestError, match="not JSON"):
        manifest.load(path)


def test_a_truncated_model_is_noticed(tmpdir):
    path = board_model.write_model(tmpdir, b"whole model")
    tmpdir.join("tiny.xmodel").write_binary(b"whole")
    with pytest.raises(ManifestError, match="not the one its manifest describes"):
        manifest.load(path)


def test_a_missing_manifest_names_the_remedy(tmpdir):
    path = board_model.write_model(tmpdir)
    tmpdir.join("tiny.json").remove()
    with pytest.raises(ManifestError, match=r"tiny\.json: cannot read the model's manifest.*make compile"):
        manifest.load(path)


def test_a_folder_needs_exactly_one_model(tmpdir):
    with pytest.raises(ManifestError, match="no single model"):
        manifest.load(str(tmpdir))
    board_model.write_model(tmpdir)
    tmpdir.join("other.xmodel").write("x")
    with pytest.raises(ManifestError, match=r"other\.xmodel, tiny\.xmodel"):
        manifest.load(str(tmpdir))


def test_a_missing_or_foreign_model_is_refused(tmpdir):
    with pytest.raises(ManifestError, match="no such model"):
        manifest.load(os.path.join(str(tmpdir), "none.xmodel"))
    tmpdir.join("deploy_model.pb").write("x")
    with pytest.raises(ManifestError, match="not a compiled model"):
        manifest.load(os.path.join(str(tmpdir), "deploy_model.pb"))


def test_a_folder_with_the_name_of_a_model_is_searched(tmpdir):
    tmpdir.mkdir("tiny.xmodel")
    with pytest.raises(ManifestError, match="no single model"):
        manifest.load(os.path.join(str(tmpdir), "tiny.xmodel"))
