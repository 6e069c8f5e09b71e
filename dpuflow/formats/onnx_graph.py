"""An ONNX file as immutable data: nodes in order, initializers as arrays, inputs with their shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpuflow.errors import FormatError, GraphError, UnsupportedOp
from dpuflow.formats.onnx_proto import ModelProto
from dpuflow.formats.onnx_tensor import decode_tensor
from dpuflow.formats.protobuf import parse
from dpuflow.ir.graph import Array

OLDEST_OPSET = 7
STANDARD = ("", "ai.onnx")
# Domains whose Q/DQ operators mean the same as the standard ones.
QDQ_DOMAINS = ("com.microsoft", "com.amd.quark", "com.vai.quantize")

_FLOAT, _INT, _STRING, _TENSOR, _GRAPH, _FLOATS, _INTS, _STRINGS = 1, 2, 3, 4, 5, 6, 7, 8


@dataclass(frozen=True)
class OnnxNode:
    """One operator with its attributes as Python values."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any]
    domain: str = ""

    @property
    def where(self) -> str:
        """How messages name it."""
        return f"node '{self.name or ', '.join(self.outputs)}' ({self.op})"


@dataclass(frozen=True)
class OnnxGraph:
    """A network: shapes hold None where the file gives no number."""

    name: str
    nodes: tuple[OnnxNode, ...]
    initializers: Mapping[str, Array]
    inputs: Mapping[str, tuple[int | None, ...] | None]
    outputs: tuple[str, ...]
    opset: int
    producer: str
    source: str


def parse_onnx(data: bytes, source: Path | str = "model.onnx") -> OnnxGraph:
    """The network of an ONNX file; FormatError or GraphError for bytes that are none."""
    path = Path(source)
    message = parse(ModelProto, data, source)
    graph = message.graph
    if not graph.node or not graph.output:
        raise FormatError("the file holds no network", where=source, expected="an ONNX model")
    if message.functions or graph.sparse_initializer:
        raise UnsupportedOp("the model holds " + ("functions" if message.functions else "sparse tensors"), where=source,
                            remedy="export it inlined and dense")
    opset = max((int(entry.version) for entry in message.opset_import if entry.domain in STANDARD), default=0)
    if opset < OLDEST_OPSET:
        raise FormatError("an opset that is too old", where=source, got=opset, expected=f">= {OLDEST_OPSET}",
                          remedy="export the model again, or convert it with onnx.version_converter")
    initializers = {}
    for tensor in graph.initializer:
        if not tensor.name or tensor.name in initializers:
            raise GraphError("an initializer without a name or with one that is taken", where=source, got=tensor.name)
        initializers[tensor.name] = decode_tensor(tensor, f"{source}, initializer '{tensor.name}'", path.parent)
    inputs = {entry.name: _shape(entry) for entry in graph.input if entry.name not in initializers}
    nodes = tuple(_node(node, source, path.parent) for node in graph.node)
    result = OnnxGraph(graph.name or path.stem, nodes, initializers, inputs,
                       tuple(entry.name for entry in graph.output), opset, message.producer_name, str(source))
    _check(result)
    return result


def _shape(entry: Any) -> tuple[int | None, ...] | None:
    tensor = entry.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(int(dim.dim_value) if dim.WhichOneof("value") == "dim_value" and dim.dim_value > 0 else None
                 for dim in tensor.shape.dim)


def _node(message: Any, source: object, folder: Path) -> OnnxNode:
    where = f"{source}, node '{message.name}' ({message.op_type})"
    attrs = {attribute.name: _attribute(attribute, where, folder) for attribute in message.attribute}
    domain = "" if message.domain in (*STANDARD, *QDQ_DOMAINS) else message.domain
    return OnnxNode(message.name, message.op_type, tuple(message.input), tuple(message.output), attrs, domain)


def _attribute(message: Any, where: str, folder: Path) -> Any:
    kind = int(message.type) or _guess(message)
    if kind == _TENSOR:
        return decode_tensor(message.t, where, folder)
    simple = {_FLOAT: message.f, _INT: int(message.i), _STRING: message.s, _FLOATS: tuple(message.floats),
              _INTS: tuple(int(value) for value in message.ints), _STRINGS: tuple(message.strings)}
    return simple.get(kind)


def _guess(message: Any) -> int:
    """The type of an attribute written before types were recorded."""
    for kind, name in ((_INTS, "ints"), (_FLOATS, "floats"), (_STRING, "s"), (_FLOAT, "f")):
        if getattr(message, name):
            return kind
    return _INT


def _check(graph: OnnxGraph) -> None:
    known = {"", *graph.initializers, *graph.inputs}
    for node in graph.nodes:
        for name in node.inputs:
            if name not in known:
                raise GraphError("reads a tensor that nothing before it yields", where=node.where, got=name,
                                 remedy="the file is damaged or its nodes are out of order")
        for name in node.outputs:
            if name and name in known:
                raise GraphError("yields a tensor that is there already", where=node.where, got=name)
        known.update(node.outputs)
    missing = [name for name in graph.outputs if name not in known]
    if missing:
        raise GraphError("an output that nothing yields", where=graph.source, got=missing[0])
