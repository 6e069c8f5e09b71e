# ruff: noqa - must run on Python 2.7 too, newer spelling would break it
"""Tests of dpuedge.image and dpuedge.gray. Python 2.7 and 3.5+."""
from __future__ import division

import hashlib
import math
from fractions import Fraction

import cv2
import numpy as np
import pytest

from dpuedge import image
from dpuedge.errors import ImageError

SPEC = image.DEFAULT_SPEC


def random_gray(shape, seed=0):
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def spec(**changes):
    return dict(SPEC, **changes)


# -- resize ------------------------------------------------------------------------------------------------

def oracle_axis(size, new_size, index):
    """Exact weights of one new pixel: the area it covers, or bilinear with half-pixel centres."""
    weights = [Fraction(0)] * size
    if size >= new_size:
        start, end = Fraction(index * size, new_size), Fraction((index + 1) * size, new_size)
        for old in range(size):
            weights[old] = max(min(end, old + 1) - max(start, old), Fraction(0)) / (end - start)
        return weights
    at = min(max((index + Fraction(1, 2)) * size / new_size - Fraction(1, 2), 0), size - 1)
    low = int(at)
    weights[low] += 1 - (at - low)
    weights[min(low + 1, size - 1)] += at - low
    return weights


@pytest.mark.parametrize("shape", [(7, 5), (3, 3), (1, 9), (8, 2), (12, 12), (2, 6)])
def test_resize_follows_the_exact_rule(shape):
    gray = random_gray(shape, seed=sum(shape))
    got = image.resize(gray, 5, 4).astype(int)
    for row in range(5):
        for column in range(4):
            exact = sum(wr * wc * int(gray[r, c])
                        for r, wr in enumerate(oracle_axis(shape[0], 5, row)) if wr
                        for c, wc in enumerate(oracle_axis(shape[1], 4, column)) if wc)
            # 14-bit weights move a value by less than a tenth of a level.
            assert abs(got[row, column] - exact) <= Fraction(6, 10)


def test_resize_of_literal_pictures():
    assert image.resize(np.array([[0, 255], [255, 255]], np.uint8), 1, 1).tolist() == [[191]]
    assert image.resize(np.array([[0, 1]], np.uint8), 1, 1).tolist() == [[1]]  # a half goes up
    assert image.resize(np.array([[10, 20]], np.uint8), 1, 4).tolist() == [[10, 13, 18, 20]]
    assert image.resize(np.array([[7]], np.uint8), 3, 2).tolist() == [[7, 7]] * 3


@pytest.mark.parametrize("size,new_size", [(1, 32), (5, 32), (31, 32), (33, 32), (64, 32), (1000, 32), (4097, 3)])
def test_weights_add_up_exactly(size, new_size):
    weights = image.axis_weights(size, new_size)
    assert weights.shape == (new_size, size)
    assert (weights.sum(axis=1) == 1 << 14).all()
    assert weights.min() >= 0


@pytest.mark.parametrize("value", [0, 1, 127, 255])
def test_a_constant_picture_stays_constant(value):
    for shape in ((1, 1), (3, 50), (600, 33)):
        assert (image.resize(np.full(shape, value, np.uint8), 32, 32) == value).all()


def test_resize_does_not_swap_or_turn_the_axes():
    gray = np.zeros((40, 60), np.uint8)
    gray[:20] = 200
    small = image.resize(gray, 2, 3)
    assert small.tolist() == [[200] * 3, [0] * 3]
    assert (image.resize(gray[:, ::-1], 7, 5) == image.resize(gray, 7, 5)[:, ::-1]).all()


def test_large_pictures_are_taken_in_blocks():
    gray = random_gray((1200, 40))
    across, down = image.axis_weights(40, 8).T, image.axis_weights(1200, 8)
    whole = down.dot(gray.astype(np.int64).dot(across))
    assert (image.resize(gray, 8, 8) == ((whole + (1 << 27)) >> 28)).all()


