"""mul(avg_pool(x), constant) -> avg_pool(x): the DPU's own average; likewise mean and hard sigmoid.

The quantizers write the DPU's inexact factor as a multiplication after the true operator; the
fixed kernels have that factor built in (arithmetic specification, sections 6.2, 6.3 and 7.5).

    p = avg_pool(x)
    m = mul(p, 1.008)    ->    m = avg_pool(x)
"""

from __future__ import annotations

from dpuflow.errors import GraphError
from dpuflow.ir.graph import Graph, Node, rebuild
from dpuflow.ops.pool import average_factor
from dpuflow.passes.fuse_bias import only_reader

# The factor is stored as float32; a hand-made scale differs from it by far more.
_TOLERANCE = 1e-5
_HARD_SIGMOID = 6 * 2731 / 16384
SCALED = ("avg_pool", "mean", "hard_sigmoid")


def scale_factor(graph: Graph, node: Node) -> float:
    """What the DPU's result is of the true one, as a factor, for an operator of ``SCALED``."""
    if node.op == "hard_sigmoid":
        return _HARD_SIGMOID
    x = graph.by_name[node.inputs[0]]
    kernel = node.attrs.kernel if node.op == "avg_pool" else (x.shape[1], x.shape[2])
    n, m = average_factor(kernel)
    factor: float = kernel[0] * kernel[1] * n / 2.0**m
    return factor


def _scale(graph: Graph, node: Node) -> tuple[Node, float] | None:
    operands = graph.operands(node)
    pools = [operand for operand in operands if operand.op in SCALED]
    scales = [operand for operand in operands if operand.op == "const" and operand.fix is None]
    if len(pools) != 1 or len(scales) != 1 or scales[0].data is None or scales[0].data.size != 1:
        return None
    return pools[0], float(scales[0].data.reshape(-1)[0])


def drop_pool_scale(graph: Graph) -> Graph:
    """Remove the scale after each average; GraphError if it is not the DPU's."""
    replaced: dict[str, Node | None] = {}
    for node in graph.nodes:
        found = _scale(graph, node) if node.op == "mul" else None
        if found is None or not only_reader(graph, found[0].name):
            continue
        pool, scale = found
        expected = scale_factor(graph, pool)
        if abs(scale - expected) > _TOLERANCE * expected:
            raise GraphError("the scale after an average pool is not the DPU's", where=f"node '{node.name}'",
                             expected=f"{expected:.7g}", got=f"{scale:.7g}")
        replaced[pool.name] = None
        replaced[node.name] = pool.replace(name=node.name, label=pool.layer)
    return rebuild(graph, replaced, {})
