"""Compiled XIR graphs, ours or the vendor's, to quantized graphs (xmodel specification, 3, 4, 6).

Instructions are never decoded: operators, parameters and positions say everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.xir import XGraph, XOp
from dpuflow.ir.graph import Array, Fix, Graph, Node, const
from dpuflow.ir.verify import output_shape, verify
from dpuflow.ops.base import Padding, same_padding
from dpuflow.ops.conv import ConvAttrs
from dpuflow.ops.elementwise import EltwiseAttrs
from dpuflow.ops.movement import ConcatAttrs, PadAttrs, ReshapeAttrs
from dpuflow.ops.pool import PoolAttrs

_NONLINEAR = {"": "none", "NONE": "none", "RELU": "relu", "RELU6": "relu6", "LEAKYRELU": "leaky_relu"}
_NUMPY = {("XINT", 8): np.int8, ("INT", 8): np.int8, ("FLOAT", 32): np.float32, ("INT", 32): np.int32,
          ("FLOAT", 64): np.float64, ("INT", 64): np.int64}


class _Importer:
    def __init__(self, graph: XGraph) -> None:
        self.graph = graph
        self.nodes: dict[str, Node] = {}
        self.alias: dict[str, str] = {}
        self.blobs = _parameter_blobs(graph)

    def operand(self, op: XOp, arg: str) -> Node | None:
        names = op.args.get(arg, ())
        return self.nodes[self.alias.get(names[0], names[0])] if names else None

    def required(self, op: XOp, arg: str) -> Node:
        node = self.operand(op, arg)
        if node is None:
            raise GraphError(f"the operand '{arg}' is missing", where=_where(op))
        return node

    def inputs(self, op: XOp) -> list[Node]:
        return [self.nodes[self.alias.get(name, name)] for name in op.args.get("input", ())]

    def emit(self, op: XOp, kind: str, operands: Iterable[Node], attrs: Any = None) -> None:
        operands = tuple(operands)
        made = Node(op.name, kind, tuple(operand.name for operand in operands), fix=_fix(op),
                    label=str(op.get("dpuflow_layer", "")))
        if attrs is not None:
            made = made.replace(attrs=attrs)
        shape = output_shape(made, {operand.name: operand.shape for operand in operands})
        if shape != op.tensor.dims:
            raise GraphError("recorded output shape and operator differ", where=_where(op), expected=shape,
                             got=op.tensor.dims)
        self.nodes[op.name] = made.replace(shape=shape)


def _where(op: XOp) -> str:
    return f"operator '{op.name}' ({op.type})"


def _fix(op: XOp) -> Fix | None:
    if op.tensor.data_type not in ("XINT", "XUINT"):
        return None
    if "fix_point" not in op.tensor.attrs:
        raise GraphError("a fixed-point tensor without fix_point", where=_where(op))
    pos = op.tensor.attrs["fix_point"].value
    if not isinstance(pos, int) or not -64 <= pos <= 64 or not 2 <= op.tensor.bits <= 16:
        raise GraphError("impossible position or width", where=_where(op), got=f"{pos}, {op.tensor.bits} bits")
    return Fix(pos, op.tensor.bits)


def _parameter_blobs(graph: XGraph) -> dict[str, Mapping[str, bytes]]:
    """For every operator of a DPU subgraph that subgraph's parameter registers."""
    blobs: dict[str, Mapping[str, bytes]] = {}
    for subgraph in graph.dpu_subgraphs:
        registers = subgraph.get("reg_id_to_parameter_value", {})
        for leaf in subgraph.leaves():
            blobs.update(dict.fromkeys(leaf.ops, registers))
    return blobs


def _pair(op: XOp, key: str, default: tuple[int, ...] | None = None) -> tuple[int, int]:
    """A {W, H} list as (height, width)."""
    value = op.get(key, default)
    if not isinstance(value, tuple) or len(value) != 2 or min(value) < 1:
        raise GraphError(f"malformed attribute '{key}'", where=_where(op), got=value, expected="[width, height]")
    return int(value[1]), int(value[0])


def _padding(op: XOp, x: Node, kernel: tuple[int, int], stride: tuple[int, int],
             dilation: tuple[int, int] = (1, 1)) -> Padding:
    mode = op.get("pad_mode", "FLOOR")
    if mode == "SAME":
        return same_padding((x.shape[1], x.shape[2]), kernel, stride, dilation)
    if mode == "VALID":
        return Padding()
    left, right, top, bottom = op.get("pad") or (0, 0, 0, 0)
    if mode == "CEIL":
        bottom += _ceil_extra(x.shape[1] + top + bottom, kernel[0], stride[0], dilation[0])
        right += _ceil_extra(x.shape[2] + left + right, kernel[1], stride[1], dilation[1])
    return Padding(top, bottom, left, right)


