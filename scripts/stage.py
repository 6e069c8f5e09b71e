"""The stages after freezing, by name, as the Makefile calls them.

    .venv/bin/python scripts/stage.py quantize --model chars74k --build build

Each reads the folders of the stages before it and writes its own, whole or not at all; it does
nothing when the same inputs, options and code were used the last time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from dpuflow.artifact import StageWriter, load_stage
from dpuflow.cli.common import add_debug, run_command
from dpuflow.errors import CompileError, DpuflowError, QuantizeError
from dpuflow.flow import code_digest, run_stage, stage_digests
from dpuflow.target.report import predicted_table

BOUNDARY_IMAGES = 64
ROOT = Path(__file__).resolve().parent.parent


def _call(script: str, model: str, writer: StageWriter, build: Path, environment: dict[str, str],
          error: type[DpuflowError]) -> str:
    """Run a stage folder's shell script into the writer's folder; its console text."""
    command = ["sh", str(ROOT / script), model, str(writer.folder)]
    variables = {**os.environ, "BUILD": str(build.resolve()), **environment}
    done = subprocess.run(command, env=variables, text=True, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        print(done.stdout, end="")
        raise error("the stage failed", where=script, got=f"exit code {done.returncode}",
                    remedy="its message stands above")
    return done.stdout


def quantize(options: argparse.Namespace, folder: Path) -> None:
    """``sh quantize/decent_q.sh`` on the frozen graph and the calibration images."""
    script = ROOT / "quantize" / "decent_q.sh"
    key = {"inputs": stage_digests([folder / "freeze", folder / "train"]),
           "code": code_digest(script, script.with_name("input_fn.py"))}

    def produce(writer: StageWriter) -> None:
        text = _call("quantize/decent_q.sh", options.model, writer, options.build, {}, QuantizeError)
        text = text.replace(str(writer.folder), str(folder / "quantize"))
        writer.info.update(load_stage(folder / "freeze").info)
        if writer.info.get("has_tail"):
            text += _place_boundary(folder, writer)
        writer.path("console.txt").write_text(text)
        print(text, end="")

    run_stage("quantize", folder / "quantize", key, produce)


def _place_boundary(folder: Path, writer: StageWriter) -> str:
    """Choose the position of the tensor that the float layers read; ``boundary.json`` says how."""
    from dpuflow.arrays import read_arrays
    from dpuflow.formats.graphdef import read_graphdef, write_graphdef
    from dpuflow.quant.boundary import choose_boundary, fix_chain, with_boundary

    files = [writer.path("quantize_eval_model.pb"), writer.path("deploy_model.pb")]
    evaluation, deploy = (read_graphdef(path) for path in files)
    frozen = load_stage(folder / "freeze")
    calibration = load_stage(folder / "train").path("calibration.npz")
    images = np.asarray(read_arrays(calibration)["x"])[:BOUNDARY_IMAGES]
    said = []
    for tensor in writer.info["quantize_outputs"]:
        choice = choose_boundary(evaluation, read_graphdef(frozen.path("frozen_model.pb")), tensor,
                                 {writer.info["inputs"][0]: images})
        chain = fix_chain(evaluation, tensor)
        evaluation, deploy = (with_boundary(graph, chain, choice.position) for graph in (evaluation, deploy))
        said.append(choice)
    for graph, path in zip((evaluation, deploy), files, strict=True):
        write_graphdef(graph, path)
    writer.path("boundary.json").write_text(json.dumps([choice.as_json() for choice in said], indent=1) + "\n")
    return "".join(f"boundary: {choice.tensor} at position {choice.position} (the rule's: {choice.by_rule}), the best "
                   f"for the float layers behind it\n" for choice in said)


def compile_(options: argparse.Namespace, folder: Path) -> None:
    """``sh compile/dnnc.sh`` on the deploy graph."""
    script = ROOT / "compile" / "dnnc.sh"
    key = {"inputs": stage_digests([folder / "quantize"]), "code": code_digest(script), "target": options.target}

    def produce(writer: StageWriter) -> None:
        text = _call("compile/dnnc.sh", options.model, writer, options.build, {"TARGET": options.target}, CompileError)
        writer.path("kernels.txt").write_text(text)
        writer.info.update(target=options.target)
        predicted = json.loads(writer.path("estimate.json").read_text())
        print(text + "\n" + predicted_table(predicted), end="")

    run_stage("compile", folder / "compile", key, produce)


def emulate(options: argparse.Namespace, folder: Path) -> None:
    """Both engines on the whole test set, against the float network."""
    from dpuflow.evaluation import summary, write_evaluation
    from dpuflow.tasks import task_of

    key = {"inputs": stage_digests([folder / name for name in ("train", "freeze", "quantize", "compile")]),
           "code": code_digest()}

    def produce(writer: StageWriter) -> None:
        task = task_of(load_stage(folder / "train").info)
        print(summary(write_evaluation(folder, options.model, writer), task), end="")

    run_stage("emulate", folder / "emulate", key, produce)


def report(options: argparse.Namespace, folder: Path) -> None:
    """One page from everything."""
    from dpuflow.report import shown_beside, write_report

    key = {"inputs": stage_digests([folder / name for name in ("train", "quantize", "compile", "emulate")]),
           "beside": {other.name: stage_digests([other / "compile", other / "emulate"])
                      for other in shown_beside(folder)}, "code": code_digest()}
    if run_stage("report", folder / "report", key, lambda writer: write_report(folder, writer.path("report.html"))):
        print(f"report: wrote {folder / 'report' / 'report.html'}")


STAGES = {"quantize": quantize, "compile": compile_, "emulate": emulate, "report": report}


def main() -> int:
    parser = argparse.ArgumentParser(prog="stage", description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=tuple(STAGES))
    parser.add_argument("--model", default="chars74k")
    parser.add_argument("--build", type=Path, default=Path("build"))
    parser.add_argument("--target", default="zedboard")
    add_debug(parser)
    options = parser.parse_args()
    return run_command(options.stage, lambda o: STAGES[o.stage](o, o.build / o.model), options)


if __name__ == "__main__":
    sys.exit(main())
