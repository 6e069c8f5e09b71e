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


def _activated(made: Any, node: Node, nonlinear: str) -> list[Any]:
    """The node, and its nonlinearity behind it."""
    kinds = {"relu": ("Relu", {}), "leaky_relu": ("LeakyRelu", {"alpha": 26 / 256})}
    if nonlinear == "none":
        return [made]
    if nonlinear == "relu6":
        return [_renamed(made, node), helper.make_node("Clip", [f"{node.name}/linear", "zero", "six"], [node.name])]
    kind, attrs = kinds[nonlinear]
    return [_renamed(made, node), helper.make_node(kind, [f"{node.name}/linear"], [node.name], **attrs)]


def _renamed(made: Any, node: Node) -> Any:
    made.output[0] = f"{node.name}/linear"
    return made


def _window(node: Node) -> dict[str, Any]:
    top, bottom, left, right = node.attrs.padding
    return {"strides": list(node.attrs.stride), "pads": [top, left, bottom, right]}


def _conv(node: Node, graph: Graph, operands: list[str]) -> list[Any]:
    group = graph.by_name[node.inputs[1]].shape[2] if node.op == "depthwise_conv2d" else node.attrs.groups
    made = helper.make_node("Conv", operands, [node.name], group=group, dilations=list(node.attrs.dilation),
                            **_window(node))
    return _activated(made, node, node.attrs.nonlinear)


def _pool(kind: str, **more: Any) -> Any:
    def make(node: Node, graph: Graph, operands: list[str]) -> list[Any]:
        return [helper.make_node(kind, operands, [node.name], kernel_shape=list(node.attrs.kernel), **_window(node),
                                 **more)]
    return make


def _add(node: Node, graph: Graph, operands: list[str]) -> list[Any]:
    return _activated(helper.make_node("Add", operands, [node.name]), node, node.attrs.nonlinear)


def _concat(node: Node, graph: Graph, operands: list[str]) -> list[Any]:
    return [helper.make_node("Concat", operands, [node.name], axis=1)]


def _resize(node: Node, graph: Graph, operands: list[str]) -> list[Any]:
    """Whole factors only; what a benchmark needs."""
    return [helper.make_node("Resize", [operands[0], "", "twice"], [node.name], mode="nearest", nearest_mode="floor",
                             coordinate_transformation_mode="asymmetric")]


def _flatten(node: Node, graph: Graph, operands: list[str]) -> list[Any]:
    """Channels first: other numbers than ours, the same work."""
    return [helper.make_node("Flatten", operands, [node.name])]


def _mean(node: Node, graph: Graph, operands: list[str]) -> list[Any]:
    pooled = helper.make_node("GlobalAveragePool", operands, [f"{node.name}/pooled"])
    return [pooled, helper.make_node("Flatten", [f"{node.name}/pooled"], [node.name])]


def _dense(node: Node, graph: Graph, operands: list[str]) -> list[Any]:
    return _activated(helper.make_node("Gemm", operands, [node.name]), node, node.attrs.nonlinear)


def _leaky(node: Node, graph: Graph, operands: list[str]) -> list[Any]:
    return [helper.make_node("LeakyRelu", operands, [node.name], alpha=float(node.attrs.alpha))]


_NODES = {"leaky_relu": _leaky, "conv2d": _conv, "depthwise_conv2d": _conv, "mean": _mean, "dense": _dense,
          "max_pool": _pool("MaxPool"),
          "avg_pool": _pool("AveragePool", count_include_pad=0), "add": _add, "concat": _concat, "reshape": _flatten,
          "resize_nearest": _resize}


def float_onnx(graph: Graph, path: Path) -> str:
    """Write the network without softmax (batch norm folded), NHWC input; its input's name."""
    for step in (fold_batch_norm, fuse_bias, fuse_nonlinear, prune):
        graph = step(graph)
    source = graph.inputs[0]
    nodes = [helper.make_node("Transpose", [source.name], ["nchw"], perm=[0, 3, 1, 2])]
    names, ends = {source.name: "nchw"}, list[Node]()
    weights = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in
               (("zero", 0), ("six", 6), ("twice", [1, 1, 2, 2]))]
    depthwise = {node.inputs[1] for node in graph.nodes if node.op == "depthwise_conv2d"}
    for node in graph.nodes:
        if node.data is not None:
            axes = (2, 3, 0, 1) if node.name in depthwise else (3, 2, 0, 1)
            data = node.data.transpose(axes) if node.data.ndim == 4 else node.data
            weights.append(numpy_helper.from_array(np.ascontiguousarray(data), node.name))
        elif node.op in _NODES:
            nodes += _NODES[node.op](node, graph, [names.get(name, name) for name in node.inputs])
            read = any(graph.by_name[user].op in _NODES for user in graph.users[node.name])
            if node.name in graph.outputs or not read:
                ends.append(node)
    inputs = [helper.make_tensor_value_info(source.name, TensorProto.FLOAT, ["n", *source.shape[1:]])]
    outputs = [helper.make_tensor_value_info(end.name, TensorProto.FLOAT, None) for end in ends]
    model = helper.make_model(helper.make_graph(nodes, "bench", inputs, outputs, weights),
                              opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    save(model, str(path))
    return source.name