def _ceil_extra(size: int, kernel: int, stride: int, dilation: int) -> int:
    return -(size - (kernel - 1) * dilation - 1) % stride


def _data(importer: _Importer, op: XOp) -> None:
    if not op.tensor.dims:
        raise GraphError("an input without a shape", where=_where(op))
    importer.nodes[op.name] = Node(op.name, "input", shape=(1, *op.tensor.dims[1:]), fix=_fix(op))


def constant_bytes(op: XOp, blobs: Mapping[str, Mapping[str, bytes]], size: int) -> bytes:
    """A constant's payload: its own data, or its place in the subgraph's parameter register."""
    own = op.get("data", b"")
    if own:
        return bytes(own)
    attrs = op.tensor.attrs
    if "ddr_addr" not in attrs or "reg_id" not in attrs:
        raise GraphError("a constant without data and without an address", where=_where(op))
    register = f"REG_{attrs['reg_id'].value}"
    blob = blobs.get(op.name, {}).get(register)
    start = attrs["ddr_addr"].value
    if blob is None or not 0 <= start <= len(blob) - size:
        raise GraphError("a constant lies outside its parameter register", where=_where(op), got=f"{register}+{start}",
                         expected=f"{size} bytes within {len(blob) if blob is not None else 0}")
    return bytes(blob[start:start + size])


def _const(importer: _Importer, op: XOp) -> None:
    dtype = _NUMPY.get((op.tensor.data_type, op.tensor.bits))
    if dtype is None:
        raise UnsupportedOp("a constant of an unsupported type", where=_where(op),
                            got=f"{op.tensor.data_type}{op.tensor.bits}")
    count = int(np.prod(op.tensor.dims, dtype=np.int64))
    size = count * np.dtype(dtype).itemsize
    data = constant_bytes(op, importer.blobs, size)
    if len(data) != size:
        raise GraphError("a constant's data do not fit its shape", where=_where(op), expected=f"{size} bytes",
                         got=f"{len(data)} bytes")
    array = np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).astype(dtype).reshape(op.tensor.dims)
    importer.nodes[op.name] = const(op.name, array, _fix(op))


def _alias(importer: _Importer, op: XOp) -> None:
    importer.alias[op.name] = importer.required(op, "input").name


def _weights(importer: _Importer, op: XOp, axes: tuple[int, ...]) -> Node:
    """Weights in this library's axis order, as a constant of its own name."""
    node = importer.required(op, "weights")
    if node.data is None or node.data.ndim != len(axes):
        raise GraphError("the weights are not a 4-D constant", where=_where(op), got=node.shape)
    name = f"{node.name}/hwio"
    if name not in importer.nodes:
        importer.nodes[name] = const(name, np.ascontiguousarray(node.data.transpose(axes)), node.fix)
    return importer.nodes[name]


def _nonlinear(op: XOp) -> str:
    name = op.get("nonlinear", "NONE")
    if name not in _NONLINEAR:
        raise UnsupportedOp("unsupported nonlinearity", where=_where(op), got=name,
                            expected=", ".join(sorted(filter(None, _NONLINEAR))))
    return _NONLINEAR[name]


def _conv(kind: str, axes: tuple[int, ...]) -> Converter:
    def convert(importer: _Importer, op: XOp) -> None:
        x, weights = importer.required(op, "input"), _weights(importer, op, axes)
        kernel, stride = (weights.shape[0], weights.shape[1]), _pair(op, "stride")
        dilation = _pair(op, "dilation", (1, 1))
        if _pair(op, "kernel") != kernel:
            raise GraphError("kernel and weights differ", where=_where(op), expected=kernel, got=_pair(op, "kernel"))
        groups = int(op.get("group", 1)) if kind == "conv2d" else 1
        attrs = ConvAttrs(stride, _padding(op, x, kernel, stride, dilation), dilation, groups, _nonlinear(op))
        bias = importer.operand(op, "bias")
        importer.emit(op, kind, (x, weights, *([bias] if bias else [])), attrs)
    return convert


