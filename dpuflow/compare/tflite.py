"""A quantized network against a TFLite int8 file of the same network, for comparison only.

TFLite has a scale per tensor or channel and zero points where the DPU has one position, so the two
differ nearly everywhere; the comparison says by how much, in real units.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.compare.differences import Comparison, TensorDifference, compare_values, run_graph
from dpuflow.compare.match import has_parameters
from dpuflow.errors import DataError
from dpuflow.formats.tflite import open_tflite
from dpuflow.ir.graph import Array, Graph, Node
from dpuflow.model import Model

_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
_NOTE = ("TFLite rounds with scales of its own: values are compared in real units, and differences are expected",)


def _real(values: Array, details: Mapping[str, Any]) -> Array:
    """A tensor in real units, by its scales and zero points."""
    quantization = details["quantization_parameters"]
    scales, zeros, axis = quantization["scales"], quantization["zero_points"], quantization["quantized_dimension"]
    if not len(scales):
        return values.astype(np.float32)
    shape = [1] * values.ndim
    if len(scales) > 1:
        shape[axis] = -1
    real: Array = (values.astype(np.float32) - zeros.reshape(shape).astype(np.float32)) * scales.reshape(shape)
    return real


def _layers(interpreter: Any) -> list[tuple[str, Array]]:
    """(name, weights in real units) of every weighted operator, in order; outputs come first."""
    details = {row["index"]: row for row in interpreter.get_tensor_details()}
    made = []
    for op in interpreter._get_ops_details():
        if op["op_name"] in _WEIGHTED:
            index = op["inputs"][1]
            name = details[op["outputs"][0]]["name"]
            made.append((name, _real(interpreter.get_tensor(index), details[index])))
    return made


def _ours(graph: Graph, node: Node) -> Array:
    """A layer's weights in TFLite's order of axes, in real units."""
    weights = graph.by_name[node.inputs[1]]
    assert weights.data is not None
    data = weights.data if weights.fix is None else fixed.dequantize(weights.data, weights.fix.pos)
    if node.op == "depthwise_conv2d":
        h, w, c, m = data.shape
        ordered: Array = data.reshape(1, h, w, c * m)
    else:
        ordered = np.moveaxis(data, -1, 0)
    return ordered


def _outputs(interpreter: Any, x: Array) -> list[Array]:
    """Each output in real units, image by image."""
    (entry,) = interpreter.get_input_details()
    scales, zeros = (entry["quantization_parameters"][key] for key in ("scales", "zero_points"))
    collected: list[list[Array]] = [[] for _ in interpreter.get_output_details()]
    for image in x:
        value = image[None].astype(np.float32)
        if len(scales):
            value = np.clip(fixed.half_up(value / scales[0]) + zeros[0], -128, 127)
        interpreter.set_tensor(entry["index"], np.asarray(value, dtype=entry["dtype"]))
        interpreter.invoke()
        for values, row in zip(collected, interpreter.get_output_details(), strict=True):
            values.append(_real(interpreter.get_tensor(row["index"]), row))
    return [np.concatenate(values) for values in collected]


def compare_with_tflite(model: Model, path: Path, x: Array | Mapping[str, Array] | None) -> Comparison:
    """Weights layer by layer in order, and with an input the outputs; DataError for several inputs."""
    interpreter, graph = open_tflite(path), model.graph
    theirs = _layers(interpreter)
    ours = [node for node in graph.nodes if node.data is None and has_parameters(graph, node)
            and len(node.inputs) > 1 and graph.by_name[node.inputs[1]].data is not None]
    structure = [] if len(ours) == len(theirs) else [f"{len(ours)} layers with weights against {len(theirs)}"]
    found = [compare_values(node.name, name, (_ours(graph, node), None), (weights, None))
             for node, (name, weights) in zip(ours, theirs, strict=False)]
    bits: list[TensorDifference] | None = None
    if x is not None:
        if isinstance(x, Mapping) or len(graph.inputs) != 1 or len(interpreter.get_input_details()) != 1:
            raise DataError("a comparison with TFLite takes one input", where=path)
        mine = run_graph(graph, x, list(graph.outputs))
        names = [row["name"] for row in interpreter.get_output_details()]
        pairs = zip(graph.outputs, names, _outputs(interpreter, x), strict=False)
        bits = [row for name, other, values in pairs if (row := compare_values(
            name, other, (mine[name], None), (values, None)))]
    return Comparison(model.source, str(path), (model.kind, "TFLite file, for comparison only"),
                      structure=tuple(structure), parameters=tuple(row for row in found if row),
                      compared_parameters=min(len(ours), len(theirs)), compared_tensors=len(graph.outputs),
                      bits=None if bits is None else tuple(bits), notes=_NOTE)
