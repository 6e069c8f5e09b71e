"""The training, validation and test sets of a run, and the batches drawn from them."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import augment
import numpy as np
from train_config import TrainConfig

from dpuedge.image import fit, normalize
from dpuflow.data import chars74k, fonts, glyphs
from dpuflow.data.classes import FAKE_CLASS
from dpuflow.data.pictures import Pictures, join, summary
from dpuflow.data.root import VARIABLE, place_digest
from dpuflow.data.split import deduplicate, split_by_class, split_by_group, without
from dpuflow.errors import DataError

# How often each part is drawn from, relative to the others that a run uses.
WEIGHTS: Mapping[str, float] = {"good": 1.0, "bad": 0.4, "hnd": 0.1, "fnt": 0.3, "glyphs": 0.3}
_FAMILY_BALANCE = 0.5  # families are drawn in proportion to their count to this power
Progress = Callable[[Sequence[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Splits:
    """Disjoint sets: ``train`` by part, and one validation and one test set, with the records of how."""

    train: Mapping[str, Pictures]
    validation: Pictures
    test: Pictures
    record: Mapping[str, Any]


def resolve_parts(config: TrainConfig, data_root: str | None) -> tuple[str, ...]:
    """The parts of a run: "auto" is everything when there is a data folder, else the glyphs."""
    if config.data != "auto":
        return config.parts
    return ("good", "bad", "hnd", "glyphs") if data_root or os.environ.get(VARIABLE) else ("glyphs",)


def load_splits(config: TrainConfig, data_root: str | None, progress: Progress = lambda faces: faces) -> Splits:
    """Load, de-duplicate and split the parts of a run.

    Validation and test come from the first part in the order good, fnt, glyphs, hnd, bad that the
    run uses; the other parts are for training only, without any picture of the first.
    """
    parts = resolve_parts(config, data_root)
    sets, record = {}, {}
    for part in parts:
        loaded = _load(part, config, data_root, progress)
        cleaned = deduplicate(loaded)
        sets[part] = cleaned.pictures
        record[part] = {**summary(cleaned.pictures), **cleaned.as_json(), "loaded": len(loaded)}
    judged = next(part for part in ("good", "fnt", "glyphs", "hnd", "bad") if part in parts)
    train, validation, test = _split(sets[judged], config)
    train_sets = {part: train if part == judged else without(sets[part], sets[judged]) for part in parts}
    return Splits(train_sets, validation, test, {
        "parts": record, "judged_on": judged, "split_seed": config.split_seed,
        "train": {part: summary(pictures) for part, pictures in train_sets.items()},
        "validation": summary(validation), "test": summary(test),
        "test_groups": sorted({group for group in test.groups if group}),
        "digest": join(list(sets.values())).digest(),
    })


def inputs_digest(config: TrainConfig, data_root: str | None) -> Mapping[str, str]:
    """Digests of the files that a run would read, without decoding or drawing any of them."""
    return {part: _fonts_digest(config.fonts) if part == "glyphs" else
            place_digest(chars74k.find_part(part, data_root)) for part in resolve_parts(config, data_root)}


def _fonts_digest(places: str) -> str:
    digest = hashlib.sha256()
    for file in _font_files(places):
        digest.update(f"{file.name} {len(file.data)} ".encode() + file.data)
    return digest.hexdigest()


def _load(part: str, config: TrainConfig, data_root: str | None, progress: Progress) -> Pictures:
    if part != "glyphs":
        return chars74k.load_part(part, data_root)
    return glyphs.glyph_pictures(_font_files(config.fonts), progress=progress)


def _font_files(places: str) -> Iterator[fonts.FontFile]:
    named: Mapping[str, Callable[[], Iterator[fonts.FontFile]]] = {
        "packages": fonts.package_fonts, "system": fonts.system_fonts,
    }
    return chain.from_iterable(named[place]() if place in named else fonts.folder_fonts(Path(place))
                               for place in places.split("+"))


def _split(pictures: Pictures, config: TrainConfig) -> list[Pictures]:
    shares = (1 - config.validation_share - config.test_share, config.validation_share, config.test_share)
    # By family or writer where there are such, so that no design stands on both sides.
    split = split_by_group if all(pictures.groups) else split_by_class
    return split(pictures, shares, config.split_seed)


def inputs(pictures: Pictures, spec: Mapping[str, Any]) -> tuple[Any, Any]:
    """What the network is given: gray uint8 (N, 32, 32) and float32 (N, 32, 32, 1)."""
    gray = fitted(pictures, spec["height"], spec)
    return gray, normalize(gray, spec)[..., None]


def fitted(pictures: Pictures, side: int, spec: Mapping[str, Any]) -> Any:
    """All pictures fitted to one side: uint8 (N, side, side)."""
    larger = {**spec, "height": side, "width": side}
    if not len(pictures):
        return np.zeros((0, side, side), np.uint8)
    return np.stack([fit(image, larger) for image in pictures.images])


class Source:
    """Draws random views of the training images; a batch depends on the seed and its number alone."""

    def __init__(self, train: Mapping[str, Pictures], spec: Mapping[str, Any], config: TrainConfig,
                 judged: str | None = None) -> None:
        kept = {part: pictures for part, pictures in train.items() if len(pictures)}
        if not kept:
            raise DataError("no training images left after the split", remedy="use more data or smaller shares")
        self.config, self.spec = config, spec
        self.gray = np.concatenate([_working_copy(part, pictures, spec) for part, pictures in kept.items()])
        self.labels = np.concatenate([pictures.labels for pictures in kept.values()])
        shares = class_shares(train[judged or next(iter(kept))])
        weights = np.concatenate([_weights(pictures, shares) * WEIGHTS[part] for part, pictures in kept.items()])
        self.labelled = _labelled(self.labels, config.labelled_share, config.seed)
        self._cumulative_all = np.cumsum(weights / weights.sum())
        chosen = np.where(self.labelled, weights, 0)
        self._cumulative_labelled = np.cumsum(chosen / chosen.sum())

    def batch(self, step: int) -> tuple[Any, Any, Any]:
        """Step ``step``: labelled views, their labels, and views without labels (none if all are labelled)."""
        rng = np.random.default_rng([self.config.seed, step])
        chosen = self._draw(self._cumulative_labelled, rng)
        unlabelled = np.zeros((0, augment.SIDE, augment.SIDE, 1), np.float32)
        if self.config.labelled_share < 1 and self.config.mode == "gan":
            unlabelled = self.view(self._draw(self._cumulative_all, rng), rng)
        return self.view(chosen, rng), self.labels[chosen], unlabelled

    def _draw(self, cumulative: Any, rng: np.random.Generator) -> Any:
        found = np.searchsorted(cumulative, rng.random(self.config.batch), side="right")
        return np.minimum(found, len(cumulative) - 1)

    def view(self, chosen: Any, rng: np.random.Generator) -> Any:
        """Random views of some images in the network's input scale, float32 (N, 32, 32, 1)."""
        return normalize(augment.views(self.gray[chosen], rng, self.config), self.spec)[..., None]


