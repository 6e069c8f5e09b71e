"""Finding font files: those that come with Python packages, those of the system, or folders given."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import re
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dpuflow.errors import DataError

EXTENSIONS = (".ttf", ".otf", ".ttc", ".otc")

# Packages of the train and report extras that hold font files: where below the package.
PACKAGES: tuple[tuple[str, str], ...] = (
    ("matplotlib", "mpl-data/fonts/ttf"), ("font_source_serif_pro", "."), ("font_source_sans_pro", "."),
    ("font_caladea", "."), ("font_manrope", "."), ("font_hanken_grotesk", "."), ("font_fredoka_one", "."),
    ("font_intuitive", "."),
)
SYSTEM_FOLDERS: tuple[str, ...] = (
    "/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts",
    "/Library/Fonts", "/System/Library/Fonts", "C:/Windows/Fonts",
)

_NOT_TEXT = re.compile(
    r"symbol|dingbat|ornament|math|music|icon|emoji|awesome|wingding|webding|stixsize|nonuni|cmex|cmsy|cmmi|"
    r"barcode|braille|initials|keys\b|chess|keyboard|d0500|last ?resort", re.IGNORECASE)
# Words after the family proper: weights, widths and optical sizes of one design.
_STYLE_WORDS = re.compile(
    r"\b(thin|hairline|(extra|ultra|semi|demi) ?(light|bold|condensed|expanded)|light|book|regular|medium|bold|"
    r"black|heavy|italic|oblique|slanted|upright|condensed|cond|narrow|expanded|display|caption|subhead|"
    r"(draft|text)? ?\d+( ?pt)?)\b", re.IGNORECASE)


@dataclass(frozen=True)
class FontFile:
    """The bytes of a font file and the name to show for it."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Face:
    """One face of a font file; ``family`` groups the weights, widths and sizes of one design."""

    file: FontFile
    index: int
    family: str
    name: str


def package_fonts() -> Iterator[FontFile]:
    """Fonts that come with installed packages: :data:`PACKAGES` and pymupdf-fonts."""
    for package, below in PACKAGES:
        with contextlib.suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(package)
            for location in (spec.submodule_search_locations or []) if spec else []:
                if (Path(location) / below).is_dir():
                    yield from folder_fonts(Path(location) / below)
    with contextlib.suppress(ImportError):  # this package keeps its files inside Python modules
        buffers = importlib.import_module("pymupdf_fonts").fontbuffers
        for key in sorted(buffers):
            yield FontFile(f"pymupdf_fonts/{key}.ttf", buffers[key]())


def system_fonts() -> Iterator[FontFile]:
    """The fonts of this system."""
    for name in SYSTEM_FOLDERS:
        folder = Path(name).expanduser()
        if folder.is_dir() and (sys.platform == "win32" or ":" not in name):
            yield from folder_fonts(folder)


def folder_fonts(folder: Path) -> Iterator[FontFile]:
    """The font files below a folder, sorted by path; DataError if the folder is missing."""
    if not folder.is_dir():
        raise DataError("no such font folder", where=folder, remedy="give folders that hold .ttf or .otf files")
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith("."):
            with contextlib.suppress(OSError):  # an unreadable file is as good as none
                yield FontFile(path.name, path.read_bytes())


def find_faces(files: Iterable[FontFile]) -> list[Face]:
    """Faces that hold all 62 characters, sorted by family and name, one of each name.

    Symbol and mathematics fonts are left out, and so are files that are no fonts.
    """
    faces: dict[tuple[str, str], Face] = {}
    for file in files:
        for face in _faces_of(file):
            faces.setdefault((face.family, face.name), face)
    return sorted(faces.values(), key=lambda face: (face.family, face.name))


def _faces_of(file: FontFile) -> Iterator[Face]:
    from fontTools.ttLib import TTCollection, TTFont, TTLibError

    logging.getLogger("fontTools").setLevel(logging.ERROR)  # flaws of strangers' fonts are no news
    try:
        stream = io.BytesIO(file.data)
        collection = file.data[:4] == b"ttcf"
        for index, font in enumerate(TTCollection(stream, lazy=True).fonts if collection else [TTFont(stream)]):
            face = _face(font, file, index)
            if face is not None:
                yield face
    except (TTLibError, struct.error, OSError, KeyError, ValueError, AssertionError, EOFError):
        return  # not a font, or damaged: a font folder holds all sorts of files


def _face(font: object, file: FontFile, index: int) -> Face | None:
    from dpuflow.data.classes import LABELS

    cmap = font.getBestCmap() or {}  # type: ignore[attr-defined]
    if any(ord(character) not in cmap for character in LABELS):
        return None
    table = font["name"]  # type: ignore[index]
    family = table.getDebugName(16) or table.getDebugName(1) or file.name
    style = table.getDebugName(17) or table.getDebugName(2) or ""
    if _NOT_TEXT.search(f"{family} {file.name}"):
        return None
    return Face(file, index, family_of(family), f"{family} {style}".strip())


def family_of(name: str) -> str:
    """The family that a font's family name belongs to, in lower case.

    >>> [family_of(name) for name in ("LM Roman 12", "DejaVu Sans Condensed", "Lato Black", "cmr10")]
    ['lm roman', 'dejavu sans', 'lato', 'cmr']
    """
    plain = _STYLE_WORDS.sub(" ", re.sub(r"(?<=[a-z])\d+$", "", name))
    return " ".join(plain.lower().split()) or name.lower()
