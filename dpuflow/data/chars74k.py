"""Chars74K (T. de Campos, B. R. Babu, M. Varma, VISAPP 2009): GoodImg, BadImag, Hnd and Fnt.

Each part is read from folders (``.../SampleNNN/*.png``, the original layout) or from the archives
that the data specification lists, whichever the data folder holds; archives are verified and read
in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dpuedge.image import decode_gray
from dpuflow.data.classes import LABELS
from dpuflow.data.pictures import Item, Pictures, gather
from dpuflow.data.root import VARIABLE, data_root, read_verified, tar_members, unpack_xz
from dpuflow.data.strokes import render_strokes
from dpuflow.errors import DataError, ImageError

_MEMBER = re.compile(r"(?:^|/)Sample(\d{3})/([^/]+)\.png$", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """One part: folders it may lie in (below the root) and its archive with SHA-256, if there is one."""

    folders: tuple[str, ...]
    archive: str | None
    sha256: str | None
    grouped: bool = False  # files of the same number in every class come from one font or writer


PARTS: Mapping[str, Part] = {
    "good": Part(
        ("chars74k/GoodImg/Bmp", "GoodImg/Bmp", "English/Img/GoodImg/Bmp", "chars74k/English/Img/GoodImg/Bmp"),
        "chars74k/GoodImg.tar.xz", "6c785dc1867e773f106340a891b1ede992f40ae0d9cfb19be3318f91f296310c"),
    "bad": Part(
        ("chars74k/BadImag/Bmp", "BadImag/Bmp", "English/Img/BadImag/Bmp", "chars74k/English/Img/BadImag/Bmp"),
        "chars74k/BadImag.tar.xz", "fe871a1dabe2d9e46d04fc4c6a5c1fa41178116ed4fb4f4ca2aa4dfd0afd2e10"),
    "hnd": Part(
        ("chars74k/Hnd/Img", "Hnd/Img", "English/Hnd/Img", "chars74k/English/Hnd/Img"),
        "chars74k/Hnd_strokes.json.xz", "d0b0a49d5aa28d64a71035cb4f4dc3dffee1fad74abde5986ad4207d606b0a89",
        grouped=True),
    "fnt": Part(("chars74k/Fnt", "Fnt", "English/Fnt", "chars74k/English/Fnt"), None, None, grouped=True),
}


def load_part(name: str, argument: str | Path | None) -> Pictures:
    """One part of Chars74K, by the name in :data:`PARTS`, below --data-root or DPUFLOW_DATA.

    Images are gray uint8 of their own sizes; ``groups`` is the font or writer of Fnt and Hnd.
    DataError when it is not there, damaged or empty.
    """
    part, place = PARTS[name], find_part(name, argument)
    if place.is_dir():
        return _checked(_from_folder(place, name, part.grouped), place)
    return _checked(_from_archive(place, name, part), place)


def find_part(name: str, argument: str | Path | None) -> Path:
    """The folder or archive that holds a part; DataError when there is none."""
    part = PARTS[name]
    root = data_root(argument, part.archive or f"{part.folders[0]}/Sample001/")
    for folder in part.folders:
        if (root / folder).is_dir():
            return root / folder
    if part.archive and (root / part.archive).is_file():
        return root / part.archive
    looked = ", ".join([*part.folders, *([part.archive] if part.archive else [])])
    raise DataError(f"the data folder holds no Chars74K part {name!r}", where=root, expected=f"one of {looked}",
                    remedy=f"check --data-root or {VARIABLE}")


def _checked(items: Iterator[Item], where: Path) -> Pictures:
    pictures = gather(items)
    if not len(pictures):
        raise DataError("no character pictures found", where=where, expected="SampleNNN/*.png",
                        remedy=f"check --data-root or {VARIABLE}")
    return pictures


def _from_folder(folder: Path, name: str, grouped: bool) -> Iterator[Item]:
    for path in sorted(folder.glob("Sample*/*.png")):
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f"cannot read the picture ({error.strerror or error})", where=path) from None
        item = _item(path.relative_to(folder).as_posix(), data, name, str(path), grouped)
        if item is not None:
            yield item


def _from_archive(path: Path, name: str, part: Part) -> Iterator[Item]:
    data = read_verified(path, part.sha256 or "")
    if name == "hnd":
        yield from render_strokes(unpack_xz(data, path), path)
        return
    for member, content in tar_members(data, path):
        item = _item(member, content, name, f"{path}:{member}", part.grouped)
        if item is not None:
            yield item


def _item(relative: str, data: bytes, name: str, where: str, grouped: bool) -> Item | None:
    """The picture of one file, or None if its place names none of the 62 classes."""
    match = _MEMBER.search(relative)
    if match is None or not 1 <= int(match[1]) <= len(LABELS):
        return None
    try:
        image = decode_gray(data, where)
    except ImageError as error:
        raise DataError(error.what, where=error.where, got=error.got, expected=error.expected,
                        remedy="copy the data again, or remove this picture") from None
    group = f"{name}:{match[2].rpartition('-')[2]}" if grouped else ""
    return Item(image, int(match[1]) - 1, f"{name}/{match[0].lstrip('/')}", group)
