"""The sets of a captcha training: which pictures, cut how, and as the network takes them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from captcha_config import CaptchaConfig

from dpuedge.image import fit, to_input
from dpuflow.data import captcha
from dpuflow.data.captcha import Captchas, clean, find_captchas, fold_parts, load_captchas
from dpuflow.data.captcha_draw import draw_captchas
from dpuflow.data.fonts import package_fonts
from dpuflow.data.root import VARIABLE, place_digest

SPEC = captcha.PREPROCESSING


@dataclass(frozen=True)
class TextSet:
    """Fitted pictures uint8 (N, 50, 200), their symbols (N, L), words and names."""

    gray: Any
    symbols: Any
    words: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def x(self) -> Any:
        """The network's input, float32 (N, 200, 50, 1)."""
        return np.ascontiguousarray(to_input(self.gray, SPEC))


@dataclass(frozen=True)
class TextSplits:
    """Disjoint sets and the records of how they came about."""

    train: TextSet
    validation: TextSet
    test: TextSet
    record: Mapping[str, Any]


def resolve_data(config: CaptchaConfig, root: str | None) -> str:
    """"captcha" or "drawn"; "auto" is the real set when there is a data folder."""
    if config.data != "auto":
        return config.data
    return "captcha" if root or os.environ.get(VARIABLE) else "drawn"


def data_digest(config: CaptchaConfig, root: str | None) -> str:
    """A digest of the files that a run would read."""
    if resolve_data(config, root) == "captcha":
        return place_digest(find_captchas(root))
    digest = hashlib.sha256()
    for file in package_fonts():
        digest.update(f"{file.name} {len(file.data)} ".encode() + file.data)
    return digest.hexdigest()


def load_text_splits(config: CaptchaConfig, root: str | None) -> TextSplits:
    """Load or draw the pictures, drop doubles, cut into the parts of the configuration's fold."""
    kind = resolve_data(config, root)
    loaded = (load_captchas(find_captchas(root), config.alphabet) if kind == "captcha"
              else draw_captchas(config.drawn, config.split_seed, package_fonts(), config.alphabet))
    cleaned = clean(loaded)
    parts = fold_parts(cleaned.captchas, config.fold, config.folds, config.validation_share, config.split_seed)
    names = ("train", "validation", "test")
    return TextSplits(*(text_set(part, config) for part in parts), {
        "data": kind, **cleaned.as_json(), "loaded": len(loaded), "fold": config.fold, "folds": config.folds,
        "split_seed": config.split_seed,
        **{name: {"count": len(part), "digest": part.digest()} for name, part in zip(names, parts, strict=True)}})


def text_set(captchas: Captchas, config: CaptchaConfig) -> TextSet:
    """Captchas of any sizes fitted to the network's input."""
    fitted = [fit(image, SPEC) for image in captchas.images]
    gray = np.stack(fitted) if fitted else np.zeros((0, SPEC["height"], SPEC["width"]), np.uint8)
    symbols = np.array([config.alphabet.encode(word) for word in captchas.words], np.int64)
    return TextSet(gray, symbols.reshape(len(captchas), config.length), captchas.words, captchas.names)
