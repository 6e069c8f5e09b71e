"""What is wrong with calibration data, found before it spoils the positions: warnings with number and remedy."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.calibration.accuracy import class_scores
from dpuflow.calibration.batches import Batch, CalibrationSet
from dpuflow.calibration.scale_check import check_against_batch_norm
from dpuflow.engines.evaluate import evaluate
from dpuflow.errors import QuantizeError
from dpuflow.ir.graph import Array, Graph
from dpuflow.quant.calibrate import check_batch

FEW_IMAGES = 100
MOST_IMAGES = 20000  # of a larger set the rest is not looked at
SAMPLE = 128  # images that the float network is run on
ONE_ANSWER = 0.95  # share of images with the same class that is suspicious
CONSTANT = 1e-6


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: ``code`` for programs, the rest for people."""

    code: str
    message: str
    remedy: str
    value: float

    def __str__(self) -> str:
        return f"calibration, {self.code}: {self.message}. Remedy: {self.remedy}"

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


@dataclass
class _Seen:
    """What one pass over the batches counts; nothing grows with the images but 8 bytes for each."""

    images: int = 0
    constant: int = 0
    duplicates: int = 0
    whole_numbers: bool = True
    low: float = float("inf")
    high: float = float("-inf")
    digests: set[bytes] = field(default_factory=set)
    sample: list[Batch] = field(default_factory=list)

    def add(self, arrays: Mapping[str, Array]) -> None:
        """Look at one batch."""
        count = min(len(array) for array in arrays.values())
        if sum(len(next(iter(batch.values()))) for batch in self.sample) < SAMPLE:
            self.sample.append({name: array[:SAMPLE] for name, array in arrays.items()})
        for array in arrays.values():
            self.low, self.high = min(self.low, float(array.min())), max(self.high, float(array.max()))
        first = next(iter(arrays.values()))
        self.whole_numbers = self.whole_numbers and bool((first[:8] == fixed.trunc(first[:8])).all())
        spread = np.ptp(first.reshape(len(first), -1), axis=1)
        self.constant += int(np.sum(spread <= CONSTANT))
        for index in range(count):
            self._digest(b"".join(np.ascontiguousarray(array[index]).tobytes() for array in arrays.values()))
        self.images += count

    def _digest(self, data: bytes) -> None:
        digest = hashlib.blake2b(data, digest_size=8).digest()
        self.duplicates += digest in self.digests
        self.digests.add(digest)


def lint(data: CalibrationSet, network: Graph, fake_class: int | None = None,
         names: tuple[str, ...] = ()) -> tuple[Finding, ...]:
    """All findings about the data for this float network; QuantizeError for batches that are none.

    ``fake_class`` is an output that is no class; ``names`` are the classes' names for messages.
    """
    seen = _Seen()
    placeholders = [node.name for node in network.inputs]
    for iteration, batch in enumerate(data):
        read = {name: array for name, array in batch.items() if name in placeholders} \
            if isinstance(batch, Mapping) else batch
        seen.add(check_batch(read, placeholders, iteration))
        if seen.images >= MOST_IMAGES:
            break
    if not seen.images:
        raise QuantizeError("no calibration data", where=data.description, remedy="give at least one batch of images")
    found = [*_count_findings(seen), *_repeat_findings(seen, data), *_network_findings(seen, network, fake_class),
             *_class_findings(seen, network, data, fake_class, names)]
    return tuple(found)


def _count_findings(seen: _Seen) -> list[Finding]:
    found = []
    if seen.images < FEW_IMAGES:
        found.append(Finding("few-images", f"{seen.images} images", f"give {FEW_IMAGES} to 1000 that look like those "
                             "the network will see", seen.images))
    if seen.constant:
        found.append(Finding("constant-images", f"{seen.constant} of {seen.images} images are of one colour",
                             "leave them out; look at the files they come from", seen.constant))
    if seen.duplicates > seen.images // 100:
        found.append(Finding("duplicates", f"{seen.duplicates} of {seen.images} images are there already",
                             "leave the copies out: they vote twice", seen.duplicates))
    return found


