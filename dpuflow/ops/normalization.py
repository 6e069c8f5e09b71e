"""Batch normalisation and other operators that only float graphs hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpuflow.errors import GraphError
from dpuflow.ir.graph import Array, Shape
from dpuflow.ops.base import OpDef
from dpuflow.ops.elementwise import infer_broadcast


@dataclass(frozen=True)
class BatchNormAttrs:
    """Added to the variance before the root."""

    epsilon: float


def batch_norm_terms(gamma: Array, beta: Array, mean: Array, variance: Array,
                     epsilon: float) -> tuple[Array, Array]:
    """Scale and offset of a frozen batch normalisation, in the vendor's float32 order.

    scale = (1 / sqrt(variance + epsilon)) * gamma, offset = (-mean * scale) + beta
    (quantizer specification, section 3.2, step 5).
    """
    with np.errstate(all="ignore"):  # a negative variance shows in what is computed from it
        scale = (np.float32(1) / np.sqrt(variance + np.float32(epsilon))) * gamma
        return scale, (-mean * scale) + beta


def _infer_batch_norm(shapes: Sequence[Shape], attrs: Any) -> Shape:
    """The map keeps its shape; every term has one value per channel."""
    x = shapes[0]
    if not x or any(len(term) != 1 or term[0] not in (1, x[-1]) for term in shapes[1:]):
        raise GraphError("a term of a batch normalisation does not fit the channels", expected=x[-1:],
                         got=", ".join(map(str, shapes[1:])))
    return x


def _float_batch_norm(operands: Sequence[Array], attrs: BatchNormAttrs) -> Array:
    x, gamma, beta, mean, variance = operands
    scale, offset = batch_norm_terms(gamma, beta, mean, variance, attrs.epsilon)
    return np.asarray(x * scale + offset)


def _infer_argmax(shapes: Sequence[Shape], attrs: Any) -> Shape:
    """The last axis goes."""
    return shapes[0][:-1]


def _float_argmax(operands: Sequence[Array], attrs: Any) -> Array:
    """The index of the largest entry of the last axis, the first of equals, as float32."""
    return np.asarray(np.argmax(operands[0], axis=-1), np.float32)


def _float_maximum(operands: Sequence[Array], attrs: Any) -> Array:
    return np.maximum(operands[0], operands[1])


OPS = (
    OpDef("batch_norm", _infer_batch_norm, _float_batch_norm, attrs=BatchNormAttrs, arity=(5, 5)),
    OpDef("argmax", _infer_argmax, _float_argmax),
    OpDef("maximum", infer_broadcast, _float_maximum, arity=(2, 2)),
)
