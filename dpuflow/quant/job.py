"""One task for the quantizer: what every recipe gets, whatever the command line or the API was given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dpuflow.formats.graphdef import TFGraph
from dpuflow.quant.calibrate import Batches
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.quantizer import Quantized

Evaluate = Callable[[Quantized], float]


@dataclass(frozen=True)
class QuantizeJob:
    """A float network, calibration batches and, where the user gave one, a measure of accuracy.

    ``batches`` may be run through any number of times (every ``iter()`` starts anew and yields the
    same batches in the same order); it streams, so a recipe must not keep them all. ``evaluate``
    gives the accuracy, 0..1, of a quantized network on the user's data for choosing, and
    ``float_accuracy`` that of the float network on the same data; both or neither. ``max_drop`` is
    the loss allowed between the two in percentage points (0.1 means 0.001 of ``evaluate``'s scale).
    ``evaluation_images`` is how many images ``evaluate`` looks at, where that is known: one of them is
    the smallest loss that it can see. ``folder`` is where a recipe may keep its state, so that an
    interrupted search continues.
    """

    graph: TFGraph
    config: QuantizeConfig
    batches: Batches
    evaluate: Evaluate | None = None
    max_drop: float | None = None
    folder: Path = Path()
    seed: int = 0
    float_accuracy: float | None = None
    evaluation_images: int | None = None


Recipe = Callable[[QuantizeJob], Quantized]
