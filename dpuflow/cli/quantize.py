"""``dpuflow quantize``: a float network and pictures to the two graphs that the vendor's tools read."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dpuflow import __version__
from dpuflow.analysis.layers import find_layers
from dpuflow.analysis.record import FORMAT, NOTE, VERSION, accuracy_json, analyse, analysis_json, finding_list
from dpuflow.analysis.shifts import illegal_shifts
from dpuflow.analysis.simulation import ALL, Simulation
from dpuflow.analysis.text import quantization_text
from dpuflow.analysis.what_if import Widths, all_what_ifs, parse_widths
from dpuflow.calibration.accuracy import Measure, counted, float_runner, load_measure, quantized_runner
from dpuflow.calibration.batches import Batch, CalibrationSet, affordable_batch
from dpuflow.calibration.context import Context, choose_preprocess, read_context
from dpuflow.calibration.linter import Finding, lint
from dpuflow.calibration.preprocess import FITS, ORDERS
from dpuflow.calibration.sources import Reading, open_calibration
from dpuflow.cli import backend
from dpuflow.cli.common import names
from dpuflow.cli.decent_q import DEPLOY_FILE, EVALUATION_FILE
from dpuflow.cli.quantize_vendor import refuse_other_options, run_vendor
from dpuflow.errors import ConfigError, QuantizeError
from dpuflow.files import atomic_path
from dpuflow.formats.float_source import read_network
from dpuflow.formats.graphdef import TFGraph, serialize_graphdef
from dpuflow.formats.tf_import import import_tf
from dpuflow.quant.config import QuantizeConfig, parse_shapes
from dpuflow.quant.fixed_table import import_quantized, is_quantized, quantize_by_table
from dpuflow.quant.job import QuantizeJob
from dpuflow.quant.network import find_config
from dpuflow.quant.positions import apply_positions, positions_table, read_positions
from dpuflow.quant.quantizer import Quantized
from dpuflow.quant.recipes import find_recipe
from dpuflow.recipe.record import trials_json

POSITIONS_FILE, SEARCH_FOLDER = "positions.json", ".search"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """The command's options."""
    parser = commands.add_parser(
        "quantize", help="quantize a float network, say what each layer costs, repair it",
        description="Quantize a float network to 8-bit fixed point. Writes quantize_eval_model.pb, deploy_model.pb "
                    "and positions.json. Results are simulated or emulated; nothing runs on hardware.")
    add = parser.add_argument
    add("graph", metavar="GRAPH", help="frozen .pb, .onnx, .keras, .h5 or a SavedModel folder")
    add("--calibration", metavar="SOURCE",
        help="folder of pictures, .npz/.npy file (NHWC, as the network takes it), or module.function (input_fn)")
    add("-o", "--output", required=True, type=Path, metavar="DIR", help="folder to write to")
    add("--recipe", default=None, metavar="NAME",
        help="vendor: decent_q's exact rule; default: with cheap repairs; auto: search by measured accuracy")
    add("--max-drop", type=float, metavar="P", help="auto: stop when at most P percentage points are lost")
    add("--evaluate", metavar="MEASURE",
        help="module.function(run) -> accuracy 0..1, or an .npz with images and labels (top-1); "
             "it is used to choose, so never give the test set")
    add("--positions", type=Path, metavar="FILE.json", help="fix these tensors' positions (all or some)")
    add("--report", type=Path, metavar="OUT.html", help="page: tensors, what each layer costs, remedies")
    add("--json", type=Path, metavar="OUT.json", help="the same as JSON")
    add("--what-if", action="append", default=[], metavar="WIDTHS",
        help="simulate other widths, as weights=4,activations=8,conv3=6; not runnable on the DPU; repeatable")
    add("--report-images", type=int, metavar="N",
        help="images that --report and --json measure on (default: 256, fewer for large networks)")
    add("--strict", action="store_true", help="warnings about the calibration data are errors")
    add("--seed", type=int, default=0, help="of recipes that draw at random")
    _add_network_flags(parser)
    _add_reading_flags(parser)
    backend.add_flags(parser)
    return parser


