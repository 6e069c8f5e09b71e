"""``dpuflow compile``: a quantized file to an ``.xmodel`` for a core, with everything beside it."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dpuedge.manifest import TAIL_SUFFIX
from dpuflow.arrays import write_arrays
from dpuflow.artifact import file_digest
from dpuflow.cli import backend
from dpuflow.cli.common import check_clock
from dpuflow.compiler.compiled import Compiled
from dpuflow.compiler.console import kernel_table
from dpuflow.compiler.driver import compile_graph
from dpuflow.compiler.manifest import model_manifest, tail_parameters
from dpuflow.compiler.xmodel import to_xir
from dpuflow.errors import ConfigError, EngineError
from dpuflow.files import atomic_path, read_bytes
from dpuflow.formats.xir import serialize_xmodel
from dpuflow.model import load
from dpuflow.planning.estimate import estimate_programs, programs_of
from dpuflow.program.instructions import encode
from dpuflow.program.schedule import Program
from dpuflow.program.verify import verify_program
from dpuflow.target.arch import Core
from dpuflow.target.dcf import read_dcf
from dpuflow.target.made_for import made_for
from dpuflow.target.report import estimate_json
from dpuflow.target.select import find_target
from dpuflow.vendor.compile_plan import CompileRequest, compile_plan
from dpuflow.vendor.plan import Plan
from dpuflow.vendor.releases import find_release


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """The command's options."""
    parser = commands.add_parser("compile", help="compile a quantized file for a core")
    parser.add_argument("file", metavar="FILE", help="deploy_model.pb, quantize_eval_model.pb or .xmodel, or zoo:NAME")
    parser.add_argument("--target", default="zedboard", help="board, target name, 0x fingerprint, .dcf or arch.json")
    parser.add_argument("-o", "--output", required=True, metavar="OUT.xmodel")
    parser.add_argument("--info", metavar="FILE.json", help="labels, fake_class and preprocessing for the manifest")
    parser.add_argument("--mhz", type=float, help="DPU clock of the estimate (default: the board's)")
    parser.add_argument("--time-limit", type=float, metavar="S", help="seconds for the search of a schedule (default: "
                        "none; the search always gives the same result)")
    backend.add_flags(parser)
    parser.add_argument("--dcf", type=Path, help="backend vendor: the board's .dcf, for releases that want one")
    parser.add_argument("--cpu-arch", default="arm32", choices=("arm32", "arm64"), help="backend vendor: of the board")
    return parser


def read_info(path: str | None) -> Mapping[str, Any]:
    """Labels and preprocessing from a JSON file (a stage manifest or its ``info`` part)."""
    if path is None:
        return {}
    try:
        fields = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not JSON ({error})", where=path) from None
    if not isinstance(fields, dict):
        raise ConfigError("not a JSON object", where=path)
    info = fields.get("info", fields)
    return info if isinstance(info, dict) else {}


def output_path(folder: Path | str, name: str) -> Path:
    """Where a network of that name goes; ConfigError for a name that is no plain file name."""
    if not name or name in (".", "..") or "/" in name or "\\" in name:
        raise ConfigError("not a name for a network", where="--net_name", got=name or "nothing",
                          expected="letters, digits, '_', '-', '.'")
    return Path(folder) / f"{name}.xmodel"


def compile_file(path: str, target: str | Core, name: str) -> Compiled:
    """Load, check and compile a file; one compiled before is compiled anew from its network."""
    model, core = load(path), find_target(target) if isinstance(target, str) else target
    if not model.quantized:
        raise EngineError("the graph is not quantized", where=path, got=model.kind,
                          remedy="run `decent_q quantize` on it first")
    before = made_for(model)
    if before and before.fingerprint != core.fingerprint:
        print(f"note: {path} was compiled for {before.name}; its network is compiled anew for {core.name}",
              file=sys.stderr)
    return compile_graph(model.graph, core, name)


def _programs(compiled: Compiled, mhz: float | None, time_limit_s: float | None) -> tuple[Program, ...]:
    """Every kernel's program, verified."""
    programs = programs_of(compiled, mhz, None, time_limit_s)
    for program in programs:
        verify_program(program)
    return programs


def write_compiled(compiled: Compiled, output: Path, info: Mapping[str, Any], mhz: float | None = None,
                   time_limit_s: float | None = None) -> str:
    """The xmodel, and beside it the manifest ``<stem>.json`` and ``estimate.json``; all or none. Returns what
    there is to say about the schedule.

    The weights of layers behind the DPU go into ``<stem>.tail.npz``, where boards find them.
    """
    manifest_path, estimate_path = output.with_suffix(".json"), output.with_name("estimate.json")
    if manifest_path == estimate_path:
        raise ConfigError("the manifest and the estimate would be one file", where=manifest_path,
                          remedy="give the network another name than 'estimate'")
    parameters, programs = tail_parameters(compiled), _programs(compiled, mhz, time_limit_s)
    codes = {program.kernel.id: encode(program.instructions) for program in programs}
    with contextlib.ExitStack() as stack:
        xmodel, manifest, estimate = (stack.enter_context(atomic_path(path))
                                      for path in (output, manifest_path, estimate_path))
        xmodel.write_bytes(serialize_xmodel(to_xir(compiled, codes)))
        files = {output.name: file_digest(xmodel)}
        if parameters:
            tail_path = output.with_suffix(TAIL_SUFFIX)
            tail = stack.enter_context(atomic_path(tail_path))
            write_arrays(tail, parameters)
            files[tail_path.name] = file_digest(tail)
        fields = model_manifest(compiled, files, info)
        manifest.write_text(json.dumps(fields, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        predicted = estimate_json(estimate_programs(compiled, programs), compiled.core)
        estimate.write_text(json.dumps(predicted, indent=1) + "\n", encoding="utf-8")
    return _schedule_text(predicted, programs)


def _schedule_text(predicted: Mapping[str, Any], programs: Sequence[Program]) -> str:
    """The predicted time beside its bounds, and whether the search was cut off."""
    lines = [f"predicted {predicted['total_ms']:.4f} ms on the DPU at {predicted['clock_mhz']:g} MHz, not run on "
             f"hardware; engines need at least {predicted['floors_ms'].get('steps', 0.0):.4f} ms layer by layer, the "
             f"simple fixed schedule takes {predicted['baseline_ms']:.4f} ms"]
    return "\n".join([*lines, *dict.fromkeys(note for program in programs for note in program.notes)]) + "\n"


def _vendor_plan(options: argparse.Namespace, output: Path) -> Plan:
    core = read_dcf(options.dcf) if options.dcf else find_target(options.target)
    request = CompileRequest(Path(options.file), core, output.stem, options.dcf, options.cpu_arch)
    return compile_plan(request, find_release(options.release))


def run(options: argparse.Namespace) -> None:
    """Compile and print the kernel table; with ``--backend vendor`` plan or run the vendor's compiler."""
    output = Path(options.output)
    if options.backend == "vendor":
        backend.run_plan(_vendor_plan(options, output), options, output.parent)
        return
    if output.suffix != ".xmodel":
        raise ConfigError("the output must be an .xmodel", where="--output", got=output.name)
    mhz, limit = check_clock(options.mhz), options.time_limit
    if limit is not None and not 0 <= limit < math.inf:
        raise ConfigError("not a time", where="--time-limit", got=limit, expected="seconds, 0 or more")
    compiled = compile_file(options.file, options.target, output.stem)
    schedule = write_compiled(compiled, output, read_info(options.info), mhz, limit)
    print(kernel_table(compiled), end="")
    print(schedule, end="")
    print(f"wrote {output} (virtual: emulation and performance model only)")
