"""Tests of the Chars74K loaders on made-up folders and archives."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from dpuflow.data import chars74k
from dpuflow.data.classes import LABELS
from dpuflow.data.root import data_root, place_digest, read_verified, tar_members, unpack_xz
from dpuflow.data.strokes import draw, render_strokes
from dpuflow.errors import DataError


def png(value: int) -> bytes:
    return cv2.imencode(".png", np.full((3, 4), value, np.uint8))[1].tobytes()


def tar(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:xz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def put_archive(root: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes) -> None:
    part = chars74k.PARTS[name]
    assert part.archive
    path = root / part.archive
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    new = chars74k.Part(part.folders, part.archive, hashlib.sha256(data).hexdigest(), part.grouped)
    monkeypatch.setitem(chars74k.PARTS, name, new)  # type: ignore[arg-type]


FILES = {"GoodImg/Bmp/Sample001/img001-00001.png": png(10), "GoodImg/Bmp/Sample062/img062-00007.png": png(20),
         "GoodImg/Bmp/readme.txt": b"no picture", "GoodImg/Bmp/Sample063/img063-00001.png": png(1)}


@pytest.mark.parametrize("folder", ["chars74k/GoodImg/Bmp", "GoodImg/Bmp", "English/Img/GoodImg/Bmp"])
def test_folders_and_the_archive_give_the_same(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, data in FILES.items():
        path = tmp_path / "folders" / name.replace("GoodImg/Bmp", folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    put_archive(tmp_path / "packed", monkeypatch, "good", tar(FILES))
    loose, packed = (chars74k.load_part("good", tmp_path / place) for place in ("folders", "packed"))
    assert loose.labels.tolist() == packed.labels.tolist() == [0, 61]
    assert [image[0, 0] for image in loose.images] == [10, 20]
    assert loose.digest() == packed.digest()
    assert set(loose.groups) == {""}


def test_fonts_are_grouped_by_the_number_of_the_face(tmp_path: Path) -> None:
    for label in (1, 11):
        for face in (3, 4):
            path = tmp_path / f"Fnt/Sample{label:03d}/img{label:03d}-{face:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(label + face))
    pictures = chars74k.load_part("fnt", tmp_path)
    assert list(pictures.groups) == ["fnt:00003", "fnt:00004"] * 2


def test_the_root_is_the_option_then_the_environment_then_an_error(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPUFLOW_DATA", str(tmp_path / "environment"))
    with pytest.raises(DataError, match="environment"):
        data_root(None, "x.tar.xz")
    assert data_root(tmp_path, "x.tar.xz") == tmp_path
    monkeypatch.delenv("DPUFLOW_DATA")
    with pytest.raises(DataError, match=r"x\.tar\.xz.*--data-root.*DPUFLOW_DATA"):
        data_root(None, "x.tar.xz")


def test_a_root_without_the_part_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"GoodImg\.tar\.xz"):
        chars74k.load_part("good", tmp_path)
    (tmp_path / "Fnt").mkdir()
    with pytest.raises(DataError, match="no character pictures"):
        chars74k.load_part("fnt", tmp_path)


def test_an_archive_of_another_digest_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_archive(tmp_path, monkeypatch, "good", tar(FILES))
    path = tmp_path / "chars74k/GoodImg.tar.xz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="SHA-256"):
        chars74k.load_part("good", tmp_path)
    with pytest.raises(DataError, match="cannot read"):
        read_verified(tmp_path / "none", "00")


@pytest.mark.parametrize("bad", [b"", png(3)[:-20], b"text"], ids=["empty", "cut", "text"])
def test_a_bad_picture_is_named(bad: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_archive(tmp_path, monkeypatch, "good", tar({**FILES, "GoodImg/Bmp/Sample002/img002-00009.png": bad}))
    with pytest.raises(DataError, match="img002-00009"):
        chars74k.load_part("good", tmp_path)


@pytest.mark.parametrize("name", ["../evil.png", "/etc/evil.png", "a/../../evil.png", "a\\..\\evil.png"])
def test_members_outside_the_archive_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="outside"):
        list(tar_members(tar({name: b"x"}), Path("archive")))


def test_links_are_not_followed() -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        link = tarfile.TarInfo("Sample001/img001-1.png")
        link.type, link.linkname = tarfile.SYMTYPE, os.devnull
        archive.addfile(link)
    assert list(tar_members(stream.getvalue(), Path("archive"))) == []


def test_damaged_archives_are_errors() -> None:
    whole = tar(FILES)
    for data in (b"", b"not an archive", whole[:len(whole) // 2]):
        with pytest.raises(DataError):
            list(tar_members(data, Path("archive")))
    with pytest.raises(DataError):
        unpack_xz(lzma.compress(b"text")[:-4], Path("strokes"))


def test_strokes_are_drawn_where_they_were_made() -> None:
    image = draw([[[200, 300], [600, 300]]])
    assert image.shape == (90, 120)
    # 200..600 on the page of 800 are columns 30..90 of 120, row 45; the pen is 3.6 px thick.
    assert (image[45, 31:89] == 0).all()
    assert (image[:42] == 255).all()
    assert (image[49:] == 255).all()
    assert (image[:, :27] == 255).all()
    dot = draw([[[400, 300]]])
    assert dot.min() == 0
    assert 8 <= np.count_nonzero(dot < 128) <= 14  # a disc of 3.6 px


def test_the_table_of_strokes_gives_writers_and_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {label: [[[[100, 100], [200, 200 + 5 * i]]]] * 2 for i, label in enumerate(LABELS)}
    put_archive(tmp_path, monkeypatch, "hnd", lzma.compress(json.dumps(table).encode()))
    pictures = chars74k.load_part("hnd", tmp_path)
    assert pictures.labels.tolist() == [i // 2 for i in range(124)]
    assert set(pictures.groups) == {"hnd:001", "hnd:002"}


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"0": [[[["x", 1]]]]}', b"\xff"])
def test_what_is_no_table_of_strokes_is_an_error(text: bytes) -> None:
    with pytest.raises(DataError, match="strokes"):
        list(render_strokes(text, Path("strokes")))


def test_the_digest_of_a_place_sees_names_and_bytes(tmp_path: Path) -> None:
    def digest(**files: bytes) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, data in files.items():
            (folder / f"{name}.png").write_bytes(data)
        return place_digest(folder)

    assert digest(a=b"1", b=b"2") == digest(b=b"2", a=b"1")
    assert len({digest(a=b"1", b=b"2"), digest(a=b"2", b=b"1"), digest(a=b"1"), digest(c=b"1"), digest()}) == 5
    single = tmp_path / "x.tar"
    single.write_bytes(b"1")
    before = place_digest(single)
    single.write_bytes(b"2")
    assert place_digest(single) != before
