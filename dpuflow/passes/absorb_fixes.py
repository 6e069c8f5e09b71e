"""fix(node) -> node with a position: the operator yields int8.

    y = conv2d(x, w, b) nonlinear=relu
    y/aquant = fix(y) pos=4               ->    y: int8@4 = conv2d(x, w, b) nonlinear=relu

The fix's readers read the operator, which keeps its name; an output ``y/aquant`` is called ``y``.
Then copies take their operands' positions, and what still reads a float tensor computes in float.
"""

from __future__ import annotations

from dpuedge import fixed
from dpuflow.errors import GraphError
from dpuflow.ir.graph import Fix, Graph, Node, rebuild
from dpuflow.ops import get_op
from dpuflow.passes.propagate_positions import propagate_positions
from dpuflow.passes.split_float_islands import split_float_islands


def _check_position(node: Node) -> None:
    if node.attrs.pos == fixed.ALL_ZERO_POS:
        raise GraphError("the tensor was zero in every calibration image: it has no position",
                         where=f"node '{node.name}'",
                         remedy="calibrate with images that reach this layer, or remove the layer")


def absorb_fixes(graph: Graph) -> Graph:
    """Make each operator that a fix node alone follows yield int8; other fixes become identities."""
    return split_float_islands(propagate_positions(_absorbed(graph)))


def _absorbed(graph: Graph) -> Graph:
    replaced: dict[str, Node | None] = {}
    rename: dict[str, str] = {}
    for node in graph.nodes:
        if node.op != "fix":
            continue
        _check_position(node)
        source = graph.by_name[node.inputs[0]]
        fix = Fix(node.attrs.pos, node.attrs.bits)
        if _can_absorb(graph, source, replaced):
            replaced[source.name] = source.replace(fix=fix)
            replaced[node.name] = None
            rename[node.name] = source.name
        elif source.name in replaced:
            replaced[node.name] = Node(node.name, "identity", node.inputs, shape=node.shape, fix=fix)
        else:  # the float tensor itself is needed, or has no fixed-point form
            replaced[node.name] = Node(node.name, "float2fix", node.inputs, shape=node.shape, fix=fix)
    return rebuild(graph, replaced, rename)


def _can_absorb(graph: Graph, source: Node, replaced: dict[str, Node | None]) -> bool:
    if source.name in replaced or source.name in graph.outputs:
        return False
    readers = [graph.by_name[name] for name in graph.users[source.name]]
    if any(reader.op != "fix" or reader.attrs != readers[0].attrs for reader in readers):
        return False
    return source.op == "input" or get_op(source.op).fixed is not None
