"""``dpuflow emulate``: run a quantized or compiled file on this host, bit for bit."""

from __future__ import annotations

import argparse
import time

import numpy as np

from dpuflow.arrays import read_arrays, write_arrays
from dpuflow.cli.custom import add_custom_option, custom_functions
from dpuflow.engines import BIAS_MODES, ENGINES, Engine, open_engine
from dpuflow.engines.reference import ReferenceEngine
from dpuflow.errors import ConfigError, DataError
from dpuflow.ir.graph import Array, Graph
from dpuflow.model import load, quantized_graph
from dpuflow.target.made_for import made_for, require_core
from dpuflow.target.select import find_target


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """The command's options."""
    parser = commands.add_parser("emulate", help="run a quantized or compiled file, bit for bit")
    parser.add_argument("file", metavar="FILE", help=".xmodel, deploy_model.pb or quantize_eval_model.pb")
    parser.add_argument("--input", required=True, metavar="IN.npy",
                        help="NHWC float32 in the network's own scale, or int8 with --int8; .npz for several inputs")
    parser.add_argument("--output", required=True, metavar="OUT.npz", help="one array per output, by node name")
    parser.add_argument("--engine", default="fast", choices=tuple(ENGINES))
    parser.add_argument("--all-tensors", action="store_true", help="write every tensor, not only the outputs")
    parser.add_argument("--int8", action="store_true", help="take and give the integers themselves")
    parser.add_argument("--input-mode", default="quantizer", choices=("quantizer", "runtime"),
                        help="float input: round half up as the quantizer, or truncate as board runtimes do")
    parser.add_argument("--bias-mode", default="exact", choices=BIAS_MODES,
                        help="a bias finer than the accumulator: kept whole as in the simulated graph, or rounded "
                             "first as by the DNNDK compiler (its files are so already)")
    parser.add_argument("--watch", action="store_true",
                        help="print the largest accumulator of every layer (engine reference)")
    parser.add_argument("--check", type=int, nargs="?", const=8, default=0, metavar="N",
                        help="also run N of the images (8 without a number) on the reference engine and compare every "
                             "bit that is written")
    parser.add_argument("--threads", type=int, metavar="N", help="engine fast: threads (default: all cores up to 8)")
    add_custom_option(parser)
    parser.add_argument("--like", metavar="GRAPH", help="the quantized graph that a DNNDK file was compiled from")
    parser.add_argument("--target", help="refuse a file that was compiled for another core; engine program: "
                                         "the core (default: the file's own, else zedboard)")
    parser.add_argument("--kernel", help="which kernel of a DNNDK file with several")
    return parser


def tensor_names(graph: Graph) -> tuple[str, ...]:
    """Every tensor that the network computes, inputs included."""
    return tuple(node.name for node in graph.nodes if node.data is None)


def run(options: argparse.Namespace) -> None:
    """Emulate and write the outputs."""
    arrays = read_arrays(options.input)
    model = load(options.file, custom_functions(options.custom_op), options.like, options.kernel)
    core = find_target(options.target) if options.target else made_for(model)
    if core and options.target:
        require_core(model, core)
    engine = open_engine(quantized_graph(model), options.engine, core=core, bias_mode=options.bias_mode,
                         check=_checked(options.check), threads=options.threads)
    _watch(engine, options.watch)
    wanted = tensor_names(engine.graph) if options.all_tensors else engine.graph.outputs
    _check_integers(arrays, options.input, options.int8)
    started = time.perf_counter()
    results = engine.run(arrays, wanted, options.int8, options.input_mode)
    seconds = time.perf_counter() - started
    write_arrays(options.output, results)
    batch = len(next(iter(results.values())))
    print(f"emulated {batch} image(s) in {seconds * 1e3:.1f} ms on this host ({engine.description})")
    print(f"wrote {len(results)} array(s) to {options.output}")
    if options.check:
        print(f"checked against the reference engine: equal on {min(options.check, batch)} image(s)")
    if isinstance(engine, ReferenceEngine):
        for line in accumulator_lines(engine):
            print(line)


def _checked(count: int) -> int:
    if count < 0:
        raise ConfigError("not a number of images", where="--check", got=count, expected="0 or more")
    return count


def _watch(engine: Engine, wanted: bool) -> None:
    if isinstance(engine, ReferenceEngine):
        engine.watch = wanted
    elif wanted:
        raise ConfigError("only the reference engine sees accumulators", where="--watch", got=f"--engine {engine.name}",
                          remedy="add --engine reference")


def accumulator_lines(engine: ReferenceEngine) -> list[str]:
    """The largest accumulator of each layer, and how many bits hold it."""
    found = engine.largest_accumulators
    rows = [f"{engine.graph.by_name[name].layer:40} {largest:>12} {largest.bit_length() + 1:>5}"
            for name, largest in found.items()]
    return [f"{'layer':40} {'largest |acc|':>12} {'bits':>5}", *rows] if rows else []


def _check_integers(arrays: Array | dict[str, Array], where: str, integers: bool) -> None:
    for array in arrays.values() if isinstance(arrays, dict) else [arrays]:
        if not integers and array.dtype == np.int8:
            raise DataError("int8 input is taken as the integers themselves", where=where, expected="float32",
                            got="int8", remedy="say so with --int8, or give the values in the network's own scale")
        if integers and array.dtype != np.int8:
            raise DataError("--int8 takes integers", where=where, expected="int8", got=array.dtype,
                            remedy="leave out --int8 for float input")