def _pool(importer: _Importer, op: XOp) -> None:
    x, kernel, stride = importer.required(op, "input"), _pair(op, "kernel"), _pair(op, "stride")
    kinds = {"MAX": "max_pool", "AVG": "avg_pool"}
    if op.get("type") not in kinds:
        raise UnsupportedOp("unsupported pool", where=_where(op), got=op.get("type"), expected="MAX or AVG")
    importer.emit(op, kinds[op.get("type")], (x,), PoolAttrs(kernel, stride, _padding(op, x, kernel, stride)))


def _eltwise(importer: _Importer, op: XOp) -> None:
    kinds = {"ADD": "add", "MUL": "mul"}
    kind = op.get("type", "ADD")
    if kind not in kinds:
        raise UnsupportedOp("unsupported eltwise type", where=_where(op), got=kind, expected="ADD or MUL")
    importer.emit(op, kinds[kind], importer.inputs(op), EltwiseAttrs(_nonlinear(op)))


def _reshape(importer: _Importer, op: XOp) -> None:
    importer.emit(op, "reshape", (importer.required(op, "input"),), ReshapeAttrs(tuple(op.tensor.dims[1:])))


def _concat(importer: _Importer, op: XOp) -> None:
    importer.emit(op, "concat", importer.inputs(op), ConcatAttrs(int(op.get("axis", -1)) % len(op.tensor.dims)))


def _pad(importer: _Importer, op: XOp) -> None:
    values = op.get("paddings", ())
    if op.get("mode", "CONSTANT") != "CONSTANT" or any(op.get("constant_values") or ()):
        raise UnsupportedOp("only constant padding with zeros is supported", where=_where(op), got=op.get("mode"))
    pads = tuple((values[at], values[at + 1]) for at in range(0, len(values), 2))
    importer.emit(op, "pad", (importer.required(op, "input"),), PadAttrs(pads))


def _unary(kind: str) -> Converter:
    def convert(importer: _Importer, op: XOp) -> None:
        importer.emit(op, kind, (importer.required(op, "input"),))
    return convert


Converter = Callable[[_Importer, XOp], None]

CONVERTERS: Mapping[str, Converter] = {
    "data": _data,
    "data-fix": _data,
    "const": _const,
    "const-fix": _const,
    "upload": _alias,
    "download": _alias,
    "identity": _unary("identity"),
    "fix2float": _unary("identity"),
    "float2fix": _unary("float2fix"),
    "conv2d-fix": _conv("conv2d", (1, 2, 3, 0)),
    "depthwise-conv2d-fix": _conv("depthwise_conv2d", (1, 2, 3, 0)),
    "pool-fix": _pool,
    "eltwise-fix": _eltwise,
    "concat-fix": _concat,
    "reshape-fix": _reshape,
    "pad-fix": _pad,
    "hard-sigmoid-fix": _unary("hard_sigmoid"),
    "softmax": _unary("softmax"),
}


def _outputs(graph: XGraph) -> tuple[str, ...]:
    named = graph.attrs["return_ops"].value if "return_ops" in graph.attrs else ()
    if named and all(name in graph.by_name for name in named):
        return tuple(named)
    read = {name for op in graph.ops for names in op.args.values() for name in names}
    return tuple(op.name for op in graph.ops if op.name not in read)


def import_xir(graph: XGraph) -> Graph:
    """The quantized graph of a compiled xmodel; UnsupportedOp names custom and unknown operators."""
    importer = _Importer(graph)
    for op in graph.ops:
        if op.type not in CONVERTERS:
            raise UnsupportedOp(f"unsupported operator type '{op.type}'", where=f"operator '{op.name}'",
                                remedy="a custom operator runs on the CPU and must be supplied as a function")
        try:
            CONVERTERS[op.type](importer, op)
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise GraphError(f"malformed operator ({error})", where=_where(op)) from None
    outputs = tuple(importer.alias.get(name, name) for name in _outputs(graph))
    return verify(_pruned(Graph(graph.name, tuple(importer.nodes.values()), outputs)))


def _pruned(graph: Graph) -> Graph:
    """Without constants that nobody reads in this library's form."""
    return graph.replace(node for node in graph.nodes
                         if node.data is None or graph.users[node.name] or node.name in graph.outputs)


def parameter_arrays(graph: XGraph) -> dict[str, Array]:
    """Every constant of the file by operator name."""
    importer = _Importer(graph)
    for op in graph.ops:
        if op.type in ("const", "const-fix"):
            _const(importer, op)
    return {name: node.data for name, node in importer.nodes.items() if node.data is not None}
