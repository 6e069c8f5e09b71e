"""Descriptions of TFLite files: scales and zero points, where the DPU has one position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dpuflow.artifact import file_digest
from dpuflow.describe.description import Description, Layer
from dpuflow.formats.tflite import open_tflite

_WARNING = ("TFLite rounds with scales and zero points of its own: this file can be looked at and compared with "
            "(`dpuflow diff`), but neither emulated nor compiled; bring the float model instead")


def _notes(details: Mapping[str, Any]) -> dict[str, Any]:
    """A tensor's type, scale and zero point; how many scales if every channel has its own."""
    quantization = details["quantization_parameters"]
    scales, zeros = quantization["scales"], quantization["zero_points"]
    notes: dict[str, Any] = {"dtype": details["dtype"].__name__}
    if len(scales) == 1:
        notes |= {"scale": float(scales[0]), "zero_point": int(zeros[0])}
    elif len(scales):
        notes["scales"] = len(scales)
    return notes


def _constants(interpreter: Any, tensors: Mapping[int, Mapping[str, Any]]) -> set[int]:
    """Tensors that no operator makes and that are no inputs of the network."""
    made = {index for op in interpreter._get_ops_details() for index in op["outputs"]}
    return set(tensors) - made - {row["index"] for row in interpreter.get_input_details()}


def describe_tflite(path: Path) -> Description:
    """Operators in order with their outputs' scales; FormatError for what is no TFLite file."""
    interpreter = open_tflite(path)
    tensors = {row["index"]: row for row in interpreter.get_tensor_details()}
    constants, operators = _constants(interpreter, tensors), interpreter._get_ops_details()
    layers = []
    for op in operators:
        made, read = tensors[op["outputs"][0]], [index for index in op["inputs"] if index in tensors]
        layers.append(Layer(
            made["name"], op["op_name"], tuple(tensors[index]["name"] for index in read if index not in constants),
            tuple(int(size) for size in made["shape"]), notes=_notes(made),
            parameters=sum(int(tensors[index]["shape"].prod()) for index in read if index in constants)))
    facts: dict[str, Any] = {
        "inputs": tuple(f"{row['name']} {'x'.join(map(str, row['shape']))}" for row in interpreter.get_input_details()),
        "operators in the file": dict(Counter(op["op_name"] for op in operators).most_common())}
    return Description(
        str(path), "TFLite file, for comparison only", file_digest(path), path.stat().st_size,
        any("int8" in str(layer.notes["dtype"]) for layer in layers), sum(layer.parameters for layer in layers),
        facts=facts, layers=tuple(layers), outputs=tuple(row["name"] for row in interpreter.get_output_details()),
        warnings=(_WARNING,))
