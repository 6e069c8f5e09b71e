"""Damaged xmodels and DNNDK files for ``scripts/fuzz.py``: valid ones to start from, and changes to them."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dpuflow.formats import xir_proto
from dpuflow.formats.xir import parse_xmodel, serialize_xmodel
from dpuflow.formats.xir_check import broken_rules
from dpuflow.formats.xir_defs import XIR_OPS
from dpuflow.ir.graph import Fix, Graph, Node, const

Mutator = Callable[[bytes, random.Random], bytes]
_INTEGERS = (0, 1, -1, 2, 3, 7, 8, 127, 255, 4096, 1 << 20, (1 << 31) - 1, -(1 << 31))
_SIZES = (0, 1, 2, 3, 7, 64, 1 << 16, 1 << 31, (1 << 32) - 1)
_TEXTS = ("", "RELU", "LEAKYRELU", "SAME", "CEIL", "AVG", "MAX", "DPU_ROUND", "XINT8", "DPU", "CPU", "absent")
_MOST_PIXELS = 1 << 14  # larger networks are not run


def _network() -> Graph:
    """A small network with most operators of the compiler."""
    from dpuflow.ir.verify import infer_shapes
    from dpuflow.ops.conv import ConvAttrs, DenseAttrs
    from dpuflow.ops.elementwise import EltwiseAttrs
    from dpuflow.ops.movement import ConcatAttrs, ReshapeAttrs
    from dpuflow.ops.pool import MeanAttrs, PoolAttrs

    rng = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> Node:
        return const(name, rng.integers(-128, 128, shape).astype(np.int8), Fix(7))

    nodes = (
        Node("x", "input", shape=(1, 6, 6, 3), fix=Fix(5)), weights("w1", 3, 3, 3, 4), weights("b1", 4),
        Node("c1", "conv2d", ("x", "w1", "b1"), ConvAttrs(nonlinear="relu"), fix=Fix(3)),
        weights("w2", 1, 1, 4, 4), Node("c2", "conv2d", ("c1", "w2"), ConvAttrs(nonlinear="leaky_relu"), fix=Fix(3)),
        Node("s", "add", ("c1", "c2"), EltwiseAttrs("relu"), fix=Fix(2)),
        weights("w3", 3, 3, 4, 1),
        Node("d", "depthwise_conv2d", ("s", "w3"), ConvAttrs(), fix=Fix(2)),
        Node("p", "max_pool", ("s",), PoolAttrs((2, 2), (1, 1)), fix=Fix(2)),
        Node("a", "avg_pool", ("p",), PoolAttrs((2, 2)), fix=Fix(2)),
        Node("k", "concat", ("d", "a"), ConcatAttrs(3), fix=Fix(2)),
        Node("m", "mean", ("k",), MeanAttrs(True), fix=Fix(4)), Node("h", "hard_sigmoid", ("m",), fix=Fix(7)),
        Node("f", "reshape", ("h",), ReshapeAttrs((8,)), fix=Fix(7)), weights("w4", 8, 3),
        Node("y", "dense", ("f", "w4"), DenseAttrs(), fix=Fix(4)), Node("out", "softmax", ("y",)))
    return infer_shapes(Graph("fuzz", nodes, ("out", "y")))


def seeds() -> list[bytes]:
    """One network as a quantized file and compiled for three cores."""
    from dpuflow.compiler.driver import compile_graph
    from dpuflow.compiler.quantized_xmodel import to_quantized_xir
    from dpuflow.compiler.xmodel import to_xir
    from dpuflow.target.select import find_target

    graph = _network()
    compiled = [serialize_xmodel(to_xir(compile_graph(graph, find_target(target), "fuzz")))
                for target in ("zedboard", "DPUCZDX8G_ISA1_B4096", "DPUCZDX8G_ISA0_B512_MIN")]
    return [serialize_xmodel(to_quantized_xir(graph)), *compiled]


def read(data: bytes) -> None:
    """Check, import, run and write an xmodel again."""
    from dpuflow.engines.reference import ReferenceEngine
    from dpuflow.model import model_from_xir

    graph = parse_xmodel(data)
    broken_rules(graph)
    network = model_from_xir(graph, "fuzz").graph
    if max((int(np.prod(node.shape, dtype=object)) for node in network.nodes), default=0) <= _MOST_PIXELS:
        ReferenceEngine(network).run({node.name: np.zeros(node.shape, np.float32) for node in network.inputs})
    again = serialize_xmodel(graph)
    assert serialize_xmodel(parse_xmodel(again)) == again


def _change_value(rng: random.Random, value: Any) -> None:
    """Another number, text or length; sometimes another type."""
    kind = value.WhichOneof("value") or "int32_value"
    if rng.random() < 0.15:
        kind = rng.choice(("int32_value", "string_value", "bool_value", "int32_vec_value", "float_value"))
    if kind in ("int32_value", "int64_value"):
        setattr(value, kind, rng.choice(_INTEGERS))
    elif kind in ("uint32_value", "uint64_value"):
        setattr(value, kind, rng.choice(_SIZES))
    elif kind == "string_value":
        value.string_value = rng.choice(_TEXTS)
    elif kind == "bool_value":
        value.bool_value = not value.bool_value
    elif kind == "int32_vec_value":
        numbers = list(value.int32_vec_value.value)[:rng.choice((0, 1, 2, 3, 9))]
        value.int32_vec_value.value[:] = [rng.choice(_INTEGERS) if rng.random() < 0.5 else old for old in numbers]
    elif kind == "bytes_value":
        value.bytes_value.value = value.bytes_value.value[:rng.randrange(len(value.bytes_value.value) + 1)]
    elif kind == "map_string_2_bytes_value":
        for key in list(value.map_string_2_bytes_value.value):
            value.map_string_2_bytes_value.value[key].value = b"\x01" * rng.choice((0, 3, 100))
    else:
        value.float_value = rng.choice((0.0, 0.1, 1e30, float("nan"), float("inf")))


def _change_attrs(rng: random.Random, attrs: Any) -> None:
    if attrs and rng.random() < 0.9:
        key = rng.choice(sorted(attrs))
        if rng.random() < 0.15:
            del attrs[key]
        else:
            _change_value(rng, attrs[key])


def _change_operator(rng: random.Random, message: Any, op: Any) -> None:
    names = [other.op_name for other in message.op_node]
    choice = rng.randrange(9)
    if choice == 0 and op.args:
        arg = rng.choice(op.args)
        arg.arg_ops[:] = [rng.choice([*names, "absent"]) for _ in range(rng.choice((0, 1, 1, 2, 3)))]
    elif choice == 1:
        op.op_type = rng.choice([*XIR_OPS, "custom"])
    elif choice == 2:
        op.op_name = rng.choice([*names, ""])
    elif choice == 3:
        del message.op_node[list(message.op_node).index(op)]
    elif choice == 4:
        message.op_node.add().CopyFrom(op)
    elif choice == 5 and op.output_tensor.tensor_dim:
        op.output_tensor.tensor_dim[rng.randrange(len(op.output_tensor.tensor_dim))] = rng.choice(_SIZES)
    elif choice == 6:
        op.output_tensor.data_type = rng.randrange(-1, 9)
    elif choice == 7:
        _change_attrs(rng, op.output_tensor.tensor_attr)
    else:
        _change_attrs(rng, op.op_attr)


def _change_subgraph(rng: random.Random, subgraph: Any) -> None:
    while subgraph.subg_child and rng.random() < 0.7:
        subgraph = rng.choice(subgraph.subg_child)
    if rng.random() < 0.3:
        subgraph.op_name.append(rng.choice(_TEXTS))
    else:
        _change_attrs(rng, subgraph.subg_attr)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, cut or inserted."""
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(changed) + 1)
        changed[at:at + rng.randrange(3)] = rng.choice((b"", b"\xff", b"\xff\xff\xff\x7f", bytes([rng.randrange(256)])))
    return bytes(changed)


