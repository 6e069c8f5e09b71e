"""Speed and memory as ratios in one run: `make bench`.

Every figure is taken in turn with what it is compared with (A B A B ...), and the median of the
pairwise ratios is printed with its range. Nothing here ran on a DPU.

    .venv/bin/python scripts/bench.py [--model build/chars74k] [--rounds 9] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dpuflow.cli.common import add_debug, run_command
from dpuflow.engines import open_engine
from dpuflow.errors import DataError
from dpuflow.ir.graph import Graph
from dpuflow.model import load

ROOT = Path(__file__).resolve().parent.parent
THREADS = 2
Run = Callable[[], Any]


def seconds(run: Run, repeat: int) -> float:
    started = time.perf_counter()
    for _ in range(repeat):
        run()
    return (time.perf_counter() - started) / repeat


def paired(first: Run, second: Run, rounds: int, target_s: float = 0.15) -> dict[str, float]:
    """Median seconds of both, and the ratio second / first pair by pair."""
    first(), second()
    repeat = max(1, int(target_s / max(seconds(first, 2), seconds(second, 2), 1e-6)))
    pairs = [(seconds(first, repeat), seconds(second, repeat)) for _ in range(rounds)]
    ratios = sorted(b / a for a, b in pairs)
    return {"first_ms": statistics.median(a for a, _ in pairs) * 1e3,
            "second_ms": statistics.median(b for _, b in pairs) * 1e3,
            "ratio": statistics.median(ratios), "lowest": ratios[0], "highest": ratios[-1]}


def onnx_qdq(graph: Graph, x: np.ndarray, folder: Path) -> Any:
    """The same network as ONNX, quantized by ONNX Runtime (static, int8 QDQ), ready to run."""
    import onnxruntime as ort
    from bench_onnx import CalibrationReader, float_onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    source, target = folder / "float.onnx", folder / "int8.onnx"
    name = float_onnx(graph, source)
    quantize_static(str(source), str(target), CalibrationReader(name, x[:256]), quant_format=QuantFormat.QDQ,
                    activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, per_channel=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = ort.InferenceSession(str(target), options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {name: batch})


def litert_int8(compiled: Graph, batch: int) -> Any:
    """An ordinary LiteRT int8 model of the same layers: ties to even, no zero point of our own."""
    from ai_edge_litert.interpreter import Interpreter

    from dpuflow.engines import litert_layers
    from dpuflow.engines.fast import FastEngine, LiteRTPart

    nudge, signed = litert_layers._NUDGE, litert_layers._SIGNED_ZERO
    litert_layers._NUDGE, litert_layers._SIGNED_ZERO = np.float32(1), 0
    try:
        engine = FastEngine(compiled, threads=THREADS)
        part = next(part for part in engine.parts if isinstance(part, LiteRTPart))
        prepared = engine._prepared((part.nodes[-1].name,))
    finally:
        litert_layers._NUDGE, litert_layers._SIGNED_ZERO = nudge, signed
    content = next(model.content for model in prepared if hasattr(model, "content"))
    made = Interpreter(model_content=content, num_threads=THREADS)
    index = made.get_input_details()[0]["index"]
    made.resize_tensor_input(index, [batch, *made.get_input_details()[0]["shape"][1:]])
    made.allocate_tensors()
    output = made.get_output_details()[0]["index"]

    def run(x: np.ndarray) -> np.ndarray:
        made.set_tensor(index, x)
        made.invoke()
        result: np.ndarray = made.get_tensor(output)
        return result

    return run


def engine_speed(folder: Path, rounds: int) -> dict[str, Any]:
    """The fast engine against ONNX Runtime int8 QDQ and LiteRT's own int8 model."""
    compiled = load(next((folder / "compile").glob("*.xmodel"))).graph
    float_graph = load(folder / "freeze" / "frozen_model.pb").graph
    with np.load(folder / "train" / "test.npz") as archive:
        images = archive["x"]
    fast = open_engine(compiled, "fast")
    fast.threads = THREADS  # type: ignore[attr-defined]
    source = compiled.inputs[0]
    ints = fast.encode(images, "quantizer")[source.name]
    logits = compiled.node(compiled.outputs[0]).inputs[0]
    while compiled.node(logits).fix is None:
        logits = compiled.node(logits).inputs[0]
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        other = onnx_qdq(float_graph, images, Path(temporary))
        for batch in (1, 128):
            x, q = np.resize(images, (batch, *images.shape[1:])), np.resize(ints, (batch, *ints.shape[1:]))
            plain = litert_int8(compiled, batch)
            ours = lambda q=q: fast.run(q, (logits,), int8=True)  # noqa: E731
            results[f"fast against ONNX Runtime int8 QDQ, batch {batch}"] = paired(
                ours, lambda x=x: other(x), rounds)
            results[f"fast against LiteRT int8, batch {batch}"] = paired(ours, lambda q=q, p=plain: p(q), rounds)
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


def import_time(rounds: int) -> dict[str, Any]:
    """Wall milliseconds of `import dpuflow` beyond an empty Python."""
    def python(code: str) -> Run:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    figures = paired(python("pass"), python("import dpuflow"), rounds, 0.01)
    return {"import dpuflow": {"median_ms": figures["second_ms"] - figures["first_ms"]}}


def run(options: argparse.Namespace) -> None:
    folder = options.model
    if not (folder / "compile").is_dir():
        raise DataError("the model has not been made", where=folder, remedy="run `make` first")
    results: dict[str, Any] = {}
    for part in (lambda: engine_speed(folder, options.rounds), lambda: calibration(folder, options.rounds),
                 lambda: cold_start(folder, options.rounds), lambda: import_time(options.rounds)):
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
