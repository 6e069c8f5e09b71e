"""Constants become integers: saturated where they overflow, refused where they are no numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dpuflow.errors import GraphError
from dpuflow.ir.graph import Graph, Node, const
from dpuflow.ir.verify import infer_shapes
from dpuflow.ops.activation import LeakyAttrs
from dpuflow.ops.elementwise import FixAttrs
from dpuflow.passes.absorb_constants import absorb_constant_fixes


def fixed_constant(values: list[float], pos: int) -> Graph:
    nodes = (const("w", np.array(values, np.float32)), Node("w/fix", "fix", ("w",), FixAttrs(pos)))
    return infer_shapes(Graph("constants", nodes, ("w/fix",)))


def test_values_beyond_float32_saturate_without_a_warning():
    made = absorb_constant_fixes(fixed_constant([1e38, -1e38, 2.0**-30, 0.0], 30)).by_name["w"]
    assert made.data.tolist() == [127, -128, 1, 0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(GraphError, match="node 'w'.*NaN or infinite.*training"):
        absorb_constant_fixes(fixed_constant([1.0, value], 3))
    with pytest.raises(GraphError, match="impossible slope"):
        LeakyAttrs(value)