def mutator() -> Mutator:
    """Mostly by the messages, sometimes by the bytes."""
    def mutate(data: bytes, rng: random.Random) -> bytes:
        message = xir_proto.Graph()
        try:
            message.MergeFromString(data)
        except Exception:  # not a message any more
            return damaged(data, rng)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            if message.op_node and rng.random() < 0.85:
                _change_operator(rng, message, rng.choice(message.op_node))
            elif message.HasField("subg_root"):
                _change_subgraph(rng, message.subg_root)
        made: bytes = message.SerializeToString(deterministic=True)
        return damaged(made, rng) if rng.random() < 0.1 else made
    return mutate


# -- DNNDK files --------------------------------------------------------------------------------------------

def elf_seeds() -> list[bytes]:
    """Files of both classes, written by the tests' builder from the documented layout."""
    root = Path(__file__).resolve().parent.parent / "tests"
    sys.path += [str(root), str(root / "board")]
    from formats.elf_networks import chain, elf_of

    return [elf_of(chain(0)), elf_of(chain(1, 3), 64), elf_of(chain(2, head="mean"))]


def read_elf(data: bytes) -> None:
    """Every table, the parameters as arrays, and the network of a kernel, run if it is small."""
    from dpuedge import elf
    from dpuflow.engines.reference import ReferenceEngine
    from dpuflow.formats.dnndk import elf_arrays
    from dpuflow.formats.dnndk_import import import_kernel

    file = elf.read(data)
    elf_arrays(file)
    for kernel in file.kernels:
        graph = import_kernel(kernel)
        if max(int(np.prod(node.shape, dtype=object)) for node in graph.nodes) <= _MOST_PIXELS:
            ReferenceEngine(graph).run({node.name: np.zeros(node.shape, np.float32) for node in graph.inputs})


def elf_mutator() -> Mutator:
    """Words replaced, mostly by numbers that matter; sometimes bytes cut or inserted."""
    def mutate(data: bytes, rng: random.Random) -> bytes:
        if rng.random() < 0.15:
            return damaged(data, rng)
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 4))):
            at = rng.randrange(max(len(changed) // 4, 1)) * 4
            changed[at:at + 4] = (rng.choice((*_SIZES, rng.randrange(64))) % (1 << 32)).to_bytes(4, "little")
        return bytes(changed)
    return mutate