def _repeat_findings(seen: _Seen, data: CalibrationSet) -> list[Finding]:
    """A source that yields other images the second time makes every run another."""
    first, again = seen.sample[0], next(iter(data))
    same = all(np.array_equal(array, np.asarray(again[name], np.float32)[:SAMPLE]) for name, array in first.items())
    return [] if same else [Finding("not-repeatable", "asked twice, the source gives other images",
                                    "fix its random seed, so that the positions can be made again", 1.0)]


def _network_findings(seen: _Seen, network: Graph, fake_class: int | None) -> list[Finding]:
    """Scale and channel order, judged from what the network expects."""
    checked = check_against_batch_norm(network, seen.sample)
    if checked:
        return [Finding(problem.code, problem.message, problem.remedy, problem.value) for problem in checked]
    return [*_range_findings(seen), *_one_answer(seen, network, fake_class)] if checked is None else []


def _range_findings(seen: _Seen) -> list[Finding]:
    """What the values alone tell, where no batch normalisation does."""
    found = []
    if seen.whole_numbers and seen.low >= 0 and 32 < seen.high <= 255:
        found.append(Finding("scale", f"the values are whole numbers {seen.low:g}..{seen.high:g}: raw pixels",
                             "if the network was trained on 0..1, divide by 255 (--scale 0.00392157); it has no batch "
                             "normalisation that would tell", seen.high))
    elif 0 < max(abs(seen.low), abs(seen.high)) < 0.02:
        found.append(Finding("scale", f"no value is larger than {max(abs(seen.low), abs(seen.high)):.3g}",
                             "look for a division by 255 that is done twice", max(abs(seen.low), abs(seen.high))))
    return found


def _sample_scores(seen: _Seen, network: Graph, fake_class: int | None, flip: bool = False) -> Array | None:
    if len(network.outputs) != 1 or len(network.inputs) != 1:
        return None
    (name,) = (node.name for node in network.inputs)
    results = [evaluate(network, {name: batch[name][..., ::-1] if flip else batch[name]})[network.outputs[0]]
               for batch in seen.sample]
    joined = np.concatenate(results)
    return class_scores(joined, fake_class) if joined.reshape(len(joined), -1).shape[1] > 1 else None


def _one_answer(seen: _Seen, network: Graph, fake_class: int | None) -> list[Finding]:
    scores = _sample_scores(seen, network, fake_class)
    if scores is None or len(scores) < 32 or scores.shape[1] > 10000:
        return []
    share = float(np.bincount(scores.argmax(axis=1)).max()) / len(scores)
    if share < ONE_ANSWER:
        return []
    return [Finding("one-answer", f"the float network gives the same class for {share:.0%} of the images",
                    "the scale or the channels may be wrong, or the images are all of one class", share)]


def _class_findings(seen: _Seen, network: Graph, data: CalibrationSet, fake_class: int | None,
                    names: tuple[str, ...]) -> list[Finding]:
    """With labels: classes without an image, and answers that are worse than they should be."""
    if data.labels is None or data.labels.dtype.kind not in "iu":
        return []
    scores = _sample_scores(seen, network, fake_class)
    if scores is None:
        return []
    classes, labels = scores.shape[1], data.labels[:seen.images]
    missing = sorted(set(range(classes)) - set(labels.tolist()))
    found = []
    if missing and classes <= 10000:
        shown = ", ".join(names[index] if index < len(names) else str(index) for index in missing[:10])
        found.append(Finding("missing-classes", f"{len(missing)} of {classes} classes have no image: {shown}"
                             + (", ..." if len(missing) > 10 else ""), "add some of each", len(missing)))
    truth = labels[:len(scores)]
    right = float(np.mean(scores.argmax(axis=1) == truth))
    flipped = _sample_scores(seen, network, fake_class, flip=True) if network.inputs[0].shape[-1] == 3 else None
    if flipped is not None and float(np.mean(flipped.argmax(axis=1) == truth)) > right + 0.05:
        found.append(Finding("channel-order", "with the channels reversed the float network is right "
                             f"{float(np.mean(flipped.argmax(axis=1) == truth)):.0%} of the time, as given {right:.0%}",
                             "swap red and blue (--channel-order)", right))
    elif len(truth) >= 32 and right < 2 / classes + 0.02:
        found.append(Finding("accuracy", f"the float network is right on {right:.1%} of {len(truth)} labelled images, "
                             "no better than chance", "compare labels and preprocessing with those of the training",
                             right))
    return found
