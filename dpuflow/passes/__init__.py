"""From a float graph with ``fix`` nodes to a quantized graph, pass by pass.

A pass is a function from graph to graph; each lives in a file of its own. The pipelines below are
the whole order. The driver verifies the graph before and after every pass and names the pass that
broke it.
"""

from __future__ import annotations

from collections.abc import Callable

from dpuflow.errors import GraphError
from dpuflow.ir.graph import Graph
from dpuflow.ir.verify import verify
from dpuflow.passes.absorb_constants import absorb_constant_fixes
from dpuflow.passes.absorb_fixes import absorb_fixes
from dpuflow.passes.dense_to_conv import dense_to_conv
from dpuflow.passes.drop_pool_scale import drop_pool_scale
from dpuflow.passes.fuse_bias import fuse_bias
from dpuflow.passes.fuse_nonlinear import fuse_leaky_maximum, fuse_nonlinear
from dpuflow.passes.mean_to_pool import mean_to_pool
from dpuflow.passes.prune import prune
from dpuflow.passes.push_concat_fixes import push_concat_fixes

Pass = Callable[[Graph], Graph]

# Float graph with fix nodes (an eval graph, a quantized xmodel) -> quantized graph.
LOWER: tuple[Pass, ...] = (
    absorb_constant_fixes,
    push_concat_fixes,
    fuse_bias,
    drop_pool_scale,
    fuse_leaky_maximum,
    fuse_nonlinear,
    absorb_fixes,
    fuse_nonlinear,
    prune,
)

# Quantized graph -> the forms that the DPU's engines have.
FOR_DPU: tuple[Pass, ...] = (
    mean_to_pool,
    dense_to_conv,
    prune,
)


def run_passes(graph: Graph, passes: tuple[Pass, ...],
               observe: Callable[[str, Graph], None] | None = None) -> Graph:
    """Run passes in order, verifying around each; ``observe`` sees every result by pass name."""
    verify(graph)
    for step in passes:
        try:
            graph = verify(step(graph))
        except GraphError as error:
            raise type(error)(f"{error.what} (in pass {step.__name__})", where=error.where, got=error.got,
                              expected=error.expected, remedy=error.remedy) from error
        if observe:
            observe(step.__name__, graph)
    return graph


def lower(graph: Graph) -> Graph:
    """The quantized graph of a float graph with ``fix`` nodes."""
    return run_passes(graph, LOWER)