def _add_network_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("network (default: found in the graph)")
    group.add_argument("--input-nodes", default="", metavar="NAMES", help="comma list")
    group.add_argument("--output-nodes", default="", metavar="NAMES", help="comma list")
    group.add_argument("--input-shapes", default="", metavar="SHAPES", help="?,32,32,3; several separated by ':'")
    group.add_argument("--ignore-nodes", default="", metavar="NAMES", help="nodes to leave in float")
    group.add_argument("--method", type=int, default=1, choices=(0, 1, 2), help="the vendor's, see decent_q")


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _add_reading_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("pictures and batches")
    group.add_argument("--manifest", type=Path, metavar="FILE", help="JSON with the preprocessing (default: the "
                       "manifest.json beside GRAPH)")
    group.add_argument("--mean", type=_numbers, metavar="M[,M,M]", help="subtracted from pixels 0..255")
    group.add_argument("--scale", type=_numbers, metavar="S[,S,S]", help="multiplied afterwards, as 0.0078125")
    group.add_argument("--channel-order", choices=ORDERS, help="of the network's input")
    group.add_argument("--fit", choices=FITS, help="how pictures get the network's size")
    group.add_argument("--batch", type=int, help="images in a batch (default 128, fewer for large feature maps)")
    group.add_argument("--calib-iter", type=int, default=10, help="batches of a module.function (default 10)")
    group.add_argument("--max-images", type=int, metavar="N", help="calibrate with at most N images (default: all)")


def _config(options: argparse.Namespace, graph: TFGraph) -> QuantizeConfig:
    shapes = parse_shapes(options.input_shapes) if options.input_shapes else ()
    return find_config(graph, names(options.input_nodes), names(options.output_nodes), shapes,
                       calib_iter=options.calib_iter, method=options.method,
                       ignore_nodes=names(options.ignore_nodes))


def _say(line: str) -> None:
    print(line, flush=True)


def _warn(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr, flush=True)


def _calibration(options: argparse.Namespace, config: QuantizeConfig, context: Context) -> CalibrationSet:
    """The calibration batches, the assumptions of reading them said aloud."""
    flags = (options.mean, options.scale, options.channel_order, options.fit)
    pictures = Path(options.calibration).is_dir() or any(flag is not None for flag in flags) or options.manifest
    preprocess, assumed = choose_preprocess(config.shapes, context, *flags) if pictures else (None, "")
    reading = Reading(options.batch, options.calib_iter, options.max_images, preprocess)
    data = open_calibration(options.calibration, config.shapes, reading)
    if assumed:
        _warn(f"the preprocessing of pictures is assumed: {assumed}; say it with --mean, --scale, --channel-order or "
              "--manifest")
    return data


