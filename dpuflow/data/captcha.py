"""The captcha set (R. Wilhelmy, H. Rosas, 2013): pictures named after the word that they show.

Read from its archive, which is verified, or from any folder of ``<word>.png``. The order of the
symbols is fixed here and never taken from a set.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from dpuedge.image import decode_gray
from dpuflow.data.pictures import pixel_key
from dpuflow.data.root import VARIABLE, data_root, read_verified, tar_members
from dpuflow.errors import DataError, ImageError
from dpuflow.ir.graph import Array

SYMBOLS = "2345678bcdefgmnpwxy"
BLANK = len(SYMBOLS)  # the output after the symbols
LENGTH = 5
HEIGHT, WIDTH = 50, 200
# Width first: the network's time axis is the height of its maps.
PREPROCESSING: Mapping[str, Any] = {
    "id": "captcha200x50-stretch-transpose-standardize-v1", "height": HEIGHT, "width": WIDTH, "channels": 1,
    "fit": "stretch", "transpose": True, "normalize": "standardize", "clip": [-4.0, 3.96875],
}
ARCHIVE = "captcha/captcha_images_v2.tar.xz"
SHA256 = "7dcc5205e74ec0058157e693b9606d3bfd013c7301ad4249c5ca67db6b41a42c"
FOLDERS = ("captcha/captcha_images_v2", "captcha_images_v2", "captcha")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".tif", ".tiff")
_NAMED = 5  # files that a message lists


@dataclass(frozen=True)
class Alphabet:
    """The symbols in the order of the network's outputs (the blank comes after them) and a word's length."""

    symbols: str = SYMBOLS
    length: int = LENGTH

    @property
    def blank(self) -> int:
        """The output that stands for no symbol."""
        return len(self.symbols)

    def encode(self, word: str) -> tuple[int, ...]:
        """A word as output numbers."""
        return tuple(self.symbols.index(symbol) for symbol in word)

    def decode(self, numbers: Iterable[int]) -> str:
        """Output numbers as a word.

        >>> Alphabet().decode(Alphabet().encode("2bnny"))
        '2bnny'
        """
        return "".join(self.symbols[number] for number in numbers)

    def fault(self, word: str) -> str | None:
        """What is wrong with a picture's word, or None."""
        unknown = sorted(set(word) - set(self.symbols))
        if unknown and set(word.lower()) <= set(self.symbols):
            return "capital letters"
        if unknown:
            return f"unknown symbols {''.join(unknown)}"
        return None if len(word) == self.length else f"{len(word)} symbols"


@dataclass(frozen=True)
class Captchas:
    """``images[i]``, gray uint8 (H, W) of any size, shows ``words[i]`` and was read from ``names[i]``."""

    images: Sequence[Array]
    words: tuple[str, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Iterable[int]) -> Captchas:
        """The pictures at ``indices``, in that order."""
        chosen = [int(index) for index in indices]
        return Captchas([self.images[i] for i in chosen], tuple(self.words[i] for i in chosen),
                        tuple(self.names[i] for i in chosen))

    def digest(self) -> str:
        """SHA-256 over the sorted list of words and pixels."""
        lines = sorted(f"{word}\t{pixel_key(image)}" for word, image in zip(self.words, self.images, strict=True))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class Cleaned:
    """A set without pixel-equal pictures, and how many went."""

    captchas: Captchas
    duplicates: int
    conflicts: int

    def as_json(self) -> Mapping[str, Any]:
        """Counts and digest for a stage's records."""
        return {"count": len(self.captchas), "digest": self.captchas.digest(),
                "duplicates_dropped": self.duplicates, "conflicting_dropped": self.conflicts}


def find_captchas(argument: str | Path | None) -> Path:
    """The archive or folder of the set below --data-root or DPUFLOW_DATA, or that folder itself; DataError if none."""
    root = data_root(argument, ARCHIVE)
    if (root / ARCHIVE).is_file():
        return root / ARCHIVE
    for folder in (*FOLDERS, "."):
        if (root / folder).is_dir() and any(_pictures(root / folder)):
            return root / folder
    raise DataError("the data folder holds no captchas", where=root,
                    expected=f"{ARCHIVE}, or a folder of <word>.png: {', '.join(FOLDERS)} or itself",
                    remedy=f"check --data-root or {VARIABLE}")


