"""One engine in a process of its own, for `scripts/bench.py`.

    bench_engines.py fast|onnx|litert BUILD_FOLDER BATCH

Reads numbers of calls from standard input, one a line, and answers each with the seconds of one call.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dpuflow.engines import litert_layers
from dpuflow.engines.fast import FastEngine, LiteRTPart
from dpuflow.ir.graph import Array, Graph
from dpuflow.model import load

THREADS = 2


def _compiled(folder: Path) -> Graph:
    return load(next((folder / "compile").glob("*.xmodel"))).graph


def _logits(graph: Graph) -> str:
    name = graph.outputs[0]
    while graph.node(name).fix is None:
        name = graph.node(name).inputs[0]
    return name


def _images(folder: Path, batch: int) -> Array:
    with np.load(folder / "train" / "test.npz") as archive:
        images = archive["x"]
    return np.resize(images, (batch, *images.shape[1:]))


def fast(folder: Path, batch: int) -> Callable[[], Any]:
    """This project's fast engine, int8 in and out."""
    graph = _compiled(folder)
    engine, wanted = FastEngine(graph, threads=THREADS), (_logits(graph),)
    ints = engine.encode(_images(folder, batch), "quantizer")[graph.inputs[0].name]
    return lambda: engine.run(ints, wanted, int8=True)


def litert(folder: Path, batch: int) -> Callable[[], Any]:
    """An ordinary LiteRT int8 model of the same layers: ties to even, zero points of 0."""
    from ai_edge_litert.interpreter import Interpreter

    litert_layers._NUDGE, litert_layers._SIGNED_ZERO = np.float32(1), 0
    graph = _compiled(folder)
    engine = FastEngine(graph, threads=THREADS)
    part = next(part for part in engine.parts if isinstance(part, LiteRTPart))
    model = next(m for m in engine._prepared((part.nodes[-1].name,)) if hasattr(m, "content"))
    made = Interpreter(model_content=model.content, num_threads=THREADS)
    source = made.get_input_details()[0]
    made.resize_tensor_input(source["index"], [batch, *source["shape"][1:]])
    made.allocate_tensors()
    ints = engine.encode(_images(folder, batch), "quantizer")[graph.inputs[0].name]
    index, output = source["index"], made.get_output_details()[0]["index"]

    def run() -> Any:
        made.set_tensor(index, ints)
        made.invoke()
        return made.get_tensor(output)

    return run


def onnx(folder: Path, batch: int) -> Callable[[], Any]:
    """The same float network, quantized by ONNX Runtime: static, int8 QDQ, per channel."""
    import onnxruntime as ort
    from bench_onnx import CalibrationReader, float_onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    images = _images(folder, 256)
    with tempfile.TemporaryDirectory() as temporary:
        source, target = Path(temporary) / "float.onnx", Path(temporary) / "int8.onnx"
        name = float_onnx(load(folder / "freeze" / "frozen_model.pb").graph, source)
        quantize_static(str(source), str(target), CalibrationReader(name, images), quant_format=QuantFormat.QDQ,
                        activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, per_channel=True)
        options = ort.SessionOptions()
        options.intra_op_num_threads = THREADS
        session = ort.InferenceSession(str(target), options, providers=["CPUExecutionProvider"])
    x = _images(folder, batch)
    return lambda: session.run(None, {name: x})


ENGINES = {"fast": fast, "litert": litert, "onnx": onnx}


def main() -> None:
    run = ENGINES[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
    run()
    for line in sys.stdin:
        repeat = int(line)
        started = time.perf_counter()
        for _ in range(repeat):
            run()
        print((time.perf_counter() - started) / repeat, flush=True)


if __name__ == "__main__":
    main()
