"""What a frozen graph holds, in the vendor's words (quantizer specification, section 10)."""

from __future__ import annotations

from collections import Counter

from dpuflow.formats.graphdef import TFGraph, TFNode
from dpuflow.formats.tf_values import DType, TShape

_TYPE_NAMES = {1: "float", 2: "double", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 9: "int64",
               10: "bool", 19: "half"}


def _shape(node: TFNode) -> str:
    shape = node.get("shape")
    if not isinstance(shape, TShape):
        return "None"
    if shape.dims is None:
        return "<unknown>"
    return "[" + ",".join("?" if size < 0 else str(size) for size in shape.dims) + "]"


def _input(node: TFNode) -> str:
    dtype = node.get("dtype", DType(0))
    number = dtype.number if isinstance(dtype, DType) else 0
    return f"(name={node.name}, type={_TYPE_NAMES.get(number, 'unknown')}({number}), shape={_shape(node)}) "


def inspect_text(graph: TFGraph) -> str:
    """Operator counts, possible inputs and possible outputs."""
    counts = Counter(node.op for node in graph.nodes)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    inputs, outputs = graph.placeholders, graph.sinks
    lines = ["Op types used: " + ", ".join(f"{count} {op}" for op, count in ordered), ""]
    lines.append(f"Found {len(inputs)} possible inputs: " + "".join(map(_input, inputs))
                 if inputs else "No inputs found.")
    lines.append(f"Found {len(outputs)} possible outputs: " + "".join(
        f"(name={node.name}, op={node.op}) " for node in outputs) if outputs else "No outputs found.")
    return "\n".join(lines) + "\n"
