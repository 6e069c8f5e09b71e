"""What every converter of an XIR operator needs: operands by argument, and the node it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from dpuflow.errors import GraphError
from dpuflow.formats.xir import XGraph, XOp
from dpuflow.formats.xir_layouts import Order, common_layouts
from dpuflow.formats.xir_operands import fix_of, parameter_blobs, where_of
from dpuflow.ir.graph import Array, Fix, Graph, Node, const
from dpuflow.ir.verify import output_shape


class XirImporter:
    """The nodes made so far; ``alias`` holds operators whose tensor is that of another one.

    ``simulated``: the file is a float graph with ``fix`` operators (xmodel specification, section 5),
    not a compiled one.
    """

    def __init__(self, graph: XGraph) -> None:
        self.graph = graph
        self.nodes: dict[str, Node] = {}
        self.alias: dict[str, str] = {}
        self.blobs = parameter_blobs(graph)
        self.layouts = common_layouts(graph)
        self.simulated = is_simulated(graph)

    def named(self, name: str) -> Node:
        """The node that stands for an operator."""
        return self.nodes[self.alias.get(name, name)]

    def operand(self, op: XOp, arg: str) -> Node | None:
        """The first operand of an argument, or None."""
        names = op.args.get(arg, ())
        return self.named(names[0]) if names else None

    def required(self, op: XOp, arg: str = "input") -> Node:
        """The one operand of an argument; GraphError naming it if it is missing."""
        node = self.operand(op, arg)
        if node is None:
            raise GraphError(f"the operand '{arg}' is missing", where=where_of(op))
        return node

    def inputs(self, op: XOp) -> list[Node]:
        """Every operand of the argument ``input``."""
        return [self.named(name) for name in op.args.get("input", ())]

    def emit(self, op: XOp, kind: str, operands: Iterable[Node], attrs: Any = None) -> Node:
        """A node of the operator's name; GraphError if the file records another shape."""
        made, dims = self.made(op, op.name, kind, operands, attrs), op.tensor.dims
        if op.name in self.layouts:
            dims = self.layouts[op.name].sizes(dims)
        if made.shape[1:] != dims[1:] or len(made.shape) != len(dims):
            raise GraphError("recorded output shape and operator differ", where=where_of(op), expected=made.shape,
                             got=dims)
        self.nodes[op.name] = made.replace(fix=fix_of(op), label=str(op.get("dpuflow_layer", "")))
        return self.nodes[op.name]

    def emit_inner(self, op: XOp, suffix: str, kind: str, operands: Iterable[Node], attrs: Any = None,
                   fix: Fix | None = None) -> Node:
        """A node on the way to the operator's own, under a name of ours; by default at its first operand's position."""
        operands = tuple(operands)
        made = self.made(op, self.free_name(op.name + suffix), kind, operands, attrs)
        made = made.replace(fix=fix or operands[0].fix)
        self.nodes[made.name] = made
        return made

    def made(self, op: XOp, name: str, kind: str, operands: Iterable[Node], attrs: Any) -> Node:
        """A node with its shape; not yet one of the graph's."""
        operands = tuple(operands)
        node = Node(name, kind, tuple(operand.name for operand in operands))
        if attrs is not None:
            node = node.replace(attrs=attrs)
        return node.replace(shape=output_shape(node, {operand.name: operand.shape for operand in operands}))

    def is_constant(self, node: Node) -> bool:
        """Whether a node is a constant, or a ``fix`` of one."""
        return self._source(node).data is not None

    def _source(self, node: Node) -> Node:
        return self.nodes[node.inputs[0]] if node.op == "fix" else node

    def in_order(self, node: Node, order: Order) -> Node:
        """A constant (or ``fix`` of one) with its axes in this library's order: a view, not a copy."""
        if self.layouts.get(node.name) == order:
            return node
        return self.derived(node, "/" + "".join(map(str, order.axes)), order.of)

    def derived(self, node: Node, suffix: str, change: Callable[[Array], Array]) -> Node:
        """A constant (or ``fix`` of one) with its values in another form, under a name of its own."""
        source = self._source(node)
        assert source.data is not None
        name = source.name + suffix
        while name in self.graph.by_name:  # a name of the file itself
            name += "_"
        if name not in self.nodes:
            self.nodes[name] = const(name, change(source.data), source.fix)
        if node.op != "fix":
            return self.nodes[name]
        rounded = self.free_name(name + "_fix")
        self.nodes[rounded] = node.replace(name=rounded, inputs=(name,), shape=self.nodes[name].shape)
        return self.nodes[rounded]

    def literal(self, op: XOp, suffix: str, values: Any) -> Node:
        """A float constant of our own for an operator."""
        name = self.free_name(op.name + suffix)
        self.nodes[name] = const(name, np.asarray(values, np.float32))
        return self.nodes[name]

    def free_name(self, name: str) -> str:
        """A name that neither the file nor this import has used."""
        while name in self.graph.by_name or name in self.nodes:
            name += "_"
        return name

    def finished(self, outputs: tuple[str, ...]) -> Graph:
        """The graph without constants that nobody reads in this library's form."""
        graph = Graph(self.graph.name, tuple(self.nodes.values()),
                      tuple(self.alias.get(name, name) for name in outputs))
        return graph.replace(node for node in graph.nodes
                             if node.data is None or graph.users[node.name] or node.name in graph.outputs)


def is_simulated(graph: XGraph) -> bool:
    """Whether a file is a float graph with ``fix`` operators, to be compiled yet."""
    return any(op.type == "fix" for op in graph.ops) and all(
        op.tensor.data_type not in ("XINT", "XUINT") for op in graph.ops)


Converter = Callable[[XirImporter, XOp], None]
