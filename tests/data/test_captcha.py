"""Tests of the captcha loader, its folds, the drawn captchas and the word scores."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from data.font_maker import make_font
from hypothesis import given
from hypothesis import strategies as st

from dpuedge.image import input_shape, preprocess
from dpuflow.data import captcha
from dpuflow.data.captcha import Alphabet, Captchas, clean, find_captchas, fold_parts, load_captchas
from dpuflow.data.captcha_draw import bold_faces, catmull_rom, draw_captchas
from dpuflow.data.fonts import find_faces
from dpuflow.data.words import edits, word_score
from dpuflow.errors import DataError

ALPHABET = Alphabet()


def picture(value: int, shape: tuple[int, ...] = (50, 200), kind: type[np.generic] = np.uint8) -> bytes:
    return cv2.imencode(".png", np.full(shape, value, kind))[1].tobytes()


def put(folder: Path, files: Mapping[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


# -- loading -----------------------------------------------------------------------------------------------

def test_the_order_of_the_symbols_is_fixed() -> None:
    assert ALPHABET.symbols == "2345678bcdefgmnpwxy"
    assert ALPHABET.blank == 19
    assert ALPHABET.encode("2bnny") == (0, 7, 14, 14, 18)


def test_pictures_of_every_kind(tmp_path: Path) -> None:
    rgba = np.zeros((50, 200, 4), np.uint8)
    rgba[..., :3], rgba[..., 3] = 90, 255
    files = {"22222.png": picture(90), "33333.png": cv2.imencode(".png", rgba)[1].tobytes(),
             "44444.png": picture(90 * 257, kind=np.uint16), "55555.png": picture(90, (25, 31)),
             "readme.txt": b"no picture"}
    loaded = load_captchas(put(tmp_path, files), ALPHABET)
    assert loaded.words == ("22222", "33333", "44444", "55555")
    assert [image.shape for image in loaded.images] == [(50, 200)] * 3 + [(25, 31)]
    assert {int(image[0, 0]) for image in loaded.images} == {90}
    assert preprocess(loaded.images[3], captcha.PREPROCESSING).shape == (200, 50, 1)
    assert input_shape(captcha.PREPROCESSING) == (1, 200, 50, 1)


@pytest.mark.parametrize(("name", "message"), [
    ("2222a.png", "unknown symbols a"), ("2222.png", "4 symbols"), ("222222.png", "6 symbols"),
    ("2222B.png", "capital letters"), ("22 22.png", "unknown symbols  "), (".png", None),
])
def test_names_that_are_no_words(tmp_path: Path, name: str, message: str | None) -> None:
    put(tmp_path, {"22223.png": picture(1), name: picture(2)})
    if message is None:  # a hidden file without a suffix is no picture
        assert load_captchas(tmp_path, ALPHABET).words == ("22223",)
        return
    with pytest.raises(DataError, match=message) as caught:
        load_captchas(tmp_path, ALPHABET)
    assert "1 of 2 pictures" in str(caught.value)
    assert name in str(caught.value)


def test_words_that_differ_in_case_only(tmp_path: Path) -> None:
    put(tmp_path, {"bbbbb.png": picture(1), "BBBBB.png": picture(2)})
    with pytest.raises(DataError, match="BBBBB.png: capital letters"):
        load_captchas(tmp_path, ALPHABET)
    assert load_captchas(tmp_path, Alphabet("bB", 5)).words == ("BBBBB", "bbbbb")


@pytest.mark.parametrize(("data", "message"), [
    (b"", "empty"), (b"no picture", "not a picture"), (picture(7)[:-20], "truncated or damaged")])
def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    put(tmp_path, {"22222.png": picture(1), "33333.png": data})
    with pytest.raises(DataError, match=message) as caught:
        load_captchas(tmp_path, ALPHABET)
    assert "33333.png" in str(caught.value)


def test_where_the_set_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DPUFLOW_DATA", raising=False)
    with pytest.raises(DataError, match="DPUFLOW_DATA"):
        find_captchas(None)
    with pytest.raises(DataError, match="holds no captchas"):
        find_captchas(tmp_path)
    put(tmp_path, {"22222.png": picture(1)})
    assert load_captchas(find_captchas(tmp_path), ALPHABET).words == ("22222",)
    put(tmp_path / "captcha_images_v2", {"33333.png": picture(1)})
    assert load_captchas(find_captchas(tmp_path), ALPHABET).words == ("33333",)
    with pytest.raises(DataError, match="no captcha pictures"):
        load_captchas(put(tmp_path / "other", {"x.txt": b""}), ALPHABET)


def test_the_archive_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:xz") as archive:
        member = tarfile.TarInfo("captcha_images_v2/2bnny.png")
        member.size = len(picture(3))
        archive.addfile(member, io.BytesIO(picture(3)))
    put(tmp_path / "captcha", {"captcha_images_v2.tar.xz": stream.getvalue()})
    with pytest.raises(DataError, match="damaged or another version"):
        load_captchas(find_captchas(tmp_path), ALPHABET)
    monkeypatch.setattr(captcha, "SHA256", hashlib.sha256(stream.getvalue()).hexdigest())
    assert load_captchas(find_captchas(tmp_path), ALPHABET).words == ("2bnny",)


def test_doubles_go_and_contradictions_go_altogether() -> None:
    images = [np.full((2, 2), value, np.uint8) for value in (1, 1, 2, 2, 3)]
    cleaned = clean(Captchas(images, ("a", "a", "b", "c", "d"), ("1", "2", "3", "4", "5")))
    assert cleaned.captchas.names == ("1", "5")
    assert (cleaned.duplicates, cleaned.conflicts) == (1, 2)


# -- folds -------------------------------------------------------------------------------------------------

def captchas_of(words: list[str]) -> Captchas:
    return Captchas([np.full((1, 1), i, np.uint8) for i in range(len(words))], tuple(words), tuple(words))


@given(st.integers(2, 6), st.integers(0, 100), st.randoms(use_true_random=False))
def test_every_word_is_tested_once_and_never_on_two_sides(folds, seed, random) -> None:
    words = [f"{number:03d}" for number in range(40)] + ["003", "017"]
    random.shuffle(words)
    tested: list[str] = []
    for fold in range(folds):
        parts = fold_parts(captchas_of(words), fold, folds, 0.1, seed)
        sides = [set(part.words) for part in parts]
        assert not (sides[0] & sides[1]) | (sides[0] & sides[2]) | (sides[1] & sides[2])
        assert sum(len(part) for part in parts) == len(words)
        assert len(parts[1]) >= 1
        tested += sorted(sides[2])
        again = fold_parts(captchas_of(sorted(words)), fold, folds, 0.1, seed)
        assert [set(part.words) for part in again] == sides  # the order of the files does not matter
    assert sorted(tested) == sorted(set(words))


@pytest.mark.parametrize(("fold", "folds"), [(5, 5), (-1, 5), (0, 1), (0, 30)])
def test_folds_that_cannot_be(fold: int, folds: int) -> None:
    with pytest.raises(DataError, match="fold"):
        fold_parts(captchas_of([f"{i:03d}" for i in range(40)]), fold, folds, 0.1, 1)


# -- drawing -----------------------------------------------------------------------------------------------

def test_drawn_captchas_have_the_look_of_the_set() -> None:
    files = [make_font("Alpha", "Bold"), make_font("Beta", "Regular", weight=140)]
    drawn, again = (draw_captchas(12, 5, files) for _ in range(2))
    assert len(set(drawn.words)) == 12
    assert all(ALPHABET.fault(word) is None for word in drawn.words)
    assert all((one == other).all() for one, other in zip(drawn.images, again.images, strict=True))
    for image in drawn.images:
        assert image.shape == (50, 200) and image.dtype == np.uint8
        assert abs(int(image[0, 0]) - 192) <= 1  # the background is constant down each column ...
        assert abs(int(image[:, 190].max()) - 248) <= 1  # ... and brightens to the right
        dark = np.flatnonzero((image < 100).sum(axis=0) >= 4)
        assert 10 <= dark[0] <= 40 and 100 <= dark[-1] <= 160
    assert [face.name for face in bold_faces(find_faces(files))] == ["Alpha Bold"]


def test_too_many_words_and_no_font_are_errors() -> None:
    with pytest.raises(DataError, match="not so many different words"):
        draw_captchas(3, 1, [make_font("Alpha")], Alphabet("2b", 2))
    with pytest.raises(DataError, match="no usable font"):
        draw_captchas(3, 1, [])


def test_a_curve_goes_through_its_knots() -> None:
    knots = np.array([[0.0, 1.0], [2.0, 5.0], [4.0, 3.0]])
    points = catmull_rom(knots, 4)
    assert points.shape == (9, 2)
    assert points[::4].tolist() == knots.tolist()


# -- scores ------------------------------------------------------------------------------------------------

@given(st.text("ab", max_size=6), st.text("ab", max_size=6))
def test_edits_turn_one_word_into_the_other(truth: str, read: str) -> None:
    found = edits(truth, read)
    result, at = "", 0
    for edit in found:
        result += truth[at:edit.position] + edit.read
        at = edit.position + len(edit.truth)
    assert result + truth[at:] == read
    assert len(found) >= abs(len(truth) - len(read))
    assert len(found) <= max(len(truth), len(read))


def test_word_score() -> None:
    score = word_score(["abc", "abc", "abc", "abc"], ["abc", "axc", "ac", "abbcd"])
    assert (score["words"]["accuracy"], score["words"]["count"]) == (0.25, 4)
    assert score["characters"]["accuracy"] == pytest.approx(8 / 12, abs=1e-6)
    assert (score["substitutions"], score["deletions"], score["insertions"]) == (1, 1, 2)
    assert word_score(["a"], ["bcdef"])["characters"]["accuracy"] == 0.0
