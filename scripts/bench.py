"""Speed and memory as ratios in one run: `make bench`.

Every figure is taken in turn with what it is compared with (A B A B ...), and the median of the
pairwise ratios is printed with its range. Nothing here ran on a DPU.

    .venv/bin/python scripts/bench.py [--model build/chars74k] [--rounds 9] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dpuflow.cli.common import add_debug, run_command
from dpuflow.errors import DataError

ROOT = Path(__file__).resolve().parent.parent
_TURN_S, _REST_S = 0.15, 0.02
Run = Callable[[], Any]


def seconds(run: Run, repeat: int) -> float:
    started = time.perf_counter()
    for _ in range(repeat):
        run()
    return (time.perf_counter() - started) / repeat


def ratios(pairs: list[tuple[float, float]]) -> dict[str, float]:
    """Median seconds of both sides, and the ratio second / first pair by pair."""
    quotients = sorted(b / a for a, b in pairs)
    return {"first_ms": statistics.median(a for a, _ in pairs) * 1e3,
            "second_ms": statistics.median(b for _, b in pairs) * 1e3,
            "ratio": statistics.median(quotients), "lowest": quotients[0], "highest": quotients[-1]}


def paired(first: Run, second: Run, rounds: int) -> dict[str, float]:
    """Two commands in turn, A B A B."""
    first(), second()
    return ratios([(seconds(first, 1), seconds(second, 1)) for _ in range(rounds)])


class Worker:
    """An engine in a process of its own, so that its threads do not wait in ours while others run."""

    def __init__(self, engine: str, source: Path | str, batch: int) -> None:
        command = [sys.executable, str(ROOT / "scripts" / "bench_engines.py"), engine, str(source), str(batch)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        stderr=subprocess.DEVNULL)
        self.repeat = max(3, int(_TURN_S / self.turn(5)))

    def turn(self, repeat: int | None = None) -> float:
        """Seconds of one call, from a turn of several."""
        assert self.process.stdin and self.process.stdout
        time.sleep(_REST_S)
        self.process.stdin.write(f"{repeat or self.repeat}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise DataError("an engine's process ended early", where=" ".join(map(str, self.process.args)))
        return float(answer)

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def in_turns(first: Worker, second: Worker, rounds: int) -> dict[str, float]:
    """Two workers in turn after a warm turn each."""
    first.turn(), second.turn()
    return ratios([(first.turn(), second.turn()) for _ in range(rounds)])


OTHERS = {"onnx": "ONNX Runtime int8 QDQ", "litert": "LiteRT int8", "openvino": "OpenVINO int8"}


def engine_speed(folder: Path, rounds: int) -> dict[str, Any]:
    """The fast engine against ONNX Runtime int8 QDQ and LiteRT's own int8 model, int8 or float as each takes it."""
    results: dict[str, Any] = {}
    for batch in (1, 128):
        workers = {name: Worker(name, folder, batch) for name in ("fast", *OTHERS)}
        for name, title in OTHERS.items():
            results[f"fast against {title}, batch {batch}"] = in_turns(workers["fast"], workers[name], rounds)
        for worker in workers.values():
            worker.close()
    return results


# Network, batches, what it is compared with: LiteRT has no exact counterpart of YOLOv3-tiny's leaky convolutions.
ZOO_CELLS = (("vgg16-cifar10", (1, 64), tuple(OTHERS)), ("captcha-conv", (1, 64), tuple(OTHERS)),
             ("resnet50", (1,), tuple(OTHERS)), ("mobilenet-v2", (1,), tuple(OTHERS)),
             ("yolov3-tiny", (1,), ("onnx", "openvino")))


def zoo_speed(rounds: int) -> dict[str, Any]:
    """The fast engine on networks of the zoo (made-up weights) against ONNX Runtime and LiteRT, as above."""
    results: dict[str, Any] = {}
    for name, batches, engines in ZOO_CELLS:
        for batch in batches:
            ours = Worker("fast", f"zoo:{name}", batch)
            for engine in engines:
                other = Worker(engine, f"zoo:{name}", batch)
                results[f"fast against {OTHERS[engine]}, {name}, batch {batch}"] = in_turns(ours, other, rounds)
                other.close()
            ours.close()
    return results


