"""The state of one conversion from ONNX (channels first) to a TensorFlow graph (channels last).

A value remembers how its TensorFlow tensor is laid out against ONNX's shape, so that transposes
are only written where a network really mixes the two:

``plain``   the same order of axes
``nhwc``    ONNX (N, C, H, W) held as (N, H, W, C)
``flat``    ONNX (N, C*H*W) held as (N, H*W*C): a flattened map; weights that read it are permuted instead
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.graphdef import TFNode, const_node, new_node
from dpuflow.formats.onnx_graph import OnnxGraph, OnnxNode
from dpuflow.formats.tf_values import FLOAT
from dpuflow.ir.graph import Array

PLAIN, NHWC, FLAT = "plain", "nhwc", "flat"
TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)
_WEIGHTS = re.compile(r"[._/]?(weights?|kernel|w)(_\d+)?$", re.IGNORECASE)
_ILLEGAL = re.compile(r"[^A-Za-z0-9_.\-/>]")


@dataclass(frozen=True)
class Value:
    """A tensor: its TensorFlow node ('' for a constant not yet written), ONNX shape and layout.

    ``data`` is a constant's value in ONNX's layout, ``pos`` the position its Q/DQ pair gave it,
    ``map_shape`` the (C, H, W) behind a flattened map, ``floor`` a bound that no value lies below.
    """

    node: str
    shape: tuple[int, ...]
    layout: str = PLAIN
    data: Array | None = None
    pos: int | None = None
    map_shape: tuple[int, int, int] | None = None
    floor: float | None = None

    @property
    def nhwc(self) -> tuple[int, int, int, int]:
        """The shape as (N, H, W, C)."""
        n, c, h, w = self.shape
        return n, h, w, c


@dataclass
class Conversion:
    """Nodes written so far, and the value of every ONNX tensor."""

    graph: OnnxGraph
    nodes: list[TFNode] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    consts: dict[tuple[str, str], str] = field(default_factory=dict)

    # -- names -------------------------------------------------------------------------------------------

    @staticmethod
    def clean(name: str) -> str:
        """An ONNX name with the letters that TensorFlow allows."""
        clean = _ILLEGAL.sub("_", name).strip("/") or "node"
        return clean if clean[0].isalnum() or clean[0] == "." else f"n{clean}"

    def unique(self, name: str) -> str:
        """A TensorFlow node name that is free, made of an ONNX one."""
        clean = self.clean(name)
        made, count = clean, 1
        while made in self.names:
            made, count = f"{clean}_{count}", count + 1
        self.names.add(made)
        return made

    def stem(self, node: OnnxNode) -> str:
        """What the nodes made of an ONNX node are called after: its name, its output's, or that of its weights.

        Old exporters leave nodes without names and number the tensors; then the weights tell the layer.
        """
        output = node.outputs[0]
        if node.name or not output.isdigit() or len(node.inputs) < 2:
            return node.name or output
        stem = _WEIGHTS.sub("", node.inputs[1])
        return output if not stem or stem.isdigit() else stem

    def last_name(self, node: OnnxNode, suffix: str = "") -> str:
        """The name of the node that yields ``node``'s output: a graph output keeps its own name."""
        output = node.outputs[0]
        return self.unique(output if output in self.graph.outputs else self.stem(node) + suffix)

    # -- nodes -------------------------------------------------------------------------------------------

    def emit(self, name: str, op: str, inputs: Iterable[str], **attrs: Any) -> str:
        """Write a TensorFlow node under a name from :meth:`unique`; returns the name."""
        self.nodes.append(new_node(name, op, inputs, T=FLOAT, **attrs))
        return name

    def rename(self, old: str, new: str) -> str:
        """Give a node another name, its readers and values with it; returns the name."""
        name = self.unique(new)
        self.nodes[:] = [node.replace(name=name if node.name == old else node.name,
                                      inputs=tuple(name if read == old else read for read in node.inputs))
                         for node in self.nodes]
        self.values.update({key: replace(value, node=name) for key, value in self.values.items() if value.node == old})
        return name

    def constant(self, name: str, data: Array, pos: int | None = None) -> str:
        """Write a constant, with a FixNeuron behind it where it has a position."""
        name = self.unique(name)
        self.nodes.append(const_node(name, np.asarray(data, order="C")))
        if pos is None:
            return name
        fix = self.unique(f"{name}/wquant")
        self.nodes.append(new_node(fix, "FixNeuron", (name,), bit_width=8, method=1, mode=0, phase=1,
                                   quantize_pos=int(pos)))
        return fix

    def integers(self, name: str, values: Sequence[int]) -> str:
        """A constant of int32: axes, sizes, pads."""
        return self.constant(name, np.array(values, np.int32))

    # -- operands ----------------------------------------------------------------------------------------

    def value(self, node: OnnxNode, index: int) -> Value:
        """An operand that must be there."""
        if index >= len(node.inputs) or not node.inputs[index]:
            raise GraphError(f"operand {index} is missing", where=node.where)
        found = self.values.get(node.inputs[index])
        if found is None:
            raise UnsupportedOp("reads a second output of a node", where=node.where, got=node.inputs[index])
        return found

    def optional(self, node: OnnxNode, index: int) -> Value | None:
        """An operand that may be left out."""
        return self.value(node, index) if index < len(node.inputs) and node.inputs[index] else None

    def data(self, node: OnnxNode, index: int, what: str) -> Array:
        """A constant operand's value; UnsupportedOp if it depends on the input."""
        found = self.value(node, index).data
        if found is None:
            raise UnsupportedOp(f"the {what} is not constant", where=node.where, got=node.inputs[index],
                                remedy="export the model with constant folding")
        return found

    def optional_data(self, node: OnnxNode, index: int, what: str) -> Array | None:
        """A constant operand that may be left out."""
        return self.data(node, index, what) if self.optional(node, index) is not None else None

    def feature_map(self, node: OnnxNode, index: int = 0) -> Value:
        """An operand as an NHWC map."""
        found = self.value(node, index)
        if len(found.shape) != 4:
            raise UnsupportedOp("only maps with height and width", where=node.where, got=found.shape,
                                expected="(N, C, H, W)", remedy="write one-dimensional layers as (N, C, 1, W)")
        return self.to_nhwc(found)

    # -- layouts -----------------------------------------------------------------------------------------

    def tensor(self, value: Value, name: str = "const") -> str:
        """The TensorFlow node of a value; a constant is written now, in its layout's order."""
        if value.data is None:
            return value.node
        return self.constant(name, value.data, value.pos)

    def to_nhwc(self, value: Value) -> Value:
        """The value with ONNX's (N, C, H, W) held as (N, H, W, C)."""
        if value.layout == NHWC:
            return value
        if value.data is not None:
            return replace(self._written(value.data.transpose(TO_NHWC), value), layout=NHWC)
        return replace(value, node=self._transpose(value.node, TO_NHWC), layout=NHWC)

    def to_plain(self, value: Value) -> Value:
        """The value in ONNX's own order of axes."""
        if value.data is not None:
            return self._written(value.data, value)
        if value.layout == NHWC:
            return replace(value, node=self._transpose(value.node, TO_NCHW), layout=PLAIN)
        if value.layout == FLAT and value.map_shape is not None:
            c, h, w = value.map_shape
            back = self.reshape(f"{value.node}/map", value.node, (h, w, c))
            flat = self.reshape(f"{value.node}/flat", self._transpose(back, TO_NCHW), (c * h * w,))
            return replace(value, node=flat, layout=PLAIN, map_shape=None)
        return value

    def _written(self, data: Array, value: Value) -> Value:
        return replace(value, node=self.constant(value.node or "const", np.asarray(data, np.float32), value.pos),
                       data=None)

    def _transpose(self, name: str, order: Sequence[int]) -> str:
        axes = self.integers(f"{name}/perm", order)
        return self.emit(self.unique(f"{name}/transpose"), "Transpose", (name, axes))

    def reshape(self, name: str, source: str, image: Sequence[int]) -> str:
        """A reshape of every image; the batch stays."""
        name = self.unique(name)
        target = self.integers(f"{name}/shape", (-1, *image))
        return self.emit(name, "Reshape", (source, target))

    def spread(self, constant: Array, value: Value) -> Array:
        """A constant that broadcasts with ``value``, in the order in which ``value`` is held."""
        if value.layout == PLAIN or constant.size == 1:
            return constant if constant.size > 1 else constant.reshape(())
        if value.layout == FLAT and value.map_shape is not None:
            count = math.prod(value.map_shape)
            if constant.shape[-1:] != (count,):
                return constant
            parts = constant.reshape(*constant.shape[:-1], *value.map_shape)
            order = (*range(constant.ndim - 1), *(constant.ndim - 1 + axis for axis in (1, 2, 0)))
            return np.asarray(parts.transpose(order).reshape(constant.shape))
        full = constant.reshape((1,) * (4 - constant.ndim) + constant.shape).transpose(TO_NHWC)
        return np.asarray(full.reshape(-1) if full.size == full.shape[-1] else full)

    def aligned(self, values: Sequence[Value]) -> list[Value]:
        """Computed values brought to one layout, so that they can meet element by element."""
        layouts = {(value.layout, value.map_shape if value.layout == FLAT else None) for value in values}
        if len(layouts) == 1:
            return list(values)
        if all(len(value.shape) == 4 for value in values):
            return [self.to_nhwc(value) for value in values]
        return [self.to_plain(value) for value in values]

    def finish(self, node: OnnxNode, value: Value) -> None:
        """Record what a node yields."""
        self.values[node.outputs[0]] = value


def pair(node: OnnxNode, key: str, default: int = 1) -> tuple[int, int]:
    """Two whole positive numbers of an attribute."""
    values = tuple(node.attrs.get(key, (default, default)))
    if len(values) != 2 or min(values) < 1:
        raise UnsupportedOp(f"unsupported {key}", where=node.where, got=values, expected="height and width",
                            remedy="write one-dimensional layers as (N, C, 1, W)" if len(values) == 1 else None)
    return int(values[0]), int(values[1])
