"""Tests of dpuflow.data.fonts and dpuflow.data.glyphs."""

from __future__ import annotations

import numpy as np
import pytest
from data.font_maker import make_font

from dpuflow.data import fonts, glyphs
from dpuflow.data.classes import LABELS
from dpuflow.errors import DataError


@pytest.mark.parametrize(("name", "family"), [
    ("LM Roman 12", "lm roman"), ("Latin Modern Roman Demi", "latin modern roman demi"), ("Lato Black", "lato"),
    ("DejaVu Sans Condensed", "dejavu sans"), ("DejaVu Sans Mono", "dejavu sans mono"), ("cmr10", "cmr"),
    ("Noto Sans ExtraLight", "noto sans"), ("Source Serif Pro Semibold", "source serif pro"),
    ("Bold", "bold"),
])
def test_families_lose_weight_width_and_size(name: str, family: str) -> None:
    assert fonts.family_of(name) == family


def test_a_face_needs_all_characters_and_a_text_name() -> None:
    files = [make_font("Plain"), make_font("Short", characters="".join(LABELS[:-1])), make_font("Plain Symbols"),
             fonts.FontFile("broken.ttf", b"\0\1\0\0nonsense"), fonts.FontFile("empty.ttf", b"")]
    assert [(face.family, face.name) for face in fonts.find_faces(files)] == [("plain", "Plain Regular")]


def test_a_damaged_font_is_passed_over_wherever_it_is_cut() -> None:
    whole = make_font("Plain").data
    for size in range(0, len(whole) - 1, 97):
        for face in fonts.find_faces([fonts.FontFile("cut.ttf", whole[:size])]):
            assert glyphs.draw_face(face) is None or len(glyphs.draw_face(face) or []) == len(LABELS)


def test_faces_of_one_name_count_once_and_come_in_order() -> None:
    files = [make_font("Zeta"), make_font("Alpha", "Bold"), make_font("Alpha"), make_font("Alpha")]
    assert [face.name for face in fonts.find_faces(files)] == ["Alpha Bold", "Alpha Regular", "Zeta Regular"]


def test_the_glyph_box() -> None:
    mask = np.zeros((40, 20), np.uint8)
    mask[:] = 255
    tall = glyphs.boxed(mask)
    rows, columns = np.flatnonzero((tall < 255).any(axis=1)), np.flatnonzero((tall < 255).any(axis=0))
    assert tall.shape == (128, 128)
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (16, 111, 40, 87)
    assert tall.min() == 0
    wide = glyphs.boxed(mask.T)
    assert (wide == tall.T).all()


@pytest.mark.parametrize("shape", [(1, 500), (500, 1), (3, 2)])
def test_every_mask_fits_the_box(shape: tuple[int, int]) -> None:
    boxed = glyphs.boxed(np.full(shape, 255, np.uint8))
    rows, columns = (np.flatnonzero((boxed < 255).any(axis=axis)) for axis in (1, 0))
    assert max(len(rows), len(columns)) == 96
    assert abs((rows[0] + rows[-1]) - 127) <= 1
    assert abs((columns[0] + columns[-1]) - 127) <= 1


def test_a_family_is_filled_to_four_and_labelled() -> None:
    pictures = glyphs.glyph_pictures([make_font("Plain"), make_font("Other"), make_font("Other", "Bold")])
    assert len(pictures) == 2 * 4 * 62
    assert set(pictures.groups) == {"font:plain", "font:other"}
    assert np.bincount(pictures.labels).tolist() == [8] * 62
    assert sum("synthetic" in name for name in pictures.names) == 5 * 62


def test_variants_differ_from_their_face() -> None:
    face = glyphs.draw_face(fonts.find_faces([make_font("Plain")])[0])
    assert face is not None
    bold, slanted = glyphs.embolden(face[10]), glyphs.slant(face[10])
    assert np.count_nonzero(bold) > np.count_nonzero(face[10])
    assert slanted.shape[1] > face[10].shape[1]
    # A slant to the right moves the top to the right of the foot.
    assert np.flatnonzero(slanted[2] > 128)[0] > np.flatnonzero(slanted[-3] > 128)[0]


@pytest.mark.parametrize("font", [
    make_font("Blank", blank="Q"), make_font("Missing", missing="7"), make_font("Equal", missing="ab"),
    make_font("Unicase", same_case=True),
], ids=["blank", "missing", "equal", "unicase"])
def test_faces_that_teach_wrong_things_are_rejected(font: fonts.FontFile) -> None:
    assert len(fonts.find_faces([font])) == 1
    with pytest.raises(DataError, match="no usable font"):
        glyphs.glyph_pictures([font])


def test_large_families_are_thinned_evenly() -> None:
    assert glyphs.spread(list(range(10)), 4) == [0, 2, 5, 7]
    assert glyphs.spread([1, 2], 4) == [1, 2]


def test_a_missing_folder_is_an_error_and_an_unreadable_file_is_not(tmp_path: object) -> None:
    folder = tmp_path / "fonts"  # type: ignore[operator]
    with pytest.raises(DataError, match="no such font folder"):
        list(fonts.folder_fonts(folder))
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "plain.ttf").write_bytes(make_font("Plain").data)
    (folder / "note.txt").write_text("no font")
    assert [file.name for file in fonts.folder_fonts(folder)] == ["plain.ttf"]


def test_the_installed_packages_hold_fonts() -> None:
    pytest.importorskip("matplotlib")
    assert len(fonts.find_faces(fonts.package_fonts())) >= 10
