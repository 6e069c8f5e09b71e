"""XIR graphs as plain immutable data, and their ``.xmodel`` files (xmodel specification, 1 and 2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dpuflow.errors import FormatError, GraphError
from dpuflow.files import atomic_path, read_bytes
from dpuflow.formats import xir_proto
from dpuflow.formats.detach import detach
from dpuflow.formats.protobuf import parse, serialize

# Tensor.data_type by number (xmodel specification, section 1).
DATA_TYPES = ("INT", "UINT", "XINT", "XUINT", "FLOAT", "BFLOAT", "UNKNOWN")


Payloads = Sequence[memoryview]


@dataclass(frozen=True)
class XValue:
    """An attribute with its exact XIR type, such as ("int32_vec", (3, 3))."""

    kind: str
    value: Any


@dataclass(frozen=True)
class XTensor:
    """An operator's output: name, dimensions, type and attributes."""

    name: str
    dims: tuple[int, ...]
    data_type: str
    bits: int
    attrs: Mapping[str, XValue] = field(default_factory=dict)


@dataclass(frozen=True)
class XOp:
    """One operator; ``args`` name operators, not tensors."""

    name: str
    type: str
    args: Mapping[str, tuple[str, ...]]
    attrs: Mapping[str, XValue]
    tensor: XTensor

    def get(self, key: str, default: Any = None) -> Any:
        """An attribute's value without its type."""
        return self.attrs[key].value if key in self.attrs else default


@dataclass(frozen=True)
class XSubgraph:
    """A subgraph: either operators (a leaf) or children."""

    name: str
    ops: tuple[str, ...] = ()
    attrs: Mapping[str, XValue] = field(default_factory=dict)
    children: tuple[XSubgraph, ...] = ()

    def get(self, key: str, default: Any = None) -> Any:
        """An attribute's value without its type."""
        return self.attrs[key].value if key in self.attrs else default

    def leaves(self) -> Iterator[XSubgraph]:
        """All leaves below, this one included."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()


@dataclass(frozen=True)
class XGraph:
    """A whole file."""

    name: str
    ops: tuple[XOp, ...]
    root: XSubgraph | None = None
    attrs: Mapping[str, XValue] = field(default_factory=dict)

    @cached_property
    def by_name(self) -> Mapping[str, XOp]:
        """Every operator under its name."""
        return {op.name: op for op in self.ops}

    @property
    def dpu_subgraphs(self) -> tuple[XSubgraph, ...]:
        """The children of the root that run on the DPU."""
        children = self.root.children if self.root else ()
        return tuple(child for child in children if str(child.get("device", "")).upper() == "DPU")


def _payload(message: Any, payloads: Payloads) -> bytes | memoryview:
    """A payload: the message's own bytes, or the view of the file that was cut out before parsing."""
    if not message.number:
        own: bytes = message.value
        return own
    if message.number > len(payloads):
        raise FormatError("a payload that is not in the file", got=message.number, expected=f"up to {len(payloads)}")
    cut: memoryview = payloads[message.number - 1]
    return cut


def _decode(message: Any, payloads: Payloads) -> XValue:
    kind = message.WhichOneof("value")
    if kind is None:
        return XValue("none", None)
    name, value = kind.removesuffix("_value"), getattr(message, kind)
    if name == "bytes":
        return XValue(name, _payload(value, payloads))
    if name == "bytes_vec":
        return XValue(name, tuple(_payload(item, payloads) for item in value.value))
    if name.startswith("map_"):
        return XValue(name, {key: _map_item(name, value.value[key], payloads) for key in sorted(value.value)})
    if name.endswith("_vec"):
        return XValue(name, tuple(value.value))
    return XValue(name, value)


def _map_item(name: str, item: Any, payloads: Payloads) -> Any:
    if name == "map_string_2_bytes":
        return _payload(item, payloads)
    return tuple(item.value) if name.endswith("_vec") else item


def _encode(value: XValue, message: Any) -> None:
    name = f"{value.kind}_value"
    if value.kind == "none":
        return
    if value.kind == "bytes":
        message.bytes_value.SetInParent()
        message.bytes_value.value = bytes(value.value)
    elif value.kind.startswith("map_"):
        getattr(message, name).SetInParent()
        _encode_map(value, getattr(message, name).value)
    elif value.kind == "bytes_vec":
        message.bytes_vec_value.SetInParent()
        for item in value.value:
            message.bytes_vec_value.value.add(value=bytes(item))
    elif value.kind.endswith("_vec"):
        getattr(message, name).SetInParent()
        getattr(message, name).value.extend(value.value)
    else:
        setattr(message, name, value.value)


def _encode_map(value: XValue, target: Any) -> None:
    for key, item in value.value.items():
        if value.kind == "map_string_2_bytes":
            target[key].value = bytes(item)
        elif value.kind.endswith("_vec"):
            target[key].SetInParent()
            target[key].value.extend(item)
        else:
            target[key] = item


