"""CIFAR-10's two archives, made small and synthetic; damage and foreign pickles are refused."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile

import cv2
import numpy as np
import pytest

from dpuflow.data import cifar10
from dpuflow.errors import DataError


def put(root, monkeypatch, which, members):
    """An archive with these members in place of the real one."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:xz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    path = root / getattr(cifar10, which)[0]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(stream.getvalue())
    monkeypatch.setattr(cifar10, which, (getattr(cifar10, which)[0], hashlib.sha256(stream.getvalue()).hexdigest()))
    return path


def png(color, size=32):
    return cv2.imencode(".png", np.full((size, size, 3), color[::-1], np.uint8))[1].tobytes()


def test_the_jpeg_tree_gives_both_parts_with_labels_red_first(tmp_path, monkeypatch):
    put(tmp_path, monkeypatch, "JPEG", {
        "cifar10-jpg/train/bird/0000.jpg": png((10, 20, 30)), "cifar10-jpg/train/truck/0000.jpg": png((1, 2, 3)),
        "cifar10-jpg/test/frog/0000.jpg": png((7, 8, 9))})
    train, test = cifar10.load_jpeg(tmp_path)
    assert train.labels.tolist() == [2, 9] and test.labels.tolist() == [6]
    assert train.x.shape == (2, 32, 32, 3) and train.x[0, 5, 5].tolist() == [10, 20, 30]
    assert train.take(np.array([1])).labels.tolist() == [9]


def test_the_lossless_rows_are_planes_of_red_green_blue(tmp_path, monkeypatch):
    row = np.repeat(np.array([11, 22, 33], np.uint8), 1024)[None]
    content = pickle.dumps({"data": row, "labels": [4]}, protocol=2)
    put(tmp_path, monkeypatch, "LOSSLESS", {"cifar-10-batches-py/test_batch": content})
    images = cifar10.load_lossless_test(tmp_path)
    assert images.labels.tolist() == [4] and images.x[0, 31, 0].tolist() == [11, 22, 33]


@pytest.mark.parametrize(("content", "message"), [
    (pickle.dumps({"data": __import__("os").system}), "other than arrays"),
    (pickle.dumps({"data": np.zeros((1, 5), np.uint8), "labels": [1]}), "not a CIFAR-10 batch"),
])
def test_a_batch_that_is_none_is_refused(content, message, tmp_path, monkeypatch):
    put(tmp_path, monkeypatch, "LOSSLESS", {"cifar-10-batches-py/test_batch": content})
    with pytest.raises(DataError, match=message):
        cifar10.load_lossless_test(tmp_path)


def test_damage_is_refused(tmp_path, monkeypatch):
    path = put(tmp_path, monkeypatch, "JPEG", {"cifar10-jpg/train/bird/0.jpg": png((1, 1, 1), 16)})
    with pytest.raises(DataError, match="cannot be read"):
        cifar10.load_jpeg(tmp_path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="damaged or another version"):
        cifar10.load_jpeg(tmp_path)
