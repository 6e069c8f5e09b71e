"""The library in four functions: load, quantize, compile, run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dpuflow.compiler.compiled import Compiled
from dpuflow.engines import open_engine
from dpuflow.errors import GraphError, QuantizeError
from dpuflow.ir.graph import Array
from dpuflow.model import Model, load, model_from_tf
from dpuflow.ops.custom import CustomFunction
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.quantizer import Quantized, quantize_graph

Calibration = Array | Mapping[str, Array] | Iterable[Mapping[str, Array]] | Callable[[int], Mapping[str, Any]]


@dataclass(frozen=True)
class QuantizedModel:
    """A quantized network: the vendor's two graphs, and the network ready to emulate."""

    result: Quantized
    model: Model

    def save(self, folder: Path | str) -> None:
        """Write ``quantize_eval_model.pb`` and ``deploy_model.pb``."""
        from dpuflow.formats.graphdef import write_graphdef

        write_graphdef(self.result.evaluation, Path(folder) / "quantize_eval_model.pb")
        write_graphdef(self.result.deploy, Path(folder) / "deploy_model.pb")


def _batches(calibration: Calibration, inputs: Sequence[str], batch: int, iterations: int) -> Iterator[Any]:
    if callable(calibration):
        return (calibration(index) for index in range(iterations))
    if isinstance(calibration, np.ndarray):
        calibration = {inputs[0]: calibration}
    if isinstance(calibration, Mapping):
        arrays = calibration
        count = min((len(array) for array in arrays.values()), default=0)
        return ({name: array[at:at + batch] for name, array in arrays.items()} for at in range(0, count, batch))
    return iter(calibration)


def quantize(model: Model | Path | str, calibration: Calibration, *, input_nodes: Sequence[str] | None = None,
             output_nodes: Sequence[str] | None = None, batch: int = 128, calib_iter: int = 10,
             **options: Any) -> QuantizedModel:
    """Quantize a frozen float network by the vendor's rule.

    ``calibration``: images (N, H, W, C) float32 as the network takes them, a dict of such arrays,
    an iterable of batches, or an ``input_fn(iter)``. Inputs and outputs default to the graph's
    own. Further options are those of ``QuantizeConfig``. Raises QuantizeError for data that cannot
    calibrate, GraphError or UnsupportedOp naming the node.
    """
    model = model if isinstance(model, Model) else load(model)
    if model.tf is None or model.quantized:
        raise QuantizeError("not a float network", where=model.source, got=model.kind, expected="a frozen float graph")
    inputs = tuple(input_nodes or (node.name for node in model.graph.inputs))
    outputs = tuple(output_nodes or model.graph.outputs)
    shapes = tuple(model.graph.node(name).shape for name in inputs)
    config = QuantizeConfig(inputs, outputs, shapes, calib_iter=calib_iter, **options)
    result = quantize_graph(model.tf, config, _batches(calibration, inputs, batch, calib_iter))
    return QuantizedModel(result, model_from_tf(result.evaluation, model.graph.name, config.shapes))


def compile(model: Model | QuantizedModel | Path | str, target: str = "zedboard",  # the stage's name
            name: str | None = None) -> Compiled:
    """Compile a quantized network for a core; CompileError or GraphError naming the layer."""
    from dpuflow.compiler.driver import compile_graph
    from dpuflow.target.select import find_target

    opened = model.model if isinstance(model, QuantizedModel) else model if isinstance(model, Model) else load(model)
    if not opened.quantized:
        raise GraphError("the network is not quantized", where=opened.source, got=opened.kind,
                         remedy="quantize it first")
    return compile_graph(opened.graph, find_target(target), name or opened.graph.name)


def run(model: Model | QuantizedModel | Compiled | Path | str, images: Array | Mapping[str, Array], *,
        engine: str = "fast", tensors: Iterable[str] | None = None, int8: bool = False,
        custom: Mapping[str, CustomFunction] | None = None, target: str | None = None) -> dict[str, Array]:
    """Emulate a quantized or compiled network: arrays by output (or tensor) name, float32.

    ``images``: (N, H, W, C) float32 in the network's own scale, or int8. Bit-exact with every
    engine. A frozen float network runs in float32. ``custom``: functions for a file's custom
    operators by type, each ``function(operands, attrs) -> array``. ``target``: refuse a file that
    was compiled for another core.
    """
    opened = load(model, custom) if isinstance(model, (str, Path)) else model
    if isinstance(opened, QuantizedModel):
        opened = opened.model
    if target is not None and isinstance(opened, Model):
        _require_core(opened, target)
    if isinstance(opened, Model) and not opened.quantized:
        return _run_float(opened, images, tensors)
    return open_engine(opened.graph, engine).run(images, tensors, int8)


def _require_core(model: Model, target: str) -> None:
    from dpuflow.target.made_for import require_core
    from dpuflow.target.select import find_target

    require_core(model, find_target(target))


def _run_float(model: Model, images: Array | Mapping[str, Array], tensors: Iterable[str] | None) -> dict[str, Array]:
    from dpuflow.engines.evaluate import evaluate

    inputs = images if isinstance(images, Mapping) else {model.graph.inputs[0].name: images}
    return evaluate(model.graph, {name: np.asarray(x, np.float32) for name, x in inputs.items()}, tensors)
