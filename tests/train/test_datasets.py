"""Tests of train/datasets.py, augment.py and nonchars.py."""

from __future__ import annotations

import augment
import datasets
import numpy as np
import pytest
from nonchars import nonchar_pictures
from train_config import load_config

from dpuedge.image import DEFAULT_SPEC, preprocess
from dpuflow.data import chars74k
from dpuflow.data.pictures import Item, Pictures, gather
from dpuflow.errors import DataError

STILL = {"rotation_degrees": 0.0, "shear": 0.0, "zoom_low": 1.0, "zoom_high": 1.0, "stretch": 0.0, "shift": 0.0,
         "elastic": 0.0, "invert_share": 0.0, "degrade_share": 0.0, "cutout_share": 0.0}


def made_up(count: int, group: str = "", seed: int = 0) -> Pictures:
    """Different pictures of the first four classes, an eighth part of them of each group."""
    rng = np.random.default_rng(seed)
    return gather(Item(rng.integers(0, 256, (20, 16)).astype(np.uint8), i % 4, f"p{seed}-{i}",
                       f"{group}{i % 8}" if group else "") for i in range(count))


def source_gray(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (6, 64, 64)).astype(np.uint8)


def test_without_augmentation_a_view_is_the_picture_at_half_size() -> None:
    source = source_gray()
    halves = source.reshape(6, 32, 2, 32, 2).astype(float).mean(axis=(2, 4))
    views = augment.views(source, np.random.default_rng(0), load_config("chars74k", STILL))
    assert np.abs(views - halves).max() <= 1


def test_views_are_a_function_of_the_generator() -> None:
    config = load_config("chars74k", {})
    one, again, other = (augment.views(source_gray(), np.random.default_rng(seed), config) for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any()


def test_each_view_of_a_picture_is_its_own() -> None:
    copies = np.repeat(source_gray()[:1], 5, axis=0)
    views = augment.views(copies, np.random.default_rng(0), load_config("chars74k", {}))
    assert len({view.tobytes() for view in views}) == 5


def test_inversion_alone_inverts() -> None:
    config = load_config("chars74k", {**STILL, "invert_share": 1})
    plain = augment.views(source_gray(), np.random.default_rng(0), load_config("chars74k", STILL))
    inverted = augment.views(source_gray(), np.random.default_rng(0), config)
    assert np.abs(plain.astype(int) + inverted - 255).max() <= 1


def test_zoom_enlarges() -> None:
    source = np.zeros((1, 64, 64), np.uint8)
    source[0, 22:42, 22:42] = 255
    zoomed = augment.views(source, np.random.default_rng(0), load_config(
        "chars74k", {**STILL, "zoom_low": 1.3, "zoom_high": 1.3}))
    assert 130 < (zoomed > 128).sum() < 200  # 10 x 10 pixels become 13 x 13


def test_a_batch_depends_on_seed_and_number_alone() -> None:
    config = load_config("chars74k", {"batch": 8, "labelled_share": 0.5})
    train = {"good": made_up(40)}
    one, two = (datasets.Source(train, DEFAULT_SPEC, config) for _ in range(2))
    one.batch(0)
    for left, right in zip(one.batch(3), two.batch(3), strict=True):
        assert (left == right).all()
    assert (one.batch(3)[0] != one.batch(4)[0]).any()
    x, labels, unlabelled = one.batch(5)
    assert x.shape == unlabelled.shape == (8, 32, 32, 1)
    assert x.dtype == np.float32
    assert labels.shape == (8,)


@pytest.mark.parametrize(("share", "expected"), [(1.0, 40), (0.5, 20), (0.1, 4), (0.001, 4)])
def test_the_labelled_share_is_taken_of_every_class(share: float, expected: int) -> None:
    source = datasets.Source({"good": made_up(40)}, DEFAULT_SPEC, load_config("chars74k", {"labelled_share": share}))
    assert source.labelled.sum() == expected
    assert set(source.labels[source.labelled]) == {0, 1, 2, 3}


def test_only_labelled_images_are_drawn_with_labels() -> None:
    config = load_config("chars74k", {**STILL, "batch": 64, "labelled_share": 0.1, "mode": "supervised"})
    source = datasets.Source({"good": made_up(40)}, DEFAULT_SPEC, config)
    x, _, unlabelled = source.batch(0)
    assert len({row.tobytes() for row in x}) <= 4
    assert len(unlabelled) == 0


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Pictures]:
    sets = {"good": made_up(80), "bad": made_up(30, seed=1), "hnd": made_up(64, "hnd:", seed=2)}
    copied = sets["good"].images[5]
    sets["bad"] = Pictures([*sets["bad"].images, copied], np.append(sets["bad"].labels, 1),
                           [*sets["bad"].names, "copy"], [*sets["bad"].groups, ""])
    monkeypatch.setattr(chars74k, "load_part", lambda name, _root: sets[name])
    return sets


def test_train_validation_and_test_are_apart(parts: dict[str, Pictures]) -> None:
    splits = datasets.load_splits(load_config("chars74k", {"data": "bad+good"}), None)
    places = [name for pictures in (*splits.train.values(), splits.validation, splits.test) for name in pictures.names]
    assert sorted(places) == sorted([*parts["good"].names, *(n for n in parts["bad"].names if n != "copy")])
    assert splits.record["judged_on"] == "good"
    assert splits.record["test"]["count"] == len(splits.test) > 0
    assert splits.record["parts"]["bad"]["loaded"] == 31


@pytest.mark.usefixtures("parts")
def test_writers_are_not_split() -> None:
    splits = datasets.load_splits(load_config("chars74k", {"data": "hnd"}), None)
    groups = [set(p.groups) for p in (splits.train["hnd"], splits.validation, splits.test)]
    assert not groups[0] & (groups[1] | groups[2])
    assert splits.record["test_groups"] == sorted(groups[2])


def test_auto_means_all_parts_only_where_there_is_data(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config("chars74k", {"data": "auto"})
    monkeypatch.delenv("DPUFLOW_DATA", raising=False)
    assert datasets.resolve_parts(config, None) == ("glyphs",)
    monkeypatch.setenv("DPUFLOW_DATA", "somewhere")
    assert datasets.resolve_parts(config, None) == ("good", "bad", "hnd", "glyphs")


def test_no_training_images_is_an_error() -> None:
    with pytest.raises(DataError, match="no training images"):
        datasets.Source({"good": made_up(0)}, DEFAULT_SPEC, load_config("chars74k", {}))


def test_inputs_are_the_one_preprocessing() -> None:
    pictures = made_up(5)
    gray, x = datasets.inputs(pictures, DEFAULT_SPEC)
    assert gray.shape == (5, 32, 32)
    for row, image in zip(x, pictures.images, strict=True):
        assert (row == preprocess(image, DEFAULT_SPEC)).all()


def test_the_ink_box() -> None:
    page = np.full((90, 120), 255, np.uint8)
    assert datasets.ink_box(page).shape == page.shape
    page[30:50, 60:70] = 0
    assert datasets.ink_box(page).shape == (24, 14)  # a margin of two pixels around 20 x 10


def test_non_characters_of_every_kind() -> None:
    gray, kinds = nonchar_pictures(made_up(5), np.zeros((3, 32, 32), np.uint8), seed=1)
    assert gray.shape == (len(kinds), 32, 32)
    assert gray.dtype == np.uint8
    assert set(kinds) == {"noise", "texture", "lines", "blobs", "halves", "generated"}
    assert (gray == nonchar_pictures(made_up(5), np.zeros((3, 32, 32), np.uint8), seed=1)[0]).all()
