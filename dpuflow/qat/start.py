"""From a Keras model, a file or a frozen graph to a network that can be trained quantized."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from dpuflow.api import Calibration, calibration_batches
from dpuflow.errors import QuantizeError
from dpuflow.formats.graphdef import TFGraph
from dpuflow.formats.keras_freeze import freeze_model
from dpuflow.model import Model, load
from dpuflow.qat.network import QuantizedNetwork
from dpuflow.quant.job import QuantizeJob
from dpuflow.quant.network import find_config
from dpuflow.recipe.draft import draft_of
from dpuflow.recipe.equalise import equalise as equalised
from dpuflow.recipe.plan import sample_of


def _graph(model: Any) -> TFGraph:
    if isinstance(model, TFGraph):
        return model
    if isinstance(model, keras.Model):
        return freeze_model(model)
    opened = model if isinstance(model, Model) else load(Path(model))
    if opened.tf is None or opened.quantized:
        raise QuantizeError("not a float network", where=opened.source, got=opened.kind, expected="a Keras model, "
                            "a frozen float graph or an ONNX file")
    return opened.tf


def start_network(model: Any, calibration: Calibration, equalise: bool, options: Mapping[str, Any]) -> QuantizedNetwork:
    """See :func:`dpuflow.qat.quantization_aware`."""
    graph = _graph(model)
    config = find_config(graph, **options)
    job = QuantizeJob(graph, config, calibration_batches(calibration, config.shapes))
    draft = draft_of(job)
    if equalise:
        draft = equalised(draft, sample_of(job).fit)
    return QuantizedNetwork(draft.calibrated(job.batches))
