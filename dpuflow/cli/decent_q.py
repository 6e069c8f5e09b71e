"""``decent_q`` and ``vai_q_tensorflow``: the vendor's quantizer commands.

Commands, messages and environment: quantizer specification, sections 1 and 12.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dpuflow.cli.common import add_debug, names, run_command
from dpuflow.cli.decent_q_flags import add_flags, refuse_unsupported
from dpuflow.errors import ConfigError
from dpuflow.files import atomic_path
from dpuflow.formats.graphdef import TFGraph, read_graphdef, serialize_graphdef, write_graphdef
from dpuflow.quant.config import QuantizeConfig, parse_shapes

EVALUATION_FILE, DEPLOY_FILE = "quantize_eval_model.pb", "deploy_model.pb"
DEBUG_FOLDER = "decent_debug"


def _parser(prog: str) -> argparse.ArgumentParser:
    from dpuflow import __version__

    parser = argparse.ArgumentParser(prog=prog, description="Quantize a frozen TensorFlow graph to fixed point.",
                                     epilog="commands: " + "; ".join(f"{name}: {text}" for name, text in HELP.items()))
    parser.add_argument("--version", action="version", version=f"{prog} (dpuflow {__version__})")
    parser.add_argument("command", choices=tuple(_COMMANDS), metavar="COMMAND", help=", ".join(_COMMANDS))
    add_flags(parser)
    add_debug(parser)
    return parser


def _pairs(text: str, flag: str) -> tuple[tuple[str, int], ...]:
    pairs = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, separator, number = part.rpartition(":")
        if not separator or not number.lstrip("-").isdigit():
            raise ConfigError("not a list of name:number", where=f"--{flag}", got=part)
        pairs.append((name, int(number)))
    return tuple(pairs)


def _require(options: argparse.Namespace, flags: Sequence[str]) -> None:
    for flag in flags:
        if not getattr(options, flag):
            shown = "input_fn" if flag == "input_fn" else f"--{flag}"
            raise ConfigError(f"No {shown} assigned.", remedy=f"give --{flag}; see --help")


def _activation_rounding() -> str:
    """DPU_ACCURACY=0 rounds activations as weights, half away from zero."""
    return "half_away" if os.environ.get("DPU_ACCURACY", "1").strip() == "0" else "half_up"


def _check_architecture(options: argparse.Namespace) -> None:
    """ARCH_TYPE in the environment means the flag."""
    wanted = os.environ.get("ARCH_TYPE", "")
    refuse_unsupported({**vars(options), **({"arch_type": wanted} if wanted else {})})


def config_from(options: argparse.Namespace) -> QuantizeConfig:
    """The quantizer's configuration from the command's flags and environment."""
    return QuantizeConfig(
        names(options.input_nodes), names(options.output_nodes), parse_shapes(options.input_shapes),
        method=options.method, calib_iter=options.calib_iter, weight_bit=options.weight_bit,
        activation_bit=options.activation_bit, ignore_nodes=names(options.ignore_nodes),
        nodes_bit=_pairs(options.nodes_bit, "nodes_bit"), nodes_method=_pairs(options.nodes_method, "nodes_method"),
        skip_check=bool(options.skip_check), align_concat=options.align_concat, align_pool=options.align_pool,
        adjust_shift_bias=options.adjust_shift_bias, adjust_shift_cut=options.adjust_shift_cut,
        simulate_dpu=options.simulate_dpu, scale_all_avgpool=options.scale_all_avgpool,
        output_dir=options.output_dir, activation_rounding=_activation_rounding(), version=options.version_compat)


def _check_float(graph: TFGraph, config: QuantizeConfig, first: Mapping[str, Any]) -> None:
    from dpuflow.quant.quantizer import check_float_graph

    print("INFO: Checking Float Graph...", flush=True)
    check_float_graph(graph, config, first)
    print("INFO: Float Graph Check Done.", flush=True)


def _progress(batches: Iterator[Any], total: int) -> Iterator[Any]:
    from tqdm import tqdm

    return iter(tqdm(batches, total=total, unit="iter", disable=not sys.stderr.isatty(), leave=False))


def _observer(folder: Path) -> Callable[[str, TFGraph], None]:
    """With DECENT_DEBUG every stage becomes ``<output_dir>/decent_debug/<stage>.pb``."""
    level = os.environ.get("DECENT_DEBUG", "0").strip()
    debug = level.isdigit() and int(level) >= 1

    def observe(name: str, graph: TFGraph) -> None:
        if debug:
            write_graphdef(graph, folder / DEBUG_FOLDER / f"{name}.pb")

    return observe


def _write_results(folder: Path, evaluation: TFGraph, deploy: TFGraph | None) -> None:
    """Both graphs or neither; a release without a deploy graph removes an old one."""
    files = [(EVALUATION_FILE, evaluation), *([(DEPLOY_FILE, deploy)] if deploy else [])]
    if len(files) == 1:
        write_graphdef(evaluation, folder / EVALUATION_FILE)
        (folder / DEPLOY_FILE).unlink(missing_ok=True)
        return
    with atomic_path(folder / EVALUATION_FILE) as first, atomic_path(folder / DEPLOY_FILE) as second:
        for path, (_, graph) in zip((first, second), files, strict=True):
            path.write_bytes(serialize_graphdef(graph))


def _summary(folder: Path, deployed: bool) -> None:
    print("********************* Quantization Summary *********************")
    print("INFO: Output:")
    print(f"  quantize_eval_model: {folder / EVALUATION_FILE}")
    if deployed:
        print(f"  deploy_model: {folder / DEPLOY_FILE}")


def _create_train(options: argparse.Namespace) -> int:
    """``quantize --mode train``: the meta graph with FixNeurons that train."""
    from dpuflow.quant.checkpoint import read_meta_graph, write_meta_graph
    from dpuflow.quant.training_graph import training_graph, write_groups

    config, folder = config_from(options), Path(options.output_dir)
    graph, groups = training_graph(read_meta_graph(options.input_meta_graph), config)
    path = folder / "quantize_train" / "quantize_train.ckpt.meta"
    write_groups(folder, groups)
    write_meta_graph(graph, options.input_meta_graph, path)
    print(f"INFO: Quantize train graph are generated in: {path}")
    return 0


def _create_eval(options: argparse.Namespace) -> int:
    """``quantize --mode eval``: the same graph with the positions that training left."""
    from dpuflow.quant.checkpoint import read_meta_graph, write_meta_graph
    from dpuflow.quant.training_graph import evaluation_graph

    config, folder = config_from(options), Path(options.output_dir)
    graph = evaluation_graph(read_meta_graph(options.input_meta_graph), config, folder)
    path = folder / "quantize_eval" / "quantize_eval.ckpt.meta"
    write_meta_graph(graph, options.input_meta_graph, path)
    print(f"INFO: Quantize eval graph are generated in: {path}")
    return 0


_MODES = {"train": _create_train, "eval": _create_eval}


def quantize(options: argparse.Namespace) -> int:
    """The ``quantize`` command."""
    if options.mode in _MODES:
        _require(options, ("input_meta_graph", "input_nodes", "input_shapes", "output_nodes"))
        return _MODES[options.mode](options)
    return _quantize_frozen(options)


def _quantize_frozen(options: argparse.Namespace) -> int:
    from dpuflow.quant.input_fn import load_input_fn
    from dpuflow.quant.quantizer import quantize_graph, with_quantized_weights

    _require(options, ("input_frozen_graph", "input_nodes", "input_shapes", "output_nodes", "input_fn"))
    config = config_from(options)
    graph = read_graphdef(options.input_frozen_graph)
    input_fn = load_input_fn(options.input_fn)
    if not config.skip_check:
        _check_float(graph, config, input_fn(0))
    print(f"INFO: Calibrating for {config.calib_iter} iterations...", flush=True)
    batches = _progress((input_fn(index) for index in range(config.calib_iter)), config.calib_iter)
    folder = Path(options.output_dir)
    result = quantize_graph(graph, config, batches, _observer(folder))
    print("INFO: Calibration Done.", flush=True)
    deploys = config.release.deploys
    evaluation = result.evaluation if options.keep_float_weight else with_quantized_weights(result.evaluation)
    if deploys:
        print("INFO: Generating Deploy Model...", flush=True)
    _write_results(folder, evaluation, result.deploy if deploys else None)
    if deploys:
        print("INFO: Deploy Model Generated.")
    _summary(folder, deploys)
    return 0


def inspect(options: argparse.Namespace) -> int:
    """The ``inspect`` command."""
    from dpuflow.quant.inspect import inspect_text

    _require(options, ("input_frozen_graph",))
    print(inspect_text(read_graphdef(options.input_frozen_graph)), end="")
    return 0


def dump(options: argparse.Namespace) -> int:
    """The ``dump`` command."""
    from dpuflow.quant.dump import dump as dump_tensors
    from dpuflow.quant.dump import feed_tensor
    from dpuflow.quant.input_fn import load_input_fn

    _require(options, ("input_frozen_graph", "input_fn"))
    if options.max_dump_batches < 1:
        raise ConfigError("dumping needs at least one batch", where="--max_dump_batches", got=options.max_dump_batches)
    graph = read_graphdef(options.input_frozen_graph)
    if options.dump_input_tensors:
        graph = feed_tensor(graph, options.dump_input_tensors)
    input_fn = load_input_fn(options.input_fn)
    batches = (input_fn(index) for index in range(options.max_dump_batches))
    dump_tensors(graph, batches, options.max_dump_batches, Path(options.output_dir), bool(options.dump_float),
                 lambda line: print(line, flush=True))
    return 0


def _trained_graph(options: argparse.Namespace) -> TFGraph:
    """The graph to deploy: a frozen one, or a meta graph with a checkpoint's values."""
    from dpuflow.quant.checkpoint import freeze_checkpoint, read_meta_graph

    if options.input_frozen_graph:
        return read_graphdef(options.input_frozen_graph)
    _require(options, ("input_meta_graph", "input_checkpoint"))
    return freeze_checkpoint(read_meta_graph(options.input_meta_graph), options.input_checkpoint)


