"""The library in four functions: load, quantize, compile, run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dpuflow.compiler.compiled import Compiled
from dpuflow.engines import open_engine
from dpuflow.errors import GraphError, QuantizeError
from dpuflow.ir.graph import Array, Shape
from dpuflow.model import Model, load, model_from_tf
from dpuflow.ops.custom import CustomFunction
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.quantizer import Quantized

if TYPE_CHECKING:
    from dpuflow.calibration import CalibrationSet
    from dpuflow.calibration.accuracy import Runner

Calibration = (Array | Mapping[str, Array] | Iterable[Mapping[str, Array]] | Callable[[int], Mapping[str, Any]]
               | Path | str)


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


def calibration_batches(calibration: Calibration, shapes: Mapping[str, Shape], batch: int = 128,
                        iterations: int = 10) -> CalibrationSet:
    """The batches as a set that can be run through again."""
    from dpuflow.calibration import CalibrationSet, Reading, open_calibration

    if isinstance(calibration, (str, Path)):
        return open_calibration(calibration, shapes, Reading(batch, iterations))
    if isinstance(calibration, np.ndarray):
        calibration = {next(iter(shapes)): calibration}
    if isinstance(calibration, Mapping):
        arrays = calibration
        count = min((len(array) for array in arrays.values()), default=0)
        return CalibrationSet("arrays", lambda: (
            {name: array[at:at + batch] for name, array in arrays.items()} for at in range(0, count, batch)), count)
    if callable(calibration):
        function = calibration
        return CalibrationSet("input_fn", lambda: (function(index) for index in range(iterations)))
    iterable = calibration
    return CalibrationSet("batches", lambda: iter(iterable))


def quantize(model: Model | Path | str, calibration: Calibration, *, input_nodes: Sequence[str] | None = None,
             output_nodes: Sequence[str] | None = None, batch: int = 128, calib_iter: int = 10,
             recipe: str = "vendor", evaluate: Callable[[Runner], float] | None = None,
             max_drop: float | None = None, folder: Path | str = ".", positions: Mapping[str, int] | None = None,
             **options: Any) -> QuantizedModel:
    """Quantize a frozen float network, by the vendor's rule unless another recipe is named.

    ``calibration``: images (N, H, W, C) float32 as the network takes them, a dict of such arrays,
    an iterable of batches (a list for recipes that read it more than once), an ``input_fn(iter)``,
    or the path of a folder or array file as for the command. Inputs and outputs default to the
    graph's own. ``evaluate(run)`` gives an accuracy 0..1 for recipes that search, ``max_drop`` their
    limit in percentage points, ``folder`` the place of their state. ``positions`` fixes tensors by
    name. Further options are those of ``QuantizeConfig``. Raises QuantizeError for data that cannot
    calibrate, ConfigError for an unknown recipe, GraphError or UnsupportedOp naming the node.
    """
    from dpuflow.calibration.accuracy import counted, float_runner, quantized_runner
    from dpuflow.quant.job import QuantizeJob
    from dpuflow.quant.positions import apply_positions
    from dpuflow.quant.recipes import find_recipe

    model = model if isinstance(model, Model) else load(model)
    if model.tf is None or model.quantized:
        raise QuantizeError("not a float network", where=model.source, got=model.kind, expected="a frozen float graph")
    inputs = tuple(input_nodes or (node.name for node in model.graph.inputs))
    outputs = tuple(output_nodes or model.graph.outputs)
    shapes = tuple(model.graph.node(name).shape for name in inputs)
    config = QuantizeConfig(inputs, outputs, shapes, calib_iter=calib_iter, **options)
    measured = None if evaluate is None else (lambda result: evaluate(quantized_runner(result, config)))
    batches = calibration_batches(calibration, config.shapes, batch, calib_iter)
    exact, images = counted(evaluate, float_runner(model.tf, config)) if evaluate else (None, None)
    job = QuantizeJob(model.tf, config, batches, measured, max_drop, Path(folder), 0, exact, images)
    result = find_recipe(recipe)[0](job)
    if positions:
        result = apply_positions(result, positions, config, "positions")
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
        custom: Mapping[str, CustomFunction] | None = None, target: str | None = None,
        bias_mode: str = "exact", threads: int | None = None) -> dict[str, Array]:
    """Emulate a quantized or compiled network: arrays by output (or tensor) name, float32.

    ``images``: (N, H, W, C) float32 in the network's own scale, or int8. Bit-exact with every
    engine. A frozen float network runs in float32. ``custom``: functions for a file's custom
    operators by type, each ``function(operands, attrs) -> array``. ``target``: refuse a file that
    was compiled for another core. ``bias_mode``: "exact" or "prerounded", ``threads``: both as
    in ``open_engine``.
    """
    opened = load(model, custom) if isinstance(model, (str, Path)) else model
    if isinstance(opened, QuantizedModel):
        opened = opened.model
    if target is not None and isinstance(opened, Model):
        _require_core(opened, target)
    if isinstance(opened, Model) and not opened.quantized:
        return _run_float(opened, images, tensors)
    return open_engine(opened.graph, engine, bias_mode=bias_mode, threads=threads).run(images, tensors, int8)


def _require_core(model: Model, target: str) -> None:
    from dpuflow.target.made_for import require_core
    from dpuflow.target.select import find_target

    require_core(model, find_target(target))


def _run_float(model: Model, images: Array | Mapping[str, Array], tensors: Iterable[str] | None) -> dict[str, Array]:
    from dpuflow.engines.evaluate import evaluate

    inputs = images if isinstance(images, Mapping) else {model.graph.inputs[0].name: images}
    return evaluate(model.graph, {name: np.asarray(x, np.float32) for name, x in inputs.items()}, tensors)