def _attrs(entries: Any, payloads: Payloads) -> dict[str, XValue]:
    return {key: _decode(entries[key], payloads) for key in sorted(entries)}


def _tensor(message: Any, payloads: Payloads) -> XTensor:
    number = message.data_type
    kind = DATA_TYPES[number] if 0 <= number < len(DATA_TYPES) else "UNKNOWN"
    return XTensor(message.tensor_name, tuple(message.tensor_dim), kind, message.tensor_bit_width,
                   _attrs(message.tensor_attr, payloads))


def _op(message: Any, payloads: Payloads) -> XOp:
    args = {arg.arg_name: tuple(arg.arg_ops) for arg in message.args}
    if len(args) != len(message.args):
        raise GraphError("two arguments of an operator have the same name", where=f"operator '{message.op_name}'",
                         got=", ".join(arg.arg_name for arg in message.args))
    return XOp(message.op_name, message.op_type, args, _attrs(message.op_attr, payloads),
               _tensor(message.output_tensor, payloads))


def _subgraph(message: Any, payloads: Payloads) -> XSubgraph:
    return XSubgraph(message.subgraph_name, tuple(message.op_name), _attrs(message.subg_attr, payloads),
                     tuple(_subgraph(child, payloads) for child in message.subg_child))


def check(graph: XGraph, where: object) -> XGraph:
    """GraphError for what a loader would crash on: order, duplicate names, unknown operands."""
    seen: set[str] = set()
    for op in graph.ops:
        if op.name in seen:
            raise GraphError("two operators have the same name", where=where, got=op.name)
        for operand in (name for names in op.args.values() for name in names):
            if operand not in seen:
                raise GraphError(f"operator '{op.name}' reads one that does not stand before it", where=where,
                                 got=operand, remedy="the operators must be in topological order")
        seen.add(op.name)
    if graph.root is not None:
        _check_subgraph(graph.root, seen, where)
    return graph


def _check_subgraph(subgraph: XSubgraph, operators: set[str], where: object) -> None:
    if subgraph.ops and subgraph.children:
        raise GraphError(f"subgraph '{subgraph.name}' has operators and children", where=where)
    for name in subgraph.ops:
        if name not in operators:
            raise GraphError(f"subgraph '{subgraph.name}' holds an operator that is not there", where=where, got=name)
    for child in subgraph.children:
        _check_subgraph(child, operators, where)


def parse_xmodel(data: bytes, where: object = "xmodel") -> XGraph:
    """An xmodel's bytes as an XIR graph; FormatError or GraphError if it is none.

    Large payloads (weights, instructions) are views of ``data``, never copies.
    """
    small, payloads = detach(data, xir_proto.SCHEMA, "Graph")
    message = parse(xir_proto.Graph, small, where)
    if not message.op_node:
        raise FormatError("the file holds no operators", where=where, expected="an XIR .xmodel")
    root = _subgraph(message.subg_root, payloads) if message.HasField("subg_root") else None
    graph = XGraph(message.graph_name, tuple(_op(op, payloads) for op in message.op_node), root,
                   _attrs(message.graph_attr, payloads))
    return check(graph, where)


def read_xmodel(path: Path | str) -> XGraph:
    """Read an ``.xmodel`` file."""
    return parse_xmodel(read_bytes(path), path)


def _fill_attrs(target: Any, attrs: Mapping[str, XValue]) -> None:
    for key, value in attrs.items():
        _encode(value, target[key])


def _fill_op(message: Any, op: XOp) -> None:
    message.op_name, message.op_type = op.name, op.type
    _fill_attrs(message.op_attr, op.attrs)
    for name, operands in op.args.items():
        message.args.add(arg_name=name, arg_ops=operands)
    tensor = message.output_tensor
    tensor.tensor_name, tensor.data_type = op.tensor.name, DATA_TYPES.index(op.tensor.data_type)
    tensor.tensor_bit_width = op.tensor.bits
    tensor.tensor_dim.extend(op.tensor.dims)
    _fill_attrs(tensor.tensor_attr, op.tensor.attrs)


def _fill_subgraph(message: Any, subgraph: XSubgraph) -> None:
    message.subgraph_name = subgraph.name
    message.op_name.extend(subgraph.ops)
    _fill_attrs(message.subg_attr, subgraph.attrs)
    for child in subgraph.children:
        _fill_subgraph(message.subg_child.add(), child)


def serialize_xmodel(graph: XGraph) -> bytes:
    """An XIR graph as bytes; equal graphs give equal bytes."""
    message = xir_proto.Graph(graph_name=graph.name)
    for op in check(graph, graph.name).ops:
        _fill_op(message.op_node.add(), op)
    if graph.root is not None:
        _fill_subgraph(message.subg_root, graph.root)
    _fill_attrs(message.graph_attr, graph.attrs)
    return serialize(message)


def write_xmodel(graph: XGraph, path: Path | str) -> None:
    """Write an ``.xmodel`` file, as a whole or not at all."""
    data = serialize_xmodel(graph)
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(data)
