"""mul(avg_pool(x), constant) -> avg_pool(x): the DPU's own average.

The quantizer writes the DPU's inexact factor as a multiplication after a true average; the fixed
kernel of ``avg_pool`` has that factor built in (arithmetic specification, section 6.2).

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


def _scale(graph: Graph, node: Node) -> tuple[Node, float] | None:
    operands = graph.operands(node)
    pools = [operand for operand in operands if operand.op == "avg_pool"]
    scales = [operand for operand in operands if operand.op == "const" and operand.fix is None]
    if len(pools) != 1 or len(scales) != 1 or scales[0].data is None or scales[0].data.size != 1:
        return None
    return pools[0], float(scales[0].data.reshape(-1)[0])


def drop_pool_scale(graph: Graph) -> Graph:
    """Remove the scale after each average pool; GraphError if it is not the DPU's."""
    replaced: dict[str, Node | None] = {}
    for node in graph.nodes:
        found = _scale(graph, node) if node.op == "mul" else None
        if found is None or not only_reader(graph, found[0].name):
            continue
        pool, scale = found
        n, m = average_factor(pool.attrs.kernel)
        expected = pool.attrs.kernel[0] * pool.attrs.kernel[1] * n / 2.0**m
        if abs(scale - expected) > _TOLERANCE * expected:
            raise GraphError("the scale after an average pool is not the DPU's", where=f"node '{node.name}'",
                             expected=f"{expected:.7g}", got=f"{scale:.7g}")
        replaced[pool.name] = None
        replaced[node.name] = pool.replace(name=node.name, label=pool.layer)
    return rebuild(graph, replaced, {})
