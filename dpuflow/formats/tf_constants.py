"""The value of TensorFlow nodes that depend on constants alone, such as hand-written batch norm."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest

import numpy as np

from dpuflow.errors import GraphError
from dpuflow.formats.checks import MALFORMED
from dpuflow.formats.graphdef import TFNode
from dpuflow.formats.tf_values import MAX_REPEATED_VALUES
from dpuflow.ir.graph import Array

_MAX_RANK = 64  # NumPy's own; a longer shape is refused by it
Rule = Callable[[TFNode, Sequence[Array]], Array]

FOLDABLE: Mapping[str, Rule] = {
    "Add": lambda node, v: v[0] + v[1],
    "AddV2": lambda node, v: v[0] + v[1],
    "BiasAdd": lambda node, v: v[0] + v[1],
    "Sub": lambda node, v: v[0] - v[1],
    "Mul": lambda node, v: v[0] * v[1],
    "RealDiv": lambda node, v: v[0] / v[1],
    "Maximum": lambda node, v: np.maximum(v[0], v[1]),
    "Neg": lambda node, v: -v[0],
    "Sqrt": lambda node, v: np.sqrt(v[0]),
    "Rsqrt": lambda node, v: np.asarray(1, v[0].dtype) / np.sqrt(v[0]),
    "Square": lambda node, v: v[0] * v[0],
    "Reciprocal": lambda node, v: np.asarray(1, v[0].dtype) / v[0],
    "Identity": lambda node, v: v[0],
    "Reshape": lambda node, v: v[0].reshape([int(size) for size in v[1].reshape(-1)[:_MAX_RANK + 1]]),
    "Squeeze": lambda node, v: np.squeeze(v[0], tuple(int(axis) for axis in node.get("squeeze_dims", ())) or None),
}


def _check_size(values: Sequence[Array]) -> None:
    """Constants that blow each other up by broadcasting are no network."""
    sizes = [max(pair) for pair in zip_longest(*(reversed(value.shape) for value in values), fillvalue=1)]
    if math.prod(sizes) > max(MAX_REPEATED_VALUES, *(value.size for value in values)):
        raise ValueError(f"{math.prod(sizes)} values")


def fold(node: TFNode, values: Sequence[Array]) -> Array:
    """The node's value, in its operands' own type; GraphError if it cannot be computed."""
    try:
        _check_size(values)
        with np.errstate(all="ignore"):
            return np.asarray(FOLDABLE[node.op](node, values)).astype(values[0].dtype)
    except MALFORMED as error:
        raise GraphError(f"malformed constant expression ({error})", where=f"node '{node.name}' ({node.op})") from None
