"""What the file beside a network says about its pictures: the manifest of a stage or of a compiled model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpuflow.calibration.preprocess import GrayPreprocess, PixelPreprocess, Preprocess
from dpuflow.errors import ConfigError, FormatError
from dpuflow.ir.graph import Shape

ASSUMED_GRAY = {"fit": "stretch", "normalize": "standardize", "clip": [-4.0, 3.96875]}
ASSUMED_MEAN, ASSUMED_SCALE = 127.5, 1 / 128


@dataclass(frozen=True)
class Context:
    """Preprocessing, class names and the class that is no answer, as far as they are known."""

    source: str = ""
    preprocessing: Mapping[str, Any] | None = None
    labels: tuple[str, ...] = ()
    fake_class: int | None = None


def read_context(network: Path, manifest: Path | None) -> Context:
    """The given manifest, or the one in the network's folder if it is about a network; FormatError if damaged."""
    path = manifest or network.parent / "manifest.json"
    if manifest is None and not path.is_file():
        return Context()
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        info = read.get("info", read) if "preprocessing" not in read else read
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        if manifest is None:
            return Context()
        raise FormatError(f"not a manifest ({error})", where=path, expected="JSON with a preprocessing") from None
    spec = info.get("preprocessing") if isinstance(info, dict) else None
    if not isinstance(spec, dict):
        if manifest is None:
            return Context()
        raise FormatError("the manifest holds no preprocessing", where=path)
    fake = info.get("fake_class")
    return Context(str(path), spec, tuple(map(str, info.get("labels", ()))), fake if isinstance(fake, int) else None)


def choose_preprocess(shapes: Mapping[str, Shape], context: Context, mean: Sequence[float] | None,
                      scale: Sequence[float] | None, order: str | None, fit: str | None) -> tuple[Preprocess, str]:
    """The preprocessing of pictures and the assumption made, if any, in words.

    Flags win, then the manifest; else it is assumed: standardised gray for one channel,
    (pixel - 127.5) / 128 in RGB for three.
    """
    if len(shapes) != 1 or len(next(iter(shapes.values()))) != 4:
        raise ConfigError("pictures serve a network with one NHWC input", got=", ".join(shapes))
    _, height, width, channels = next(iter(shapes.values()))
    flagged = [flag for flag in (mean, scale, order, fit) if flag is not None]
    if not flagged and context.preprocessing is not None:
        return GrayPreprocess(context.preprocessing), ""
    if not flagged and channels == 1:
        from dpuedge.image import DEFAULT_SPEC

        spec = {**DEFAULT_SPEC, **ASSUMED_GRAY, "height": height, "width": width}
        return GrayPreprocess(spec), "gray pictures, each standardised (mean 0, deviation 1)"
    made = PixelPreprocess(height, width, channels, tuple(mean if mean is not None else (0.0,)),
                           tuple(scale if scale is not None else (1.0,)), order or "rgb", fit or "stretch")
    if flagged:
        return made, ""
    made = PixelPreprocess(height, width, channels, (ASSUMED_MEAN,), (ASSUMED_SCALE,))
    return made, f"{made}"