def _with_progress(data: CalibrationSet, options: argparse.Namespace) -> CalibrationSet:
    def batches() -> Iterator[Batch]:
        from tqdm import tqdm

        total = None if data.images is None else -(-data.images // options.batch)
        return iter(tqdm(data.open(), total=total, unit="batch", disable=not sys.stderr.isatty(), leave=False))

    return replace(data, open=batches)


@dataclass(frozen=True)
class _Task:
    """What the options mean, once the network is read."""

    options: argparse.Namespace
    graph: TFGraph
    config: QuantizeConfig
    context: Context
    data: CalibrationSet | None
    findings: tuple[Finding, ...]
    measure: Measure | None
    widths: tuple[Widths, ...]


def _task(options: argparse.Namespace) -> _Task:
    """Everything that can be wrong with the options is found here, before anything is computed."""
    widths = tuple(parse_widths(text) for text in options.what_if)
    shapes = parse_shapes(options.input_shapes) if options.input_shapes else ()
    graph = read_network(options.graph, shapes)
    is_quantized(graph)  # refuses a deploy graph before its nodes confuse anybody
    config = _config(options, graph)
    context = read_context(Path(options.graph), options.manifest)
    if options.batch is None:
        options.batch = affordable_batch(import_tf(graph, config.output_nodes, config.shapes))
    measure = load_measure(options.evaluate, config, options.batch, context.fake_class) if options.evaluate else None
    if options.max_drop is not None and measure is None:
        raise ConfigError("a limit for the loss needs a measure", where="--max-drop", remedy="give --evaluate")
    if options.calibration is None:
        return _Task(options, graph, config, context, None, (), measure, widths)
    data = _calibration(options, config, context)
    return _Task(options, graph, config, context, data, _lint(options, graph, config, context, data), measure, widths)


def _lint(options: argparse.Namespace, graph: TFGraph, config: QuantizeConfig, context: Context,
          data: CalibrationSet) -> tuple[Finding, ...]:
    network = import_tf(graph, config.output_nodes, config.shapes)
    findings = lint(data, network, context.fake_class, context.labels)
    if findings and options.strict:
        raise QuantizeError("; ".join(f"{found.code}: {found.message}" for found in findings),
                            where=data.description, remedy="; ".join(found.remedy for found in findings))
    for found in findings:
        _warn(str(found))
    return findings


def _quantized(task: _Task) -> tuple[Quantized, str, float | None]:
    """The result, the recipe that made it, and the float network's accuracy."""
    options, config = task.options, task.config
    table = read_positions(options.positions) if options.positions else {}
    if is_quantized(task.graph):
        given = import_quantized(task.graph, config)
        accuracy = task.measure(Simulation(given.evaluation, config).runner(ALL)) if task.measure else None
        changed = apply_positions(given, table, config, options.positions) if table else given
        return changed, "the file's own positions", accuracy
    if task.data is None:
        return quantize_by_table(task.graph, config, table, options.positions), "the table's positions", None
    recipe, name = find_recipe(options.recipe)
    float_accuracy, images, evaluate = None, None, None
    if task.measure is not None:
        measure = task.measure
        float_accuracy, images = counted(measure, float_runner(task.graph, config))
        evaluate = lambda result: measure(quantized_runner(result, config))  # noqa: E731
    job = QuantizeJob(task.graph, config, _with_progress(task.data, options), evaluate, options.max_drop,
                      options.output / SEARCH_FOLDER, options.seed, float_accuracy, images)
    result = recipe(job)
    if table:
        result = apply_positions(result, table, config, options.positions)
    return result, name, float_accuracy


def _record(task: _Task, result: Quantized, recipe: str, float_accuracy: float | None) -> dict[str, Any]:
    options, config = task.options, task.config
    accuracy = task.measure(quantized_runner(result, config)) if task.measure else None
    record: dict[str, Any] = {
        "format": FORMAT, "version": VERSION, "dpuflow": __version__, "note": NOTE, "recipe": recipe,
        "network": {"file": str(options.graph), "inputs": list(config.input_nodes),
                    "outputs": list(config.output_nodes), "shapes": [list(shape) for shape in config.input_shapes]},
        "calibration": {"source": task.data.description, "images": task.data.images,
                        "notes": list(task.data.notes)} if task.data else None,
        "findings": finding_list(task.findings),
        "accuracy": accuracy_json(float_accuracy, accuracy, options.evaluate),
        "search": trials_json(options.output / SEARCH_FOLDER) if recipe == "auto" else None,
        "illegal_shifts": _illegal(task, result), "positions": positions_table(result.evaluation)["tensors"],
    }
    if task.data is not None and (options.report or options.json or task.widths):
        analysis = analyse(result, config, task.data, options.report_images, task.measure, _observe)
        record |= analysis_json(analysis, task.measure is not None)
        record["what_if"] = [outcome.as_json() for outcome in all_what_ifs(
            task.graph, config, task.widths, task.data, analysis.batches, task.measure)]
    return record


def _observe(what: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\rmeasuring {what}: {done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _illegal(task: _Task, result: Quantized) -> list[str]:
    lines = illegal_shifts(result.evaluation, find_layers(result.evaluation), result.positions)
    for line in lines:
        _warn(f"the compiler will refuse this layer: {line}")
    return lines


def _write(task: _Task, result: Quantized, record: Mapping[str, Any]) -> list[Path]:
    """Every file under a temporary name first; renamed when all are there."""
    options = task.options
    texts = {options.output / POSITIONS_FILE: json.dumps(positions_table(result.evaluation), indent=1) + "\n"}
    if options.json:
        texts[options.json] = json.dumps(record, indent=1) + "\n"
    if options.report:
        from dpuflow.report.quantization import render_quantization

        texts[options.report] = render_quantization(record)
    contents = {options.output / EVALUATION_FILE: serialize_graphdef(result.evaluation),
                options.output / DEPLOY_FILE: serialize_graphdef(result.deploy),
                **{path: text.encode("utf-8") for path, text in texts.items()}}
    with ExitStack() as stack:
        for path, data in contents.items():
            stack.enter_context(atomic_path(path)).write_bytes(data)
    return list(contents)


def run(options: argparse.Namespace) -> None:
    """Quantize, say what it cost, write the files; with ``--backend vendor`` plan or run the vendor's quantizer."""
    if options.backend == "vendor":
        refuse_other_options(options)
    task = _task(options)
    if options.backend == "vendor":
        assert task.data is not None
        run_vendor(options, task.graph, task.config, task.data)
        return
    if task.data is not None:
        size = (f"{task.data.images} images in batches of {options.batch}" if task.data.images
                else f"{options.calib_iter} batches")
        _say(f"quantizing {options.graph} with {size} of {task.data.description}")
        for note in task.data.notes:
            _say(f"  {note}")
    result, recipe, float_accuracy = _quantized(task)
    record = _record(task, result, recipe, float_accuracy)
    written = _write(task, result, record)
    _say(quantization_text(record))
    for path in written:
        _say(f"wrote {path}")
