"""Random views of captchas: moved, turned, sheared, crossed by another curve, with other contrast and noise.

A view comes with the place of each of its glyphs, known because the captcha's pitch is: the first
epochs of a training learn from these places, step by step, until the network is ready for CTC.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from captcha_config import CaptchaConfig

from dpuedge.image import to_input
from dpuflow.data.captcha import HEIGHT, WIDTH
from dpuflow.data.captcha_draw import curve_ink

# The look of the set: the first glyph begins at x = 22 or so, one follows another every 22 pixels.
TEXT_LEFT, TEXT_RIGHT = 22.0, 133.0
_STEP = 4.0  # pixels of one step of the network
_HALF = 6.0  # a glyph is heard of in the steps within this many pixels of its centre


def views(gray: Any, rng: np.random.Generator, config: CaptchaConfig) -> tuple[Any, Any]:
    """One random view of each picture, uint8 (N, 50, 200), and the glyphs' centres in it, float (N, L)."""
    warped, centres = np.empty_like(gray), np.empty((len(gray), config.length))
    plain = TEXT_LEFT + (np.arange(config.length) + 0.5) * (TEXT_RIGHT - TEXT_LEFT) / config.length
    for index, image in enumerate(gray):
        matrix = _matrix(rng, config)
        cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), dst=warped[index], flags=cv2.INTER_LINEAR,
                       borderMode=cv2.BORDER_REPLICATE)
        centres[index] = matrix[0, 0] * plain + matrix[0, 1] * HEIGHT / 2 + matrix[0, 2]
    return _toned(_crossed(warped, rng, config.curve_share), rng, config), centres


def _crossed(gray: Any, rng: np.random.Generator, share: float) -> Any:
    """A second curve with its hook through a share of the pictures: what it hides must be told from the rest."""
    for index in np.flatnonzero(rng.random(len(gray)) < share):
        gray[index] = (gray[index] * (1 - curve_ink(rng))).astype(np.uint8)
    return gray


def _matrix(rng: np.random.Generator, config: CaptchaConfig) -> Any:
    """From picture to view, about the picture's centre."""
    limit = np.deg2rad(config.rotation_degrees)
    angle, shear = rng.uniform(-limit, limit), rng.uniform(-config.shear, config.shear)
    zoom = np.exp(rng.uniform(-config.zoom, config.zoom, 2))
    shift = rng.uniform(-1, 1, 2) * (config.shift_x, config.shift_y)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[zoom[0], shear], [0, zoom[1]]])
    centre = np.array([WIDTH / 2, HEIGHT / 2])
    return np.column_stack([linear, centre + shift - linear @ centre])


def _toned(gray: Any, rng: np.random.Generator, config: CaptchaConfig) -> Any:
    """Another tone curve, contrast and noise; contrast alone is standardised away, but not with noise on it."""
    count = len(gray)
    curve = np.exp(rng.uniform(-config.contrast, config.contrast, (count, 1, 1))).astype(np.float32)
    scale = (1 - config.contrast * rng.random((count, 1, 1))).astype(np.float32)
    level = (config.noise * rng.random((count, 1, 1)) ** 2).astype(np.float32)
    values = np.power(gray.astype(np.float32) / np.float32(255), curve) * scale
    values += level * rng.standard_normal(gray.shape, dtype=np.float32)
    return np.clip(values * 255 + np.float32(0.5), 0, 255).astype(np.uint8)


def frame_targets(symbols: Any, centres: Any, steps: int, blank: int) -> Any:
    """What each step should say, int64 (N, steps): a glyph's symbol around its centre, else the blank."""
    at = (np.arange(steps) + 0.5) * _STEP
    near = np.abs(at[None, :, None] - centres[:, None, :])
    nearest = near.argmin(axis=2)
    chosen = np.take_along_axis(symbols, nearest, axis=1)
    return np.where(near.min(axis=2) <= _HALF, chosen, blank)


class Source:
    """Batches of views; a batch depends on the seed and its number alone."""

    def __init__(self, gray: Any, symbols: Any, spec: Any, config: CaptchaConfig, steps: int) -> None:
        self.gray, self.symbols, self.spec, self.config, self.steps = gray, symbols, spec, config, steps
        self.per_epoch = -(-len(gray) // config.batch)

    def batch(self, number: int) -> tuple[Any, Any, Any]:
        """Inputs float32 (B, 200, 50, 1), symbols (B, L) and what each step should say (B, steps)."""
        epoch, part = divmod(number, self.per_epoch)
        order = np.random.default_rng([self.config.seed, epoch]).permutation(len(self.gray))
        chosen = np.take(order, np.arange(part * self.config.batch, (part + 1) * self.config.batch), mode="wrap")
        rng = np.random.default_rng([self.config.seed, number, 1])
        gray, centres = views(self.gray[chosen], rng, self.config)
        symbols = self.symbols[chosen]
        targets = frame_targets(symbols, centres, self.steps, self.config.alphabet.blank)
        return np.ascontiguousarray(to_input(gray, self.spec)), symbols, targets