def load_captchas(place: Path, alphabet: Alphabet) -> Captchas:
    """All captchas of an archive or a folder, sorted by name.

    DataError for a set without pictures, for pictures that cannot be read, and for names that are
    no words of the alphabet; the first few are named.
    """
    files = list(_from_folder(place) if place.is_dir() else _from_archive(place))
    if not files:
        raise DataError("no captcha pictures found", where=place, expected="<word>.png, such as 2bnny.png",
                        remedy=f"check --data-root or {VARIABLE}")
    _check_words([name for name, _ in files], alphabet, place)
    images = [_decoded(name, data, place) for name, data in files]
    return Captchas(images, tuple(_word(name) for name, _ in files), tuple(name for name, _ in files))


def _pictures(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES and path.is_file())


def _from_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in _pictures(folder):
        try:
            yield path.name, path.read_bytes()
        except OSError as error:
            raise DataError(f"cannot read the picture ({error.strerror or error})", where=path) from None


def _from_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    return ((name, content) for name, content in tar_members(read_verified(path, SHA256), path)
            if PurePosixPath(name).suffix.lower() in SUFFIXES)


def _word(name: str) -> str:
    return PurePosixPath(name).stem


def _check_words(names: Sequence[str], alphabet: Alphabet, place: Path) -> None:
    faults = [(name, fault) for name in names if (fault := alphabet.fault(_word(name)))]
    if faults:
        shown = "; ".join(f"{name}: {fault}" for name, fault in faults[:_NAMED])
        raise DataError(f"{len(faults)} of {len(names)} pictures are not named after a word of the alphabet",
                        where=place, got=shown + (" ..." if len(faults) > _NAMED else ""),
                        expected=f"{alphabet.length} of {alphabet.symbols}",
                        remedy="rename or remove them, or set symbols and length of the configuration")


def _decoded(name: str, data: bytes, place: Path) -> Array:
    try:
        image: Array = decode_gray(data, f"{place}:{name}" if place.is_file() else str(place / name))
    except ImageError as error:
        raise DataError(error.what, where=error.where, got=error.got, expected=error.expected,
                        remedy="copy the data again, or remove this picture") from None
    return image


def clean(captchas: Captchas) -> Cleaned:
    """Keep the first of pixel-equal pictures; drop all of them if they are said to show different words."""
    places: dict[str, list[int]] = defaultdict(list)
    for index, image in enumerate(captchas.images):
        places[pixel_key(image)].append(index)
    agreeing = [same for same in places.values() if len({captchas.words[index] for index in same}) == 1]
    conflicts = len(captchas) - sum(map(len, agreeing))
    kept = sorted(same[0] for same in agreeing)
    return Cleaned(captchas.take(kept), len(captchas) - conflicts - len(kept), conflicts)


def fold_parts(captchas: Captchas, fold: int, folds: int, validation_share: float,
               seed: int) -> tuple[Captchas, Captchas, Captchas]:
    """Training, validation and test set of fold ``fold`` of ``folds``.

    Which fold a picture is tested in depends on its word, the words of the set and the seed alone:
    the same word never stands on two sides, and no order of files matters.
    """
    words = sorted(set(captchas.words))
    if not 0 <= fold < folds or folds < 2:
        raise DataError("no such fold", got=fold, expected=f"0 to {folds - 1} of at least 2")
    if len(words) < 2 * folds:
        raise DataError("too few different words for the folds", got=len(words), expected=f"at least {2 * folds}")
    order = np.random.default_rng(seed).permutation(len(words)).tolist()
    others = [place for at, place in enumerate(order) if at % folds != fold]
    count = max(int(validation_share * len(others) + 0.5), 1)
    part = dict.fromkeys(words, 2)
    part.update({words[place]: 1 if at < count else 0 for at, place in enumerate(others)})
    sides = [[i for i, word in enumerate(captchas.words) if part[word] == side] for side in range(3)]
    return captchas.take(sides[0]), captchas.take(sides[1]), captchas.take(sides[2])