def calibration(folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds to calibrate 10 batches of 128 images and make both files, import excluded."""
    from dpuflow.formats.graphdef import read_graphdef, serialize_graphdef
    from dpuflow.quant.config import QuantizeConfig
    from dpuflow.quant.quantizer import quantize_graph

    graph = read_graphdef(folder / "freeze" / "frozen_model.pb")
    with np.load(folder / "train" / "calibration.npz") as archive:
        images = np.resize(archive["x"], (1280, *archive["x"].shape[1:]))
    config = QuantizeConfig(("input_real",), ("discriminator/out",), ((1, 32, 32, 1),), calib_iter=10)

    def run() -> None:
        result = quantize_graph(graph, config, ({"input_real": images[at:at + 128]} for at in range(0, 1280, 128)))
        serialize_graphdef(result.evaluation), serialize_graphdef(result.deploy)

    run()
    times = sorted(seconds(run, 1) for _ in range(max(rounds // 2, 3)))
    return {"calibrate 10 x 128 images and write both files": {
        "median_s": statistics.median(times), "lowest_s": times[0], "highest_s": times[-1]}}


# A small process that starts the measured one: a child's peak memory counts its parent's at the fork.
_LAUNCHER = """
import json, os, sys, time
started = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[
    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)])
_, status, usage = os.wait4(child, 0)
wall = time.perf_counter() - started
print(json.dumps([wall, usage.ru_maxrss / 1024]))
sys.exit(os.waitstatus_to_exitcode(status))
"""


def calibration_vgg(rounds: int) -> dict[str, Any]:
    """Seconds to quantize VGG16 for CIFAR-10 pictures with 1280 images in batches of 128, made-up numbers."""
    import dataclasses

    from dpuflow.formats.tf_builder import FrozenBuilder
    from dpuflow.quant.network import find_config
    from dpuflow.quant.quantizer import quantize_graph

    rng, net = np.random.default_rng(0), FrozenBuilder()
    x, channels = net.placeholder("x", (-1, 32, 32, 3)), 3
    for stage, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        for index in range(count):
            name = f"conv{stage}_{index}"
            kernel = rng.normal(0, (2 / 9 / channels) ** 0.5, (3, 3, channels, width)).astype(np.float32)
            x = net.bias_add(name, net.conv2d(name, x, kernel), rng.normal(0, 0.1, width).astype(np.float32))
            x, channels = net.unary(f"{name}/Relu", "Relu", x), width
        x = net.max_pool(f"pool{stage}", x, 2)
    x = net.reshape("flat", x, (-1, channels))
    net.bias_add("logits", net.dense("logits", x, rng.normal(0, 0.06, (channels, 10)).astype(np.float32)),
                 rng.normal(0, 0.1, 10).astype(np.float32))
    graph, images = net.graph(), rng.normal(0, 1, (10, 128, 32, 32, 3)).astype(np.float32)
    config = dataclasses.replace(find_config(graph), calib_iter=len(images))
    walls = [seconds(lambda: quantize_graph(graph, config, ({"x": batch} for batch in images)), 1)
             for _ in range(max(rounds // 4, 2))]
    return {"quantize VGG16-CIFAR10, 1280 images": {"median_s": statistics.median(walls), "highest_s": max(walls)}}


def cold_start(folder: Path, rounds: int) -> dict[str, Any]:
    """Wall seconds and peak memory of run_dpu.py as a whole process, one picture."""
    import cv2

    with tempfile.TemporaryDirectory() as temporary, np.load(folder / "train" / "test.npz") as archive:
        picture = str(Path(temporary) / "a.png")
        cv2.imwrite(picture, archive["gray"][0])
        command = [sys.executable, "-S", "-c", _LAUNCHER, sys.executable, str(ROOT / "board" / "run_dpu.py"),
                   str(folder / "compile"), picture, "--backend", "emulator"]
        runs = [json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                for _ in range(rounds)]
        walls, peaks = [wall for wall, _ in runs], [peak for _, peak in runs]
    return {"run_dpu.py, start to first answer": {
        "median_s": statistics.median(walls), "lowest_s": min(walls), "highest_s": max(walls),
        "peak_mb": max(peaks)}}


# Programs from their start to a first answer; arguments: the xmodel, the same network as a LiteRT model.
_FIRST_ANSWERS = {
    "python alone": "pass",
    "import numpy": "import numpy",
    "LiteRT, the model ready": """