# -- fit ---------------------------------------------------------------------------------------------------

def test_pad_keeps_the_aspect_and_fills_with_the_mean_of_the_border():
    gray = np.full((32, 16), 100, np.uint8)
    gray[4:28, 4:12] = 0
    padded = image.fit(gray, spec(fit="pad"))
    assert (padded[:, :8] == 100).all()
    assert (padded[:, 24:] == 100).all()
    assert (padded[:, 8:24] == gray).all()


def test_crop_takes_the_centre():
    gray = np.zeros((32, 64), np.uint8)
    gray[:, 16:48] = random_gray((32, 32))
    assert (image.fit(gray, spec(fit="crop")) == gray[:, 16:48]).all()


@pytest.mark.parametrize("fit", image.FITS)
@pytest.mark.parametrize("shape", [(1, 1), (2, 6), (300, 1), (1, 300), (33, 31)])
def test_every_shape_fits(fit, shape):
    assert image.fit(random_gray(shape), spec(fit=fit)).shape == (32, 32)


@pytest.mark.parametrize("bad", [np.zeros((0, 5), np.uint8), np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4)),
                                 np.zeros((1, image.MAX_SIDE + 1), np.uint8)])
def test_what_is_no_gray_picture_is_refused(bad):
    with pytest.raises(ImageError):
        image.preprocess(bad, SPEC)


# -- values ------------------------------------------------------------------------------------------------

def test_standardized_values_are_those_of_the_definition():
    gray = random_gray((32, 32), seed=5)
    values = [int(v) for v in gray.ravel()]
    mean = Fraction(sum(values), 1024)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / 1024)
    expected = [min(max(float(v - mean) / deviation, -4.0), 3.96875) for v in values]
    got = image.preprocess(gray, SPEC)
    assert got.shape == (32, 32, 1)
    assert got.dtype == np.float32
    assert np.allclose(got.ravel(), expected, rtol=2e-7, atol=1e-7)


def test_a_constant_picture_gives_zeros():
    assert (image.preprocess(np.full((20, 10), 77, np.uint8), SPEC) == 0).all()


def test_outliers_are_clipped_at_both_ends():
    gray = np.full((32, 32), 128, np.uint8)
    gray[0, 0] = 255
    gray[5, 5] = 0
    got = image.preprocess(gray, SPEC)
    assert got.max() == 3.96875
    assert got.min() == -4.0


def test_brightness_and_contrast_do_not_matter():
    gray = random_gray((32, 32), seed=2) // 4
    one = image.preprocess(gray, SPEC)
    assert (one == image.preprocess(gray + np.uint8(100), SPEC)).all()
    assert np.allclose(one, image.preprocess(gray * np.uint8(3), SPEC), rtol=1e-6, atol=1e-6)


def test_unit_and_symmetric_scales():
    gray = np.array([[0, 255]], np.uint8)
    small = spec(height=1, width=2, clip=None)
    assert image.preprocess(gray, dict(small, normalize="unit")).ravel().tolist() == [0.0, 255 / 256]
    assert image.preprocess(gray, dict(small, normalize="symmetric")).ravel().tolist() == [-255 / 256, 255 / 256]


def test_a_batch_is_its_pictures():
    pictures = [random_gray((10 + n, 40 - n), seed=n) for n in range(5)]
    batch = image.preprocess_batch(pictures, SPEC)
    assert batch.shape == (5, 32, 32, 1)
    for row, picture in zip(batch, pictures):
        assert (row == image.preprocess(picture, SPEC)).all()
    assert image.preprocess_batch([], SPEC).shape == (0, 32, 32, 1)


