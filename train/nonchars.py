"""Pictures that show no character, for the report on P(real): none of them is ever trained on."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from dpuedge.image import resize
from dpuflow.data.pictures import Pictures

SIDE = 32
EACH = 100


def nonchar_pictures(pictures: Pictures, generated: Any, seed: int) -> tuple[Any, Any]:
    """Gray uint8 (N, 32, 32) and the kind of each: noise, textures, lines, halves of characters, generated."""
    rng = np.random.default_rng([seed, 3])
    makers = {"noise": _noise, "texture": _texture, "lines": _lines, "blobs": _blobs}
    found = [(name, make(rng)) for name, make in makers.items() for _ in range(EACH)]
    found += [("halves", _halves(pictures, rng)) for _ in range(EACH if len(pictures) else 0)]
    found += [("generated", picture) for picture in generated]
    return np.stack([picture for _, picture in found]), np.array([name for name, _ in found])


def _noise(rng: np.random.Generator) -> Any:
    return rng.integers(0, 256, (SIDE, SIDE)).astype(np.uint8)


def _texture(rng: np.random.Generator) -> Any:
    """Noise blurred to a random grain."""
    rough = rng.standard_normal((SIDE, SIDE)).astype(np.float32)
    return _stretched(cv2.GaussianBlur(rough, (0, 0), rng.uniform(0.7, 5)))


def _lines(rng: np.random.Generator) -> Any:
    """Parallel stripes of any direction and width, as fences and walls have."""
    y, x = np.mgrid[:SIDE, :SIDE]
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 16)
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period + rng.uniform(0, 6))
    return _stretched(np.where(wave > rng.uniform(-0.5, 0.5), 1.0, 0.0) if rng.random() < 0.5 else wave)


def _blobs(rng: np.random.Generator) -> Any:
    """A few ellipses on a plain ground."""
    canvas = np.full((SIDE, SIDE), int(rng.integers(0, 256)), np.uint8)
    for _ in range(int(rng.integers(1, 6))):
        centre, axes = rng.integers(0, SIDE, 2).tolist(), rng.integers(2, 12, 2).tolist()
        cv2.ellipse(canvas, centre, axes, float(rng.uniform(0, 180)), 0, 360, int(rng.integers(0, 256)), cv2.FILLED)
    return canvas


def _halves(pictures: Pictures, rng: np.random.Generator) -> Any:
    """The right half of one character beside the left half of another: a crop between two letters."""
    left, right = (resize(pictures.images[int(rng.integers(len(pictures)))], SIDE, SIDE) for _ in range(2))
    return np.concatenate([left[:, SIDE // 2:], right[:, :SIDE // 2]], axis=1)


def _stretched(values: Any) -> Any:
    low, high = values.min(), values.max()
    return ((values - low) * (255 / max(high - low, 1e-6)) + 0.5).astype(np.uint8)
