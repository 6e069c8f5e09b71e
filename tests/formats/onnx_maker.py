"""Small ONNX networks built with the onnx package, and what ONNX Runtime says about them."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


class Maker:
    """Collects nodes; every method returns the name of the tensor it adds."""

    def __init__(self, shape: tuple[int, ...] = (1, 3, 8, 10), opset: int = 13, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list = []
        self.weights: list = []
        self.shape, self.opset = shape, opset

    def constant(self, data, name: str = "") -> str:
        name = name or f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(data), name))
        return name

    def random(self, *shape: int, scale: float = 0.5) -> str:
        return self.constant(self.rng.normal(0, scale, shape).astype(np.float32))

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def node(self, op: str, *inputs: str, outputs: int = 1, domain: str = "", **attrs) -> str:
        names = [f"{op}_{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=f"/n{len(self.nodes)}/{op}", domain=domain,
                                           **attrs))
        return names[0] if outputs == 1 else names

    def model(self, *outputs: str, ir_version: int = 8) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs], self.weights)
        for value in graph.output:
            value.ClearField("type")
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def inputs(shape: tuple[int, ...], seed: int = 1, batch: int | None = None) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (batch or shape[0], *shape[1:])).astype(np.float32)


def runtime(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    """ONNX Runtime's answer, its own optimisation switched off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    inferred = onnx.shape_inference.infer_shapes(model)
    types = {value.name: value for value in (*inferred.graph.value_info, *inferred.graph.output)}
    complete = onnx.ModelProto.FromString(model.SerializeToString())
    for index, value in enumerate(complete.graph.output):
        if value.name in types:
            complete.graph.output[index].CopyFrom(types[value.name])
    session = onnxruntime.InferenceSession(complete.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})
