"""From a picture file to the network's input: the manifest's specification, or mean and scale by flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dpuflow.errors import ConfigError, DataError
from dpuflow.ir.graph import Array

FITS = ("stretch", "pad", "crop")
ORDERS = ("rgb", "bgr")


class Preprocess(Protocol):
    """Turns decoded pictures into inputs."""

    def read(self, path: Path) -> Array:
        """A picture file as float32 (H, W, C); ImageError or DataError if it is none."""

    def pixels(self, stack: Array) -> Array:
        """Uint8 pixels (N, H, W, C) as float32 in the network's scale."""

    def __str__(self) -> str:
        """What it does, in words."""


@dataclass(frozen=True)
class GrayPreprocess:
    """The preprocessing of ``dpuedge.image``: one specification for training, calibration and board."""

    spec: Mapping[str, Any]

    def read(self, path: Path) -> Array:
        """Decode, make gray, fit, normalise."""
        from dpuedge import image

        return np.asarray(image.preprocess(image.read_gray(str(path)), dict(self.spec)))

    def pixels(self, stack: Array) -> Array:
        """Gray pixels (N, H, W[, 1]) of any size."""
        from dpuedge import image

        grays = stack[..., 0] if stack.ndim == 4 and stack.shape[-1] == 1 else stack
        return np.asarray(image.preprocess_batch(list(grays), image.check_spec(dict(self.spec))))

    def __str__(self) -> str:
        return f"preprocessing {self.spec.get('id', 'of the manifest')}"


@dataclass(frozen=True)
class PixelPreprocess:
    """``(pixel - mean) * scale`` in the order of ``channel_order``, resized to the network's input.

    ``mean`` and ``scale`` hold one value or one per channel, in that order. ``fit``: stretch, crop
    (centre) or pad (with the mean).
    """

    height: int
    width: int
    channels: int
    mean: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    channel_order: str = "rgb"
    fit: str = "stretch"

    def __post_init__(self) -> None:
        for flag, values in (("--mean", self.mean), ("--scale", self.scale)):
            if len(values) not in (1, self.channels):
                raise ConfigError("one value, or one for each channel", where=flag, got=len(values),
                                  expected=f"1 or {self.channels}")
        if self.channels not in (1, 3):
            raise ConfigError("pictures have 1 or 3 channels, the network's input has others", got=self.channels,
                              remedy="calibrate with an array file or a module.function")
        if not all(np.isfinite((*self.mean, *self.scale))) or 0.0 in self.scale:
            raise ConfigError("means are finite, scales finite and not zero", where="--mean, --scale")

    def read(self, path: Path) -> Array:
        """Decode, fit, order the channels, subtract and scale."""
        return np.asarray(self.pixels(self._fitted(_decode(path, self.channels))[None])[0])

    def _fitted(self, image: Array) -> Array:
        import cv2

        target = self.width / self.height
        rows, columns = image.shape[:2]
        if self.fit == "crop":
            keep_w, keep_h = max(min(columns, round(rows * target)), 1), max(min(rows, round(columns / target)), 1)
            top, left = (rows - keep_h) // 2, (columns - keep_w) // 2
            image = image[top:top + keep_h, left:left + keep_w]
        elif self.fit == "pad":
            full_w, full_h = max(columns, round(rows * target)), max(rows, round(columns / target))
            top, left = (full_h - rows) // 2, (full_w - columns) // 2
            fill = [round(value) for value in np.broadcast_to(np.clip(self._in_file_order(self.mean), 0, 255),
                                                              self.channels)]
            image = cv2.copyMakeBorder(image, top, full_h - rows - top, left, full_w - columns - left,
                                       cv2.BORDER_CONSTANT, value=fill)
        shrinks = image.shape[0] > self.height or image.shape[1] > self.width
        resized = cv2.resize(image, (self.width, self.height),
                             interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        fitted: Array = resized.reshape(self.height, self.width, self.channels)
        return np.asarray(fitted[..., ::-1] if self.channel_order == "rgb" and self.channels == 3 else fitted)

    def _in_file_order(self, values: Sequence[float]) -> Sequence[float]:
        """OpenCV decodes blue, green, red."""
        return values[::-1] if self.channel_order == "rgb" else values

    def pixels(self, stack: Array) -> Array:
        """Pixels of the network's size, channels already in order."""
        values = stack.astype(np.float32) - np.asarray(self.mean, np.float32)
        return np.asarray(values * np.asarray(self.scale, np.float32))

    def __str__(self) -> str:
        mean, scale = (",".join(f"{value:g}" for value in values) for values in (self.mean, self.scale))
        order = f"{self.channel_order.upper()}, " if self.channels == 3 else ""
        return f"{order}{self.fit}, (pixel - {mean}) * {scale}"


def _decode(path: Path, channels: int) -> Array:
    """The picture as uint8 (H, W, 1 or 3), blue first; DataError or ImageError if it is none."""
    from dpuedge.gray import read_gray

    gray = read_gray(str(path))  # its checks find truncated files that decoders let pass
    if channels == 1:
        return np.asarray(gray)[..., None]
    import cv2

    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError("not a picture that OpenCV can read", where=path)
    return np.asarray(image)
