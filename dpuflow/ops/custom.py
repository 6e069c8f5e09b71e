"""Operators that a user supplies: a Python function in place of a vendor's shared library.

A file names a custom operator by its type and carries its shape and attributes, not its code. The
function gets the operands as float32 arrays (batch first; constants as stored) and the attributes,
and returns one float32 array::

    def my_layer(operands, attrs):
        x, alpha = operands
        return np.where(x < 0, alpha * x, x)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dpuflow.errors import EngineError, GraphError
from dpuflow.ir.graph import Array, Graph, Shape
from dpuflow.ops.base import OpDef

CustomFunction = Callable[[list[Array], Mapping[str, Any]], Any]


@dataclass(frozen=True)
class CustomAttrs:
    """The operator's type in its file, its shape, its attributes there, and the function if there is one."""

    type: str = ""
    shape: Shape = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    function: CustomFunction | None = None


def infer_custom(shapes: Sequence[Shape], attrs: CustomAttrs) -> Shape:
    """The shape that the file states."""
    return attrs.shape


def missing_function(kind: str, where: str = "") -> EngineError:
    """The error for a custom operator without its function."""
    return EngineError(f"the file does not carry the code of the custom operator '{kind}'", where=where or None,
                       remedy=f"supply it as a Python function: --custom-op {kind}=module.function")


def check_functions(graph: Graph) -> None:
    """EngineError naming the first custom operator of a network that has no function."""
    for node in graph.nodes:
        if node.op == "custom" and node.attrs.function is None:
            raise missing_function(node.attrs.type, f"operator '{node.name}'")


def _float_custom(operands: Sequence[Array], attrs: CustomAttrs) -> Array:
    if attrs.function is None:
        raise missing_function(attrs.type)
    batch = max((len(x) for x in operands if x.ndim == len(attrs.shape)), default=1)
    try:
        result = np.asarray(attrs.function([np.asarray(x, np.float32) for x in operands], attrs.values), np.float32)
    except Exception as error:
        raise EngineError(f"the function of the custom operator '{attrs.type}' failed ({error!r})") from error
    if result.shape != (batch, *attrs.shape[1:]):
        raise GraphError(f"the function of the custom operator '{attrs.type}' gave another shape",
                         expected=(batch, *attrs.shape[1:]), got=result.shape)
    return result


OPS = (OpDef("custom", infer_custom, _float_custom, attrs=CustomAttrs, arity=(1, 64)),)
