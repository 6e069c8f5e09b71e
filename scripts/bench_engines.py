"""One engine in a process of its own, for `scripts/bench.py`.

    bench_engines.py fast|onnx|litert|openvino BUILD_FOLDER|zoo:NAME BATCH

Networks of the zoo have made-up weights: their speed says something, their answers nothing.

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

from dpuflow.engines.fast import FastEngine
from dpuflow.engines.litert import segment as litert_segment
from dpuflow.engines.litert.part import LiteRTModel
from dpuflow.engines.parts import NumPyPart
from dpuflow.engines.tuning import TunedEngine
from dpuflow.ir.graph import Array, Graph
from dpuflow.model import load
from dpuflow.zoo import float_network, quantized_network

THREADS = 2


def _compiled(source: str) -> Graph:
    if source.startswith("zoo:"):
        return quantized_network(source[4:])
    return load(next((Path(source) / "compile").glob("*.xmodel"))).graph


def _float(source: str) -> Graph:
    if source.startswith("zoo:"):
        return float_network(source[4:])
    return load(Path(source) / "freeze" / "frozen_model.pb").graph


def _ends(graph: Graph) -> tuple[str, ...]:
    """The outputs, each before what is computed in float."""
    found = []
    for name in graph.outputs:
        while graph.node(name).fix is None:
            name = graph.node(name).inputs[0]
        found.append(name)
    return tuple(dict.fromkeys(found))


def _images(source: str, batch: int) -> Array:
    if source.startswith("zoo:"):
        shape = float_network(source[4:], weights="zeros").inputs[0].shape
        return np.random.default_rng(0).uniform(-1, 1, (batch, *shape[1:])).astype(np.float32)
    with np.load(Path(source) / "train" / "test.npz") as archive:
        images = archive["x"]
    return np.resize(images, (batch, *images.shape[1:]))


def fast(source: str, batch: int) -> Callable[[], Any]:
    """This project's fast engine, int8 in and out."""
    graph = _compiled(source)
    engine, wanted = TunedEngine(graph, threads=THREADS), _ends(graph)
    ints = engine.encode(_images(source, batch), "quantizer")[graph.inputs[0].name]
    engine.tune(ints, wanted)
    return lambda: engine.run(ints, wanted, int8=True)


def litert(source: str, batch: int) -> Callable[[], Any]:
    """An ordinary LiteRT int8 model of the same layers: ties to even, zero points of 0."""
    from ai_edge_litert.interpreter import Interpreter

    litert_segment._NUDGE, litert_segment._SIGNED_ZERO = np.float32(1), 0
    graph = _compiled(source)
    engine = FastEngine(graph, threads=THREADS)
    if any(isinstance(part, NumPyPart) and part.node.fix for part in engine.parts):
        raise SystemExit("LiteRT alone cannot run this network")
    model = next(m for m in engine.prepared(_ends(graph)) if isinstance(m, LiteRTModel))
    made = Interpreter(model_content=model.content, num_threads=THREADS)
    taken = made.get_input_details()[0]
    made.resize_tensor_input(taken["index"], [batch, *taken["shape"][1:]])
    made.allocate_tensors()
    ints = engine.encode(_images(source, batch), "quantizer")[graph.inputs[0].name]
    index, outputs = taken["index"], [detail["index"] for detail in made.get_output_details()]

    def run() -> Any:
        made.set_tensor(index, ints)
        made.invoke()
        return [made.get_tensor(output) for output in outputs]

    return run


def _quantized_onnx(source: str, target: Path) -> str:
    """Write the same float network, quantized by ONNX Runtime: static, int8 QDQ, per channel; its input's name."""
    from bench_onnx import CalibrationReader, float_onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    images, given = _images(source, 16 if source.startswith("zoo:") else 256), target.with_name("float.onnx")
    name = float_onnx(_float(source), given)
    quantize_static(str(given), str(target), CalibrationReader(name, images), quant_format=QuantFormat.QDQ,
                    activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, per_channel=True)
    return name


def onnx(source: str, batch: int) -> Callable[[], Any]:
    """ONNX Runtime on its own int8 QDQ network."""
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as temporary:
        name = _quantized_onnx(source, target := Path(temporary) / "int8.onnx")
        options = ort.SessionOptions()
        options.intra_op_num_threads = THREADS
        session = ort.InferenceSession(str(target), options, providers=["CPUExecutionProvider"])
    x = _images(source, batch)
    return lambda: session.run(None, {name: x})


def openvino(source: str, batch: int) -> Callable[[], Any]:
    """OpenVINO on the same int8 QDQ network, inexact."""
    import openvino as ov

    x, core = _images(source, batch), ov.Core()
    with tempfile.TemporaryDirectory() as temporary:
        _quantized_onnx(source, target := Path(temporary) / "int8.onnx")
        model = core.read_model(str(target))
        model.reshape(list(x.shape))
        compiled = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": THREADS, "NUM_STREAMS": 1})
    request = compiled.create_infer_request()

    def run() -> Any:
        request.set_input_tensor(ov.Tensor(x, shared_memory=True))
        request.infer()
        return [np.array(request.get_output_tensor(at).data) for at in range(len(compiled.outputs))]

    return run


ENGINES = {"fast": fast, "litert": litert, "onnx": onnx, "openvino": openvino}


def main() -> None:
    run = ENGINES[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
    run()
    for line in sys.stdin:
        repeat = int(line)
        started = time.perf_counter()
        for _ in range(repeat):
            run()
        print((time.perf_counter() - started) / repeat, flush=True)


if __name__ == "__main__":
    main()
