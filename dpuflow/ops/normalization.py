"""Batch normalisation and other operators that only float graphs hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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
    scale = (np.float32(1) / np.sqrt(variance + np.float32(epsilon))) * gamma
    return scale, (-mean * scale) + beta


def _infer_first(shapes: Sequence[Shape], attrs: Any) -> Shape:
    return shapes[0]


def _float_batch_norm(operands: Sequence[Array], attrs: BatchNormAttrs) -> Array:
    x, gamma, beta, mean, variance = operands
    scale, offset = batch_norm_terms(gamma, beta, mean, variance, attrs.epsilon)
    return np.asarray(x * scale + offset)


def _float_maximum(operands: Sequence[Array], attrs: Any) -> Array:
    return np.maximum(operands[0], operands[1])


OPS = (
    OpDef("batch_norm", _infer_first, _float_batch_norm, attrs=BatchNormAttrs, arity=(5, 5)),
    OpDef("maximum", infer_broadcast, _float_maximum, arity=(2, 2)),
)