import sys
from ai_edge_litert.interpreter import Interpreter
made = Interpreter(model_path=sys.argv[2], num_threads=2)
made.allocate_tensors()
made.invoke()""",
    "fast engine": """
import sys
import numpy as np
from dpuflow.engines import open_engine
engine = open_engine(sys.argv[1])
engine.run(np.zeros(engine.graph.inputs[0].shape, np.int8))""",
}


def engine_start(folder: Path, rounds: int) -> dict[str, Any]:
    """Wall milliseconds and peak memory from the start of a process to an engine's first answer, beside others'."""
    from dpuflow.engines.fast import FastEngine
    from dpuflow.engines.litert.part import LiteRTModel
    from dpuflow.model import load

    compiled = next((folder / "compile").glob("*.xmodel"))
    engine = FastEngine(load(compiled).graph)
    with tempfile.TemporaryDirectory() as temporary:
        ready = Path(temporary) / "model.tflite"
        ready.write_bytes(next(m.content for m in engine.prepared(engine.graph.outputs) if isinstance(m, LiteRTModel)))
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

        def start(code: str) -> tuple[float, float]:
            command = [sys.executable, "-S", "-c", _LAUNCHER, sys.executable, "-c", code, str(compiled), str(ready)]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
            wall, peak = json.loads(done.stdout)
            return wall, peak

        for code in _FIRST_ANSWERS.values():  # byte code is written once, as an installation does
            start(code)
        runs = {name: [start(code) for _ in range(rounds)] for name, code in _FIRST_ANSWERS.items()}
    return {f"start to first answer, {name}": {
        "median_ms": 1e3 * statistics.median(wall for wall, _ in found), "peak_mb": max(peak for _, peak in found)}
        for name, found in runs.items()}


def import_time(rounds: int) -> dict[str, Any]:
    """Wall milliseconds of `import dpuflow` beyond an empty Python."""
    def python(code: str) -> Run:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    figures = paired(python("pass"), python("import dpuflow"), rounds)
    return {"import dpuflow": {"median_ms": figures["second_ms"] - figures["first_ms"]}}


# Loads a file in a process of its own: wall seconds, and how far the peak memory grew meanwhile.
_LOADING = """
import json, sys, time
import dpuflow.passes, dpuflow.formats.xir_import
from dpuflow.model import load
def peak_mb():
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
before, started = peak_mb(), time.perf_counter()
load(sys.argv[1])
print(json.dumps([time.perf_counter() - started, peak_mb() - before]))
"""


def _large_xmodel(path: Path) -> None:
    """44 convolutions of 3 x 3 x 512 x 512: 104 MB of parameters, compiled for a B4096."""
    from dpuflow.compiler.driver import compile_graph
    from dpuflow.compiler.xmodel import to_xir
    from dpuflow.formats.xir import write_xmodel
    from dpuflow.ir.graph import Fix, Graph, Node, const
    from dpuflow.ir.verify import infer_shapes
    from dpuflow.ops.base import Padding
    from dpuflow.ops.conv import ConvAttrs
    from dpuflow.target.select import find_target

    rng, nodes = np.random.default_rng(0), [Node("c0", "input", shape=(1, 8, 8, 512), fix=Fix(4))]
    for index in range(1, 45):
        nodes.append(const(f"w{index}", rng.integers(-128, 128, (3, 3, 512, 512)).astype(np.int8), Fix(9)))
        nodes.append(Node(f"c{index}", "conv2d", (f"c{index - 1}", f"w{index}"), ConvAttrs(padding=Padding(1, 1, 1, 1)),
                          fix=Fix(0)))
    graph = infer_shapes(Graph("large", tuple(nodes), ("c44",)))
    write_xmodel(to_xir(compile_graph(graph, find_target("DPUCZDX8G_ISA1_B4096"), "large")), path)


def loading(rounds: int) -> dict[str, Any]:
    """Seconds and memory of loading an xmodel of some 100 MB."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "large.xmodel"
        _large_xmodel(path)
        runs = [json.loads(subprocess.run([sys.executable, "-c", _LOADING, str(path)], check=True, capture_output=True,
                                          text=True).stdout) for _ in range(max(rounds // 2, 3))]
        megabytes = path.stat().st_size / 1e6
    walls = [wall for wall, _ in runs]
    return {f"load an xmodel of {megabytes:.0f} MB": {
        "median_s": statistics.median(walls), "highest_s": max(walls), "peak_growth_mb": max(mb for _, mb in runs)}}


# Runs a command: wall seconds and peak memory of the child.
_CHILD = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(json.dumps([time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024]))
"""


def compiling(rounds: int) -> dict[str, Any]:
    """Wall seconds and peak memory of `dpuflow compile`, Python's start included: search, proof and file."""
    made = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name, target in (("chars74k", "zedboard"), ("resnet50", "zedboard"), ("yolov3", "DPUCZDX8G_ISA1_B4096")):
            command = [sys.executable, "-c", _CHILD, sys.executable, "-m", "dpuflow", "compile", f"zoo:{name}",
                       "--target", target, "-o", str(Path(temporary) / f"{name}.xmodel")]
            runs = [json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                    for _ in range(max(rounds // 4, 2))]
            walls = [wall for wall, _ in runs]
            made[f"compile {name} for {target}"] = {"median_s": statistics.median(walls), "highest_s": max(walls),
                                                    "peak_mb": max(peak for _, peak in runs)}
    return made


def program_engine(rounds: int) -> dict[str, Any]:
    """Seconds an image on the modelled core: Chars74K and ResNet50 on the ZedBoard's."""
    from dpuflow.engines.program import ProgramEngine
    from dpuflow.target.select import find_target
    from dpuflow.zoo import quantized_network

    made = {}
    for name in ("chars74k", "resnet50"):
        graph = quantized_network(name)
        engine = ProgramEngine(graph, find_target("zedboard"))
        x = np.random.default_rng(0).integers(-128, 128, (1, *graph.inputs[0].shape[1:])).astype(np.int8)
        once = partial(engine.run, x, graph.outputs, int8=True)
        walls = [seconds(once, 1) for _ in range(max(rounds // 2, 3))]
        made[f"program engine, {name}"] = {"median_s_per_image": statistics.median(walls), "highest_s": max(walls)}
    return made


def run(options: argparse.Namespace) -> None:
    folder = options.model
    if not (folder / "compile").is_dir():
        raise DataError("the model has not been made", where=folder, remedy="run `make` first")
    results: dict[str, Any] = {}
    parts: list[Callable[[], dict[str, Any]]] = [
        *(partial(part, folder, options.rounds) for part in (engine_speed, calibration, cold_start, engine_start)),
        *(partial(part, options.rounds) for part in (zoo_speed, calibration_vgg, import_time, loading, compiling,
                                                     program_engine))]
    for part in parts:
        for name, figures in part().items():
            results[name] = figures
            print(f"{name}: " + "  ".join(f"{key} {value:.3f}" for key, value in figures.items()), flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=ROOT / "build" / "chars74k")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", help="also write the figures to this file")
    add_debug(parser)
    return run_command("bench", run, parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