def test_the_same_bits_on_every_machine():
    """Digests recorded once: another one means another preprocessing, and models must be trained again."""
    digest = hashlib.sha256()
    for seed, shape in enumerate([(3, 5), (2, 6), (32, 32), (100, 20), (1, 1), (31, 33), (640, 480)]):
        y, x = np.mgrid[:shape[0], :shape[1]]
        gray = ((x * 37 + y * 101 + x * y * 13 + seed * 7) % 256).astype(np.uint8)
        for fit in image.FITS:
            for normalization in ("standardize", "unit", "symmetric"):
                values = image.preprocess(gray, spec(fit=fit, normalize=normalization))
                digest.update(values.astype("<f4").tobytes())
    assert digest.hexdigest() == "3fe0254b7dc176ec863c6b8626496a6eaaa84f395849b1f742d3717969d9ea87"


# -- the specification ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("key,value", [
    ("height", 0), ("height", 32.0), ("width", True), ("width", 5000), ("channels", 2), ("fit", "squeeze"),
    ("order", "gbr"), ("gray", 1),
    ("normalize", None), ("clip", [1, 0]), ("clip", [0]), ("clip", "wide"), ("clip", [0, float("nan")]),
    ("clip", [0, float("inf")]),
])
def test_a_wrong_specification_is_refused_by_name(key, value):
    with pytest.raises(ImageError) as caught:
        image.preprocess(np.zeros((4, 4), np.uint8), spec(**{key: value}))
    assert repr(key) in str(caught.value)


def test_a_specification_must_be_an_object():
    with pytest.raises(ImageError):
        image.check_spec(["stretch"])
    assert image.check_spec(SPEC) is SPEC


# -- gray --------------------------------------------------------------------------------------------------

def test_luma_of_literal_colours():
    bgr = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [1, 1, 1]]], np.uint8)
    assert image.to_gray(bgr).tolist() == [[29, 150, 76, 255, 1]]


def test_alpha_lies_on_white():
    bgra = np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [0, 0, 0, 51], [200, 200, 200, 128]]], np.uint8)
    assert image.to_gray(bgra).tolist() == [[255, 0, 204, 227]]


def test_one_channel_and_16_bits():
    assert image.to_gray(np.array([[[3], [4]]], np.uint8)).tolist() == [[3, 4]]
    assert image.to_gray(np.array([[0, 255, 256, 65535]], np.uint16)).tolist() == [[0, 0, 1, 255]]


@pytest.mark.parametrize("bad", [np.zeros((4, 4, 2), np.uint8), np.zeros(4, np.uint8), np.zeros((2, 2), np.float32)])
def test_what_cannot_be_made_gray_is_refused(bad):
    with pytest.raises(ImageError):
        image.to_gray(bad)


# -- files -------------------------------------------------------------------------------------------------

def written(folder, name, array):
    path = str(folder / name)
    assert cv2.imwrite(path, array)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.pgm"])
def test_a_lossless_file_comes_back(tmp_path, name):
    gray = random_gray((9, 13))
    assert (image.read_gray(written(tmp_path, name, gray)) == gray).all()


