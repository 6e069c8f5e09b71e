"""A float network of this project as ONNX, for comparisons in the benchmark only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from dpuflow.ir.graph import Graph, Node
from dpuflow.passes.fold_batch_norm import fold_batch_norm
from dpuflow.passes.fuse_bias import fuse_bias
from dpuflow.passes.fuse_nonlinear import fuse_nonlinear
from dpuflow.passes.prune import prune


class CalibrationReader:
    """Batches of one image, as ONNX Runtime's quantizer wants them."""

    def __init__(self, name: str, images: np.ndarray) -> None:
        self.batches = iter([{name: image[None]} for image in images])

    def get_next(self) -> Any:
        return next(self.batches, None)


def _conv(node: Node, graph: Graph, operands: list[str]) -> list[Any]:
    top, bottom, left, right = node.attrs.padding
    made = [helper.make_node("Conv", operands, [node.name], strides=list(node.attrs.stride),
                             pads=[top, left, bottom, right])]
    if node.attrs.nonlinear == "relu":
        made[0].output[0] = f"{node.name}/linear"
        made.append(helper.make_node("Relu", [f"{node.name}/linear"], [node.name]))
    return made


def _mean(node: Node, graph: Graph, operands: list[str]) -> list[Any]:
    pooled = helper.make_node("GlobalAveragePool", operands, [f"{node.name}/pooled"])
    return [pooled, helper.make_node("Flatten", [f"{node.name}/pooled"], [node.name])]


def _dense(node: Node, graph: Graph, operands: list[str]) -> list[Any]:
    return [helper.make_node("Gemm", operands, [node.name])]


_NODES = {"conv2d": _conv, "mean": _mean, "dense": _dense}


def float_onnx(graph: Graph, path: Path) -> str:
    """Write the network without softmax (batch norm folded), NHWC input; its input's name."""
    for step in (fold_batch_norm, fuse_bias, fuse_nonlinear, prune):
        graph = step(graph)
    source = graph.inputs[0]
    nodes = [helper.make_node("Transpose", [source.name], ["nchw"], perm=[0, 3, 1, 2])]
    names, weights, last = {source.name: "nchw"}, [], ""
    for node in graph.nodes:
        if node.data is not None:
            data = node.data.transpose(3, 2, 0, 1) if node.data.ndim == 4 else node.data
            weights.append(numpy_helper.from_array(np.ascontiguousarray(data), node.name))
        elif node.op in _NODES:
            nodes += _NODES[node.op](node, graph, [names.get(name, name) for name in node.inputs])
            last = node.name
    inputs = [helper.make_tensor_value_info(source.name, TensorProto.FLOAT, ["n", *source.shape[1:]])]
    outputs = [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["n", graph.by_name[last].shape[-1]])]
    model = helper.make_model(helper.make_graph(nodes, "bench", inputs, outputs, weights),
                              opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    save(model, str(path))
    return source.name