def deploy(options: argparse.Namespace) -> int:
    """The ``deploy`` command: a graph with FixNeurons to ``<output_dir>/deploy/deploy_model.pb``."""
    from dpuflow.quant.checkpoint import constant_parameters
    from dpuflow.quant.deploy import deploy_graph
    from dpuflow.quant.partition import check_nodes

    graph = _trained_graph(options)
    _require(options, ("input_nodes", "input_shapes", "output_nodes"))
    config = config_from(options)
    check_nodes(graph, config)
    folder = Path(options.output_dir)
    deployed = deploy_graph(constant_parameters(graph, config), config, _observer(folder))
    write_graphdef(deployed, folder / "deploy" / DEPLOY_FILE)
    print(f"INFO: Quantize deploy graph are generated in: {folder / 'deploy'}")
    return 0


def update(options: argparse.Namespace) -> int:
    """The ``update`` command: FixNeurons of an old file get their type."""
    from dpuflow.quant.update import add_types

    _require(options, ("input_frozen_graph",))
    updated = add_types(read_graphdef(options.input_frozen_graph))
    path = Path(options.output_dir) / Path(options.input_frozen_graph).name
    write_graphdef(updated, path)
    print(f"INFO: Updated graph is saved in: {path}")
    return 0


_COMMANDS = {"quantize": quantize, "inspect": inspect, "dump": dump, "deploy": deploy, "update": update}
HELP = {
    "quantize": "calibrate and write both graphs", "inspect": "list operators, inputs and outputs",
    "dump": "write every quantized tensor as files", "deploy": "write the deploy graph of a graph with FixNeurons",
    "update": "add types to the FixNeurons of an old file",
}


def _run(options: argparse.Namespace) -> int:
    _check_architecture(options)
    return _COMMANDS[options.command](options)


def main(prog: str, argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser(prog).parse_args(argv)
    return run_command(prog, _run, options)
