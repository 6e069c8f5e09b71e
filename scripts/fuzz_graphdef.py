"""GraphDefs for `scripts/fuzz.py`: small valid networks, mutations that know the messages, what is done with them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
from fuzz_bytes import damage
from google.protobuf.message import DecodeError, EncodeError

from dpuflow.errors import ConfigError
from dpuflow.formats.graphdef import TFGraph, const_node, new_node, parse_graphdef, serialize_graphdef
from dpuflow.formats.graphdef_proto import GraphDef
from dpuflow.formats.tf_builder import FrozenBuilder
from dpuflow.formats.tf_values import FLOAT, INT32

_INTEGERS = (0, 1, -1, 2, 3, 7, 127, 255, 4096, 1 << 20, (1 << 31) - 1, -(1 << 31), (1 << 62), -(1 << 63))
_FLOATS = (0.0, -1.0, 1e-30, 1e30, float("inf"), float("nan"))


def seed_graphs() -> list[bytes]:
    """Small valid networks that between them hold most operators."""
    rng = np.random.default_rng(0)
    made = []
    for variant in range(3):
        net = FrozenBuilder()
        x = net.placeholder("x", (-1, 8, 8, 2))
        x = net.conv2d("c1", x, rng.normal(0, 1, (3, 3, 2, 4)))
        x = net.bias_add("c1", x, rng.normal(0, 1, 4))
        if variant == 1:
            terms = [rng.uniform(0.5, 1, 4).astype(np.float32) for _ in range(4)]
            x = net.batch_norm("bn", x, (terms[0], terms[1], terms[2], terms[3]), 1e-3)
        first = net.unary("c1/Relu", "Relu" if variant else "Relu6", x)
        pool = net.add(new_node("p", "AvgPool" if variant else "MaxPool", (first,), T=FLOAT, data_format=b"NHWC",
                                padding=b"SAME", ksize=[1, 3, 3, 1], strides=[1, 1, 1, 1]))
        if variant == 2:
            axis = net.add(const_node("cat/axis", np.array(3, np.int32)))
            pool = net.add(new_node("cat", "ConcatV2", (first, pool, axis), T=FLOAT, N=2, Tidx=INT32))
        else:
            pool = net.add(new_node("sum", "Add", (first, pool), T=FLOAT))
        pads = net.add(const_node("pad/paddings", np.array([[0, 0], [1, 0], [0, 1], [0, 0]], np.int32)))
        x = net.add(new_node("pad", "Pad", (pool, pads), T=FLOAT, Tpaddings=INT32))
        if variant:
            x = net.mean("m", x, keep_dims=variant == 2)
        shape = net.add(const_node("flat/shape", np.array([-1, (4, 4, 8)[variant] * (1 if variant else 81)], np.int32)))
        x = net.add(new_node("flat", "Reshape", (x, shape), T=FLOAT, Tshape=INT32))
        x = net.dense("fc", x, rng.normal(0, 0.1, ((324, 4, 8)[variant], 3)))
        net.unary("out", "Softmax", net.bias_add("fc", x, rng.normal(0, 1, 3)))
        made.append(serialize_graphdef(net.graph()))
    return [*made, serialize_graphdef(_maps(rng))]


def _maps(rng: np.random.Generator) -> TFGraph:
    """Dilated and transposed convolution, resizing, a leaky relu in two spellings."""
    net = FrozenBuilder()
    x = net.placeholder("x", (-1, 8, 8, 2))

    def number(name: str, values: Any) -> str:
        return net.add(const_node(name, np.array(values, np.int32)))

    block, pads, crops = number("block", [2, 2]), number("pads", [[2, 2], [2, 2]]), number("crops", [[0, 0], [0, 0]])
    x = net.add(new_node("s2b", "SpaceToBatchND", (x, block, pads), T=FLOAT, Tblock_shape=INT32, Tpaddings=INT32))
    x = net.conv2d("c1", x, rng.normal(0, 1, (3, 3, 2, 4)), padding="VALID")
    x = net.add(new_node("b2s", "BatchToSpaceND", (x, block, crops), T=FLOAT, Tblock_shape=INT32, Tcrops=INT32))
    x = net.bias_add("c1", x, rng.normal(0, 1, 4))
    alpha = net.add(const_node("alpha", np.float32(0.1)))
    scaled = net.add(new_node("scaled", "Mul", (alpha, x), T=FLOAT))
    x = net.add(new_node("leaky", "Maximum", (scaled, x), T=FLOAT))
    weights = net.variable("up/kernel", rng.normal(0, 1, (3, 3, 2, 4)))
    x = net.add(new_node("up", "Conv2DBackpropInput", (number("size", [1, 16, 16, 2]), weights, x), T=FLOAT,
                         strides=[1, 2, 2, 1], padding=b"SAME", data_format=b"NHWC", dilations=[1, 1, 1, 1]))
    x = net.add(new_node("fused", "LeakyRelu", (x,), T=FLOAT, alpha=0.1))
    x = net.add(new_node("near", "ResizeNearestNeighbor", (x, number("to", [8, 8])), T=FLOAT, align_corners=False))
    net.add(new_node("far", "ResizeBilinear", (x, number("again", [4, 6])), T=FLOAT, align_corners=True))
    return net.graph()


def _integer(rng: random.Random) -> int:
    return rng.choice(_INTEGERS) if rng.random() < 0.7 else rng.randrange(-8, 64)


def _mutate_tensor(rng: random.Random, tensor: Any) -> None:
    """A type, size or content that lies about the others."""
    choice = rng.randrange(5)
    if choice == 0:
        tensor.dtype = rng.randrange(0, 30)
    elif choice == 1 and tensor.tensor_shape.dim:
        rng.choice(tensor.tensor_shape.dim).size = _integer(rng)
    elif choice == 2:
        tensor.tensor_content = tensor.tensor_content[:rng.randrange(len(tensor.tensor_content) + 1)]
    elif choice == 3:
        tensor.tensor_shape.dim.add(size=_integer(rng))
    else:
        tensor.tensor_content = b""
        tensor.float_val.append(rng.choice(_FLOATS))


def _mutate_list(rng: random.Random, values: Any) -> None:
    if values.i and rng.random() < 0.8:
        values.i[rng.randrange(len(values.i))] = _integer(rng)
    else:
        values.i.append(_integer(rng))


def _mutate_shape(rng: random.Random, shape: Any) -> None:
    if shape.dim and rng.random() < 0.8:
        rng.choice(shape.dim).size = _integer(rng)
    else:
        shape.unknown_rank = True


def _mutate_attribute(rng: random.Random, value: Any) -> None:
    """Change one AttrValue in place."""
    parts = {"tensor": _mutate_tensor, "list": _mutate_list, "shape": _mutate_shape}
    kind = value.WhichOneof("value")
    if kind in parts:
        parts[kind](rng, getattr(value, kind))
    elif kind == "f":
        value.f = rng.choice(_FLOATS)
    elif kind == "s":
        value.s = rng.choice((b"SAME", b"VALID", b"EXPLICIT", b"NCHW", b"NHWC", b"", b"\xff\xfe"))
    elif rng.random() < 0.5:
        value.i = _integer(rng)
    else:
        value.type = rng.randrange(0, 30)


def _mutate_node(rng: random.Random, message: Any, node: Any, ops: list[str]) -> None:
    choice = rng.randrange(9)
    names = [other.name for other in message.node]
    if choice == 0 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice([*names, "", "absent", "x:1", "^x", f"{node.name}:0"])
    elif choice == 1:
        node.op = rng.choice(ops)
    elif choice == 2:
        node.name = rng.choice([*names, "", "a b", "../../up", "\u00e9"])
    elif choice == 3:
        message.node.add().CopyFrom(node)
    elif choice == 4:
        del message.node[list(message.node).index(node)]
    elif choice == 5 and node.input:
        del node.input[rng.randrange(len(node.input))]
    elif choice == 6:
        node.input.append(rng.choice(names))
    elif choice == 7 and node.attr:
        del node.attr[rng.choice(sorted(node.attr))]
    elif node.attr:
        _mutate_attribute(rng, node.attr[rng.choice(sorted(node.attr))])


def mutate(data: bytes, rng: random.Random, ops: list[str]) -> bytes:
    """A mutated GraphDef: mostly by its messages, sometimes by its bytes."""
    message = GraphDef()
    try:
        message.MergeFromString(data)
    except DecodeError:  # not a message any more: bytes only
        return damage(rng, data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        if message.node:
            _mutate_node(rng, message, rng.choice(message.node), ops)
    try:
        made: bytes = message.SerializeToString(deterministic=True)
    except (EncodeError, UnicodeError):  # a name that is no text
        return damage(rng, data)
    return damage(rng, made) if rng.random() < 0.15 else made


def read(data: bytes) -> TFGraph:
    """What every reader does with a file."""
    from dpuflow.formats.deploy_import import is_deploy
    from dpuflow.model import model_from_tf
    from dpuflow.quant.inspect import inspect_text

    graph = parse_graphdef(data)
    inspect_text(graph)
    is_deploy(graph)
    model_from_tf(graph, "fuzz")
    return graph


def quantize(data: bytes) -> None:
    """``decent_q quantize --skip_check 1`` with two batches of the shape that the seeds take."""
    from dpuflow.quant.config import QuantizeConfig
    from dpuflow.quant.quantizer import quantize_graph

    graph = parse_graphdef(data)
    outputs = tuple(node.name for node in graph.sinks)[:2]
    batch = np.linspace(-1, 1, 256, dtype=np.float32).reshape(2, 8, 8, 2)
    feeds = {node.name: batch for node in graph.placeholders}
    if not outputs:
        raise ConfigError("no output")
    config = QuantizeConfig(("x",), outputs, ((1, 8, 8, 2),), calib_iter=2)
    result = quantize_graph(graph, config, iter((feeds, feeds)))
    read(serialize_graphdef(result.evaluation))
    read(serialize_graphdef(result.deploy))


def graphdef_ops() -> list[str]:
    """Operators to put into a graph: those of the seeds and others that matter."""
    return sorted({node.op for data in seed_graphs() for node in parse_graphdef(data).nodes} | {
        "Sub", "Neg", "Mul", "Maximum", "LeakyRelu", "Squeeze", "AddN", "FixNeuron", "FFT2D", "Shape", "Pack",
        "StridedSlice", "DepthwiseConv2dNative", "ResizeBilinear", "ExpandDims", "Conv2DBackpropInput",
        "SpaceToBatchND", "BatchToSpaceND", "ArgMax", "Transpose", "Cast"})


def mutator() -> Callable[[bytes, random.Random], bytes]:
    ops = graphdef_ops()
    return lambda data, rng: mutate(data, rng, ops)
