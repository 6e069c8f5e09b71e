"""Calibration sources: arrays that stream, pictures, functions; each can be run through again."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from dpuflow.calibration import Reading, open_calibration
from dpuflow.calibration.arrays import open_rows
from dpuflow.calibration.preprocess import PixelPreprocess
from dpuflow.errors import ConfigError, DataError

cv2 = pytest.importorskip("cv2")
SHAPES = {"x": (1, 4, 6, 3)}
X = np.random.default_rng(0).normal(size=(10, 4, 6, 3)).astype(np.float32)


def rows(data) -> np.ndarray:
    return np.concatenate([batch["x"] for batch in data])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives_stream_and_start_anew(tmp_path, save):
    save(tmp_path / "d.npz", x=X, labels=np.arange(10))
    data = open_calibration(tmp_path / "d.npz", SHAPES, Reading(batch=4))
    assert [len(batch["x"]) for batch in data] == [4, 4, 2]
    assert np.array_equal(rows(data), X)
    assert np.array_equal(rows(data), X)
    assert data.images == 10
    assert data.labels.tolist() == list(range(10))
    assert np.array_equal(rows(data.head(5)), X[:5])


def test_channels_first_and_single_channels_are_brought_into_order(tmp_path):
    np.save(tmp_path / "nchw.npy", X.transpose(0, 3, 1, 2).copy())
    data = open_calibration(tmp_path / "nchw.npy", SHAPES)
    assert np.array_equal(rows(data), X)
    assert "channels first" in data.notes[0]
    np.save(tmp_path / "gray.npy", X[..., 0].copy())
    assert np.array_equal(rows(open_calibration(tmp_path / "gray.npy", {"x": (1, 4, 6, 1)})), X[..., :1])


def test_a_large_file_does_not_come_into_memory(tmp_path):
    path = tmp_path / "large.npy"
    header = np.lib.format.open_memmap(path, "w+", np.float32, (60000, 32, 32, 1))  # 245 MB, a file of holes
    del header
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = sum(len(batch["x"]) for batch in open_calibration(path, {"x": (1, 32, 32, 1)}))
    assert count == 60000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # kilobytes


def test_a_file_that_ends_early_is_named(tmp_path):
    np.save(tmp_path / "a.npy", X)
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:-10])
    with pytest.raises(DataError, match="ends in row 9 of 10"):
        rows(open_calibration(tmp_path / "a.npy", SHAPES))


def test_arrays_written_by_column_are_refused(tmp_path):
    np.save(tmp_path / "f.npy", np.asfortranarray(X))
    with pytest.raises(DataError, match="column by column"):
        open_calibration(tmp_path / "f.npy", SHAPES)
    assert open_rows(tmp_path / "f.npy")[""].by_column


def test_pictures_by_mean_scale_and_order(tmp_path):
    image = np.random.default_rng(1).integers(0, 256, (4, 6, 3), np.uint8)  # blue, green, red
    (tmp_path / "b").mkdir()
    (tmp_path / "a").mkdir()
    cv2.imwrite(str(tmp_path / "b" / "1.png"), image)
    cv2.imwrite(str(tmp_path / "a" / "2.png"), image[::-1])
    how = PixelPreprocess(4, 6, 3, (10.0, 20.0, 30.0), (0.5,), "rgb")
    data = open_calibration(tmp_path, SHAPES, Reading(preprocess=how))
    expected = (image[..., ::-1].astype(np.float32) - [10, 20, 30]) * 0.5
    assert np.array_equal(rows(data)[1], expected)
    assert data.labels.tolist() == [0, 1]
    swapped = PixelPreprocess(4, 6, 3, (10.0, 20.0, 30.0), (0.5,), "bgr")
    assert np.array_equal(rows(open_calibration(tmp_path, SHAPES, Reading(preprocess=swapped)))[1],
                          (image.astype(np.float32) - [10, 20, 30]) * 0.5)


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_every_fit_gives_the_networks_size(tmp_path, fit):
    cv2.imwrite(str(tmp_path / "1.png"), np.full((30, 11, 3), 200, np.uint8))
    how = PixelPreprocess(4, 6, 3, (200.0,), (1.0,), fit=fit)
    (batch,) = open_calibration(tmp_path, SHAPES, Reading(preprocess=how))
    assert batch["x"].shape == (1, 4, 6, 3)
    assert np.abs(batch["x"]).max() == 0  # padded with the mean


def test_a_folder_without_pictures_is_named(tmp_path):
    with pytest.raises(DataError, match="holds no pictures"):
        open_calibration(tmp_path, SHAPES, Reading(preprocess=PixelPreprocess(4, 6, 3)))


def test_pictures_need_to_be_told_their_preprocessing(tmp_path):
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((5, 5), np.uint8))
    with pytest.raises(ConfigError, match="network's input"):
        open_calibration(tmp_path, SHAPES)
    with pytest.raises(ConfigError, match="one for each channel"):
        PixelPreprocess(4, 6, 3, mean=(1.0, 2.0))
    with pytest.raises(ConfigError, match="at least one"):
        Reading(batch=0)


@pytest.mark.parametrize(("side", "batch"), [(32, 128), (128, 64), (256, 16), (4096, 1)])
def test_large_feature_maps_make_small_batches(side, batch):
    """64 maps of a picture: no more than 2**26 values together, whatever the data are."""
    from dpuflow.calibration.batches import affordable_batch
    from dpuflow.formats.tf_builder import FrozenBuilder
    from dpuflow.formats.tf_import import import_tf

    build = FrozenBuilder()
    x = build.placeholder("x", (-1, side, side, 3))
    build.bias_add("c", build.conv2d("c", x, np.zeros((1, 1, 3, 64), np.float32)), np.zeros(64, np.float32))
    network = import_tf(build.graph(), ["c/BiasAdd"], {"x": (1, side, side, 3)})
    assert affordable_batch(network) == batch
