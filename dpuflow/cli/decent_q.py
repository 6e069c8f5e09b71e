"""``decent_q`` and ``vai_q_tensorflow``: the vendor's quantizer commands.

Flags, defaults and messages: quantizer specification, sections 1 and 12.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dpuflow.artifact import atomic_path
from dpuflow.cli.common import add_debug, names, run_command
from dpuflow.errors import ConfigError
from dpuflow.formats.graphdef import TFGraph, read_graphdef, serialize_graphdef
from dpuflow.quant.config import QuantizeConfig, parse_shapes

EVALUATION_FILE, DEPLOY_FILE = "quantize_eval_model.pb", "deploy_model.pb"

# name, default, help: the flags that change nothing but are accepted, as the vendor's tool does.
_ACCEPTED = (
    ("gpu", "0", "accepted; this quantizer runs on the CPU"),
    ("gpu_memory_fraction", "0.5", "accepted; this quantizer runs on the CPU"),
)
# Flags that ask for something that is not there yet; any value but the default is refused by name.
_REFUSED: tuple[tuple[str, str], ...] = (
    ("mode", "frozen"), ("input_meta_graph", ""), ("input_checkpoint", ""), ("dump_input_tensors", ""),
    ("arch_type", "DEFAULT"), ("do_cle", "0"), ("align_pool", "0"), ("include_fast_ft", "0"),
    ("output_format", "pb"), ("fold_reshape", "0"), ("replace_sigmoid", "0"), ("replace_softmax", "0"),
    ("custom_op_so", ""), ("target_type", ""), ("convert_datatype", "0"),
)


def _parser(prog: str) -> argparse.ArgumentParser:
    from dpuflow import __version__

    parser = argparse.ArgumentParser(prog=prog, description="Quantize a frozen TensorFlow graph to 8-bit fixed point.",
                                     allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"{prog} (dpuflow {__version__})")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    quantize = commands.add_parser("quantize", help="calibrate and write both graphs", allow_abbrev=False)
    _add_quantize_flags(quantize)
    inspect = commands.add_parser("inspect", help="list operators, inputs and outputs", allow_abbrev=False)
    inspect.add_argument("--input_frozen_graph", default="", help="frozen .pb")
    add_debug(inspect)
    dump = commands.add_parser("dump", help="write every quantized tensor as files", allow_abbrev=False)
    _add_dump_flags(dump)
    return parser


def _add_dump_flags(parser: argparse.ArgumentParser) -> None:
    text = parser.add_argument
    text("--input_frozen_graph", default="", help="quantize_eval_model.pb")
    text("--input_fn", default="", help="module.function; called with iter, returns {input: array}")
    text("--output_dir", default="./quantize_results")
    text("--max_dump_batches", type=int, default=1)
    text("--dump_float", type=int, default=0, choices=(0, 1), help="also every operator's float values")
    text("--dump_input_tensors", default="", help=argparse.SUPPRESS)
    for name, default, help_text in _ACCEPTED:
        text(f"--{name}", default=default, help=help_text)
    add_debug(parser)


def _add_quantize_flags(parser: argparse.ArgumentParser) -> None:
    text = parser.add_argument
    text("--input_frozen_graph", default="", help="frozen .pb of the float network")
    text("--input_nodes", default="", help="comma list")
    text("--input_shapes", default="", help="?,height,width,channels; several inputs separated by ':'")
    text("--output_nodes", default="", help="comma list")
    text("--input_fn", default="", help="module.function; called with iter, returns {input: array}")
    text("--output_dir", default="./quantize_results")
    text("--method", type=int, default=1, help="0 no overflow, 1 least squared error, 2 relative for depthwise")
    text("--calib_iter", type=int, default=100)
    text("--weight_bit", type=int, default=8)
    text("--activation_bit", type=int, default=8)
    text("--nodes_bit", default="", help="name:bits,...")
    text("--nodes_method", default="", help="name:method,...")
    text("--ignore_nodes", default="", help="comma list")
    text("--skip_check", type=int, default=0, choices=(0, 1))
    text("--align_concat", type=int, default=0)
    text("--adjust_shift_bias", type=int, default=1)
    text("--adjust_shift_cut", type=int, default=1)
    text("--simulate_dpu", type=int, default=1)
    text("--scale_all_avgpool", type=int, default=0, choices=(0, 1))
    for name, default, help_text in _ACCEPTED:
        text(f"--{name}", default=default, help=help_text)
    for name, default in _REFUSED:
        text(f"--{name}", default=default, help=argparse.SUPPRESS)
    add_debug(parser)


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
    for flag, default in _REFUSED:
        value = getattr(options, flag, default)
        if value != default:
            raise ConfigError("this value is not supported", where=f"--{flag}", got=value,
                              expected=default or "nothing")


def config_from(options: argparse.Namespace) -> QuantizeConfig:
    """The quantizer's configuration from the command's flags."""
    return QuantizeConfig(
        names(options.input_nodes), names(options.output_nodes), parse_shapes(options.input_shapes),
        method=options.method, calib_iter=options.calib_iter, weight_bit=options.weight_bit,
        activation_bit=options.activation_bit, ignore_nodes=names(options.ignore_nodes),
        nodes_bit=_pairs(options.nodes_bit, "nodes_bit"), nodes_method=_pairs(options.nodes_method, "nodes_method"),
        skip_check=bool(options.skip_check), align_concat=options.align_concat,
        adjust_shift_bias=options.adjust_shift_bias, adjust_shift_cut=options.adjust_shift_cut,
        simulate_dpu=options.simulate_dpu, scale_all_avgpool=options.scale_all_avgpool)


def _check_float(graph: TFGraph, config: QuantizeConfig, first: Mapping[str, Any]) -> None:
    from dpuflow.quant.quantizer import check_float_graph

    print("INFO: Checking Float Graph...", flush=True)
    check_float_graph(graph, config, first)
    print("INFO: Float Graph Check Done.", flush=True)


def _progress(batches: Iterator[Any], total: int) -> Iterator[Any]:
    from tqdm import tqdm

    return iter(tqdm(batches, total=total, unit="iter", disable=not sys.stderr.isatty(), leave=False))


def quantize(options: argparse.Namespace) -> int:
    """The ``quantize`` command."""
    from dpuflow.quant.input_fn import load_input_fn
    from dpuflow.quant.quantizer import quantize_graph

    _require(options, ("input_frozen_graph", "input_nodes", "input_shapes", "output_nodes", "input_fn"))
    config = config_from(options)
    graph = read_graphdef(options.input_frozen_graph)
    input_fn = load_input_fn(options.input_fn)
    if not config.skip_check:
        _check_float(graph, config, input_fn(0))
    print(f"INFO: Calibrating for {config.calib_iter} iterations...", flush=True)
    batches = _progress((input_fn(index) for index in range(config.calib_iter)), config.calib_iter)
    result = quantize_graph(graph, config, batches)
    print("INFO: Calibration Done.", flush=True)
    folder = Path(options.output_dir)
    print("INFO: Generating Deploy Model...", flush=True)
    with atomic_path(folder / EVALUATION_FILE) as evaluation, atomic_path(folder / DEPLOY_FILE) as deploy:
        evaluation.write_bytes(serialize_graphdef(result.evaluation))
        deploy.write_bytes(serialize_graphdef(result.deploy))
    print("INFO: Deploy Model Generated.")
    print("********************* Quantization Summary *********************")
    print("INFO: Output:")
    print(f"  quantize_eval_model: {folder / EVALUATION_FILE}")
    print(f"  deploy_model: {folder / DEPLOY_FILE}")
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
    from dpuflow.quant.input_fn import load_input_fn

    _require(options, ("input_frozen_graph", "input_fn"))
    if options.max_dump_batches < 1:
        raise ConfigError("dumping needs at least one batch", where="--max_dump_batches", got=options.max_dump_batches)
    graph = read_graphdef(options.input_frozen_graph)
    input_fn = load_input_fn(options.input_fn)
    batches = (input_fn(index) for index in range(options.max_dump_batches))
    dump_tensors(graph, batches, options.max_dump_batches, Path(options.output_dir), bool(options.dump_float),
                 lambda line: print(line, flush=True))
    return 0


_COMMANDS = {"quantize": quantize, "inspect": inspect, "dump": dump}


def main(prog: str, argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser(prog).parse_args(argv)
    return run_command(prog, _COMMANDS[options.command], options)