def _working_copy(part: str, pictures: Pictures, spec: Mapping[str, Any]) -> Any:
    """The images at twice the network's side; handwriting loses its empty page, as crops have none."""
    if part == "hnd":
        pictures = Pictures([ink_box(image) for image in pictures.images], pictures.labels, pictures.names,
                            pictures.groups)
    return fitted(pictures, augment.SOURCE_SIDE, spec)


def ink_box(image: Any) -> Any:
    """The part of a dark-on-light picture that holds ink, with a margin of a tenth."""
    rows, columns = np.flatnonzero((image < glyphs.INK).any(axis=1)), np.flatnonzero((image < glyphs.INK).any(axis=0))
    if not rows.size:
        return image
    margin = 1 + max(rows[-1] - rows[0], columns[-1] - columns[0]) // 10
    return image[max(rows[0] - margin, 0):rows[-1] + margin + 1, max(columns[0] - margin, 0):columns[-1] + margin + 1]


def class_shares(pictures: Pictures) -> Any:
    """How often each class occurs, one added to every count so that none is impossible."""
    counts = np.bincount(pictures.labels, minlength=FAKE_CLASS) + 1.0
    return counts / counts.sum()


def _weights(pictures: Pictures, shares: Any) -> Any:
    """Drawing weights that add up to one, with the given shares of the classes and families nearly alike.

    Every part is drawn with the class shares of the part that the run is judged on: case twins look
    the same, and only how common each is can decide between them.
    """
    sizes = Counter(group for group in pictures.groups if group)
    weights = np.array([float(sizes.get(group, 1)) ** (_FAMILY_BALANCE - 1) for group in pictures.groups])
    totals = np.bincount(pictures.labels, weights, minlength=FAKE_CLASS)
    weights *= (shares / np.maximum(totals, 1e-12))[pictures.labels]
    return weights / weights.sum()


def _labelled(labels: Any, share: float, seed: int) -> Any:
    """Which images keep their labels: the share of each class, at least one."""
    rng = np.random.default_rng([seed, 0x1ABE1])
    kept = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        kept[members[:max(int(np.ceil(share * len(members))), 1)]] = True
    return kept
