"""Random views of gray pictures: what a camera, a pen or another font would have made of them.

Sources are uint8 (N, 64, 64), twice the side of the network's input, so that the one resampling
from source to view also filters. Everything is a function of the random generator handed in.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from train_config import TrainConfig

SIDE = 32
SOURCE_SIDE = 2 * SIDE
_KNOTS = 4  # the elastic field is a cubic-like blend of 4 x 4 random displacements

Gray = NDArray[np.uint8]
Floats = NDArray[np.float32]


def _knot_basis() -> Floats:
    """Smooth blending weights (SIDE, _KNOTS), each row adding up to one."""
    at = np.linspace(0, _KNOTS - 1, SIDE)[:, None]
    near = np.clip(1 - np.abs(at - np.arange(_KNOTS)[None, :]), 0, 1)
    return (near * near * (3 - 2 * near)).astype(np.float32)


_BASIS = _knot_basis()


def views(sources: Gray, rng: np.random.Generator, config: TrainConfig) -> Gray:
    """One random view of each source: uint8 (N, 32, 32)."""
    maps = _sampling_maps(len(sources), rng, config)
    warped = np.empty((len(sources), SIDE, SIDE), np.uint8)
    for source, where, out in zip(sources, maps, warped, strict=True):
        cv2.remap(source, where, None, cv2.INTER_LINEAR, dst=out, borderMode=cv2.BORDER_REPLICATE)
    return _photometric(warped, rng, config)


def _sampling_maps(count: int, rng: np.random.Generator, config: TrainConfig) -> Floats:
    """Where in its source each pixel of a view lies: float32 (N, 32, 32, 2), x before y."""
    matrix = _matrices(count, rng, config)
    line = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE - 0.5
    grid = np.stack(np.broadcast_arrays(line[None, :], line[:, None]), axis=-1)
    shift = rng.uniform(-config.shift, config.shift, (count, 1, 1, 2)).astype(np.float32)
    where = np.einsum("hwj,nij->nhwi", grid, matrix, optimize=True) + shift
    if config.elastic:
        knots = rng.normal(0, config.elastic, (count, _KNOTS, _KNOTS, 2)).astype(np.float32)
        where += np.einsum("hk,nklc,wl->nhwc", _BASIS, knots, _BASIS, optimize=True)
    return np.ascontiguousarray((where + 0.5) * SOURCE_SIDE - 0.5, dtype=np.float32)


def _matrices(count: int, rng: np.random.Generator, config: TrainConfig) -> Floats:
    """From view to source: rotation, shear, stretch of the sides against each other, zoom."""
    limit = np.deg2rad(config.rotation_degrees)
    angle, shear = rng.uniform(-limit, limit, count), rng.uniform(-config.shear, config.shear, count)
    zoom = np.exp(rng.uniform(np.log(config.zoom_low), np.log(config.zoom_high), count))
    stretch = np.exp(rng.uniform(-config.stretch, config.stretch, count))
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix = np.stack([cosine, shear * cosine - sine, sine, shear * sine + cosine], axis=1).reshape(count, 2, 2)
    sides = np.stack([stretch, 1 / stretch], axis=1)[:, None, :] / zoom[:, None, None]
    return (matrix * sides).astype(np.float32)


def _photometric(gray: Gray, rng: np.random.Generator, config: TrainConfig) -> Gray:
    """Polarity, curves, light, blur, resolution, noise and covered parts, each on a share of the views."""
    count = len(gray)
    for index in np.flatnonzero(rng.random(count) < config.degrade_share / 2):
        gray[index] = _blurred(gray[index], rng)
    for index in np.flatnonzero(rng.random(count) < config.degrade_share / 4):
        gray[index] = _stroke(gray[index], rng)
    values = gray.astype(np.float32) / np.float32(255)
    chosen = rng.random(count) < config.degrade_share
    values[chosen] = _relit(values[chosen], rng)
    inverted = rng.random(count) < config.invert_share
    values[inverted] = 1 - values[inverted]
    _cover(values, rng, config.cutout_share)
    noisy = np.flatnonzero(rng.random(count) < config.degrade_share / 2)
    spread = values[noisy].std(axis=(1, 2), keepdims=True) * rng.uniform(0.02, 0.25, (len(noisy), 1, 1))
    values[noisy] += (rng.standard_normal((len(noisy), SIDE, SIDE), dtype=np.float32) * spread).astype(np.float32)
    return np.clip(values * 255 + np.float32(0.5), 0, 255).astype(np.uint8)


def _blurred(image: Gray, rng: np.random.Generator) -> Gray:
    """Out of focus, or of a lower resolution."""
    if rng.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(image, (5, 5), rng.uniform(0.4, 1.4)), dtype=np.uint8)
    small = int(rng.integers(10, 24))
    reduced = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(reduced, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _stroke(image: Gray, rng: np.random.Generator) -> Gray:
    """Thicker or thinner strokes."""
    kernel = np.ones((2, 2) if rng.random() < 0.6 else (3, 3), np.uint8)
    change = cv2.erode if rng.random() < 0.5 else cv2.dilate
    return np.asarray(change(image, kernel), dtype=np.uint8)


def _relit(values: Floats, rng: np.random.Generator) -> Floats:
    """Another tone curve and a slope of light across the picture; contrast itself is standardised away."""
    count = len(values)
    gamma = np.exp(rng.uniform(-0.5, 0.5, (count, 1, 1))).astype(np.float32)
    slope = rng.normal(0, 0.25, (2, count, 1, 1)).astype(np.float32)
    line = np.linspace(-0.5, 0.5, SIDE, dtype=np.float32)
    contrast = rng.uniform(0.3, 1.0, (count, 1, 1)).astype(np.float32)
    light = slope[0] * line[None, :, None] + slope[1] * line[None, None, :]
    curved = np.power(values, gamma) * contrast + (1 - contrast) * rng.random((count, 1, 1), dtype=np.float32)
    return np.asarray(np.clip(curved + light * contrast, 0, 1), dtype=np.float32)


def _cover(values: Floats, rng: np.random.Generator, share: float) -> None:
    """Cover a rectangle of some views with one tone, as a neighbour or a shadow would."""
    chosen = np.flatnonzero(rng.random(len(values)) < share)
    sizes, places = rng.integers(3, 13, (len(chosen), 2)), rng.integers(-4, SIDE - 2, (len(chosen), 2))
    tones = rng.random(len(chosen), dtype=np.float32)
    for index, (high, wide), (top, left), tone in zip(chosen, sizes, places, tones, strict=True):
        values[index, max(top, 0):max(top + high, 0), max(left, 0):max(left + wide, 0)] = tone