def test_colour_files_are_read_in_the_right_order(tmp_path):
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 2] = 255
    assert (image.read_gray(written(tmp_path, "red.png", red)) == 76).all()


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp"])
def test_every_truncation_is_an_error(tmp_path, name):
    with open(written(tmp_path, name, random_gray((16, 16))), "rb") as stream:
        whole = stream.read()
    cut = str(tmp_path / ("cut" + name[1:]))
    for size in range(0, len(whole) - 1, max(len(whole) // 40, 1)):
        with open(cut, "wb") as stream:
            stream.write(whole[:size])
        with pytest.raises(ImageError) as caught:
            image.read_gray(cut)
        assert cut in str(caught.value)


def test_a_changed_byte_in_a_png_is_found(tmp_path):
    path = written(tmp_path, "a.png", random_gray((16, 16)))
    with open(path, "rb") as stream:
        data = bytearray(stream.read())
    data[len(data) // 2] ^= 1
    with open(path, "wb") as stream:
        stream.write(bytes(data))
    with pytest.raises(ImageError):
        image.read_gray(path)


def test_what_is_no_file_is_an_error(tmp_path):
    text = tmp_path / "a.png"
    text.write_text(u"no picture")
    for path in (str(tmp_path), str(tmp_path / "missing.png"), str(text)):
        with pytest.raises(ImageError) as caught:
            image.read_gray(path)
        assert path in str(caught.value)


# -- colour, and mean and scale ------------------------------------------------------------------------------

@pytest.mark.parametrize("changes", [
    {"mean": [1.0]}, {"scale": [1.0]}, {"mean": [1.0, 2.0], "scale": [1.0]}, {"mean": [0.0], "scale": [0.0]},
    {"mean": "1", "scale": [1.0]}, {"mean": [float("nan")], "scale": [1.0]},
])
def test_wrong_means_and_scales(changes):
    with pytest.raises(ImageError) as caught:
        image.preprocess(np.zeros((4, 4), np.uint8), spec(normalize="affine", clip=None, **changes))
    assert "mean" in str(caught.value) or "scale" in str(caught.value)


def test_mean_and_scale_of_a_gray_picture():
    gray = np.array([[0, 10], [20, 255]], np.uint8)
    values = image.preprocess(gray, spec(height=2, width=2, normalize="affine", mean=[10.0], scale=[0.5], clip=None))
    assert values[..., 0].tolist() == [[-5.0, 0.0], [5.0, 122.5]]


@pytest.mark.parametrize("order,places", [("rgb", (2, 1, 0)), ("bgr", (0, 1, 2))])
def test_colour_channels_are_those_of_gray_pictures(order, places):
    """Every channel is fitted and scaled as a gray picture of its values is."""
    chance = np.random.RandomState(3)
    picture = chance.randint(0, 256, (11, 17, 3)).astype(np.uint8)
    mean, scale = [1.0, 2.0, 3.0], [0.5, 0.25, 2.0]
    for fit in image.FITS:
        wanted = spec(fit=fit, channels=3, order=order, normalize="affine", mean=mean, scale=scale, clip=None)
        values = image.preprocess(picture, wanted)
        assert values.shape == (32, 32, 3) and values.dtype == np.float32
        assert image.input_shape(wanted) == (1, 32, 32, 3)
        for channel, place in enumerate(places):
            single = spec(fit=fit, normalize="affine", mean=[mean[channel]], scale=[scale[channel]], clip=None)
            np.testing.assert_array_equal(values[..., channel],
                                          image.preprocess(np.ascontiguousarray(picture[..., place]), single)[..., 0])
    batch = image.preprocess_batch([picture, picture[:5]], wanted)
    np.testing.assert_array_equal(batch[0], values)
    assert batch.shape == (2, 32, 32, 3)


def test_a_colour_network_given_gray():
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[...] = (255, 0, 0)
    wanted = spec(channels=3, normalize="unit", clip=None, gray=True)
    assert set(np.unique(image.preprocess(picture, wanted))) == {np.float32(29 / 256.0)}


def test_plain_colour_of_every_kind_of_picture(tmpdir):
    gray, alpha = np.full((3, 4), 9, np.uint8), np.zeros((2, 2, 4), np.uint8)
    assert image.to_colour(gray).tolist() == np.full((3, 4, 3), 9).tolist()
    assert set(np.unique(image.to_colour(alpha))) == {255}  # nothing over white
    assert image.to_colour(np.full((1, 1, 3), 0x1234, np.uint16)).tolist() == [[[0x12] * 3]]
    with pytest.raises(ImageError):
        image.to_colour(np.zeros((2, 2, 2), np.uint8))
    import cv2
    path = str(tmpdir.join("p.png"))
    assert cv2.imwrite(path, np.array([[[1, 2, 3]]], np.uint8))
    assert image.read(path, spec(channels=3)).tolist() == [[[1, 2, 3]]]
    assert image.read(path, spec()).tolist() == [[2]]
