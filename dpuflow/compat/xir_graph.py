"""The stand-in for the vendor's module ``xir``: graphs, subgraphs, operators and tensors of a file.

Signatures, property names and container types are those of the Python binding of XIR 3.5 (sets
where it gives sets, lists where it gives lists). Graphs are read, walked and written back with
changed attributes; they are not built operator by operator.
"""

from __future__ import annotations

import math
from dataclasses import replace

from dpuflow.compat.xir_attributes import Attributes, Dimensions
from dpuflow.errors import GraphError
from dpuflow.formats.xir import XGraph, XOp, XSubgraph, XTensor, read_xmodel, write_xmodel


class Tensor(Attributes):
    """An operator's output."""

    def __init__(self, tensor: XTensor, producer: Op) -> None:
        super().__init__("Tensor", tensor.name, tensor.attrs)
        self._tensor, self.producer = tensor, producer
        self.ndim = Dimensions(len(tensor.dims))
        self.ndim.sizes = tensor.dims

    @property
    def name(self) -> str:
        """The tensor's name."""
        return self._tensor.name

    @property
    def dims(self) -> list[int]:
        """Sizes, batch first (NHWC)."""
        return list(self._tensor.dims)

    @property
    def dtype(self) -> str:
        """Such as "xint8"."""
        return f"{self._tensor.data_type.lower()}{self._tensor.bits}"

    def get_element_num(self) -> int:
        """How many elements."""
        return math.prod(self._tensor.dims)

    def get_data_size(self) -> int:
        """Bytes of all elements."""
        return -(-math.prod(self._tensor.dims) * self._tensor.bits // 8)

    def _changed(self) -> XTensor:
        return replace(self._tensor, attrs=self._attrs)


class Op(Attributes):
    """One operator."""

    def __init__(self, graph: Graph, op: XOp) -> None:
        super().__init__("Op", op.name, op.attrs)
        self._graph, self._op = graph, op
        self._tensor = Tensor(op.tensor, self)

    def get_name(self) -> str:
        """The operator's name."""
        return self._op.name

    def get_type(self) -> str:
        """The operator's type, such as "conv2d-fix"."""
        return self._op.type

    def get_graph(self) -> Graph:
        """The graph it stands in."""
        return self._graph

    def get_output_tensor(self) -> Tensor:
        """What it yields."""
        return self._tensor

    def get_input_ops(self) -> dict[str, list[Op]]:
        """Operands by argument name."""
        return {arg: [self._graph.get_op(name) for name in names] for arg, names in self._op.args.items()}

    def get_input_ops_by_name(self, name: str) -> list[Op]:
        """The operands of one argument."""
        return self.get_input_ops().get(name, [])

    def get_input_op(self, name: str, idx: int = 0) -> Op:
        """One operand."""
        found = self.get_input_ops_by_name(name)
        if not 0 <= idx < len(found):
            raise GraphError(f"no operand {name}[{idx}]", where=repr(self), got=f"{len(found)} of that name")
        return found[idx]

    def get_input_num(self, name: str | None = None) -> int:
        """How many operands, in all or of one argument."""
        return len(self.get_input_ops_by_name(name)) if name else sum(map(len, self._op.args.values()))

    def get_input_tensors(self, name: str | None = None) -> list[Tensor]:
        """The tensors it reads."""
        chosen = self._op.args if name is None else {name: self._op.args.get(name, ())}
        return [self._graph.get_op(operand).get_output_tensor() for names in chosen.values() for operand in names]

    def get_input_tensors_by_name(self, name: str) -> list[Tensor]:
        """The tensors of one argument."""
        return self.get_input_tensors(name)

    def get_input_tensor(self, name: str, idx: int = 0) -> Tensor:
        """The tensor of one operand."""
        return self.get_input_op(name, idx).get_output_tensor()

    def get_fanout_ops(self) -> list[Op]:
        """The operators that read it."""
        return [op for op in self._graph.toposort()
                if any(self._op.name in names for names in op._op.args.values())]

    def get_fanout_num(self) -> int:
        """How many operators read it."""
        return len(self.get_fanout_ops())

    def _changed(self) -> XOp:
        return replace(self._op, attrs=self._attrs, tensor=self._tensor._changed())


class Subgraph(Attributes):
    """A subgraph: a leaf of operators, or children."""

    def __init__(self, graph: Graph, subgraph: XSubgraph, parent: Subgraph | None, depth: int) -> None:
        super().__init__("Subgraph", subgraph.name, subgraph.attrs)
        self._graph, self._subgraph, self._parent, self.depth = graph, subgraph, parent, depth
        self._children = [Subgraph(graph, child, self, depth + 1) for child in subgraph.children]
        self._names = frozenset(name for leaf in subgraph.leaves() for name in leaf.ops)

    @property
    def is_root(self) -> bool:
        """Whether it is the whole graph."""
        return self._parent is None

    @property
    def is_leaf(self) -> bool:
        """Whether it has no children."""
        return not self._children

    @property
    def root(self) -> Subgraph:
        """The subgraph that is the whole graph."""
        return self if self._parent is None else self._parent.root

    def get_name(self) -> str:
        """The subgraph's name."""
        return self._name

    def get_graph(self) -> Graph:
        """The graph it stands in."""
        return self._graph

    def get_parent(self) -> Subgraph | None:
        """The subgraph around it."""
        return self._parent

    def get_children(self) -> set[Subgraph]:
        """The subgraphs in it, unordered as in the binding."""
        return set(self._children)

    def get_children_num(self) -> int:
        """How many subgraphs are in it."""
        return len(self._children)

    def is_child(self, subgraph: Subgraph) -> bool:
        """Whether a subgraph is one of its children."""
        return any(child is subgraph for child in self._children)

    def toposort_child_subgraph(self) -> list[Subgraph]:
        """Its children, each behind those whose tensors it reads."""
        order = {op.get_name(): at for at, op in enumerate(self._graph.toposort())}
        return sorted(self._children, key=lambda child: max((order[name] for name in child._names), default=-1))

    def toposort(self) -> list[Op]:
        """Its operators in topological order."""
        return [op for op in self._graph.toposort() if op.get_name() in self._names]

    def get_ops(self) -> set[Op]:
        """Its operators, unordered as in the binding."""
        return set(self.toposort())

    def get_op_num(self) -> int:
        """How many operators it holds."""
        return len(self._names)

    def has_op(self, op: Op | str) -> bool:
        """Whether it holds an operator, given itself or by name."""
        return (op if isinstance(op, str) else op.get_name()) in self._names

    def find_child_subgraph_by_op_name(self, name: str) -> Subgraph | None:
        """The child that holds an operator."""
        return next((child for child in self._children if child.has_op(name)), None)

    def find_child_subgraph_by_op(self, op: Op) -> Subgraph | None:
        """The child that holds an operator."""
        return self.find_child_subgraph_by_op_name(op.get_name())

    def get_tensor_producer(self, tensor: Tensor) -> Op:
        """The operator that yields a tensor."""
        return tensor.producer

    def get_input_tensors(self) -> set[Tensor]:
        """Tensors from outside, constants included if they stand outside."""
        return {tensor for op in self.toposort() for tensor in op.get_input_tensors()
                if not self.has_op(tensor.producer)}

    def get_output_tensors(self) -> set[Tensor]:
        """Tensors that are read outside, or by nobody."""
        read_outside = {name for op in self._graph.toposort() if not self.has_op(op)
                        for names in op._op.args.values() for name in names}
        read = {name for op in self._graph.toposort() for names in op._op.args.values() for name in names}
        return {op.get_output_tensor() for op in self.toposort()
                if op.get_name() in read_outside or op.get_name() not in read}

    def _changed(self) -> XSubgraph:
        return replace(self._subgraph, attrs=self._attrs, children=tuple(c._changed() for c in self._children))


class Graph(Attributes):
    """A whole file."""

    def __init__(self, graph: XGraph) -> None:
        if not isinstance(graph, XGraph):
            raise GraphError("this stand-in for xir reads graphs and does not build them",
                             where="xir.Graph(name)", remedy="use xir.Graph.deserialize(FILE)")
        super().__init__("Graph", graph.name, graph.attrs)
        self._graph = graph
        self._ops = {op.name: Op(self, op) for op in graph.ops}
        root = graph.root or XSubgraph("root", tuple(op.name for op in graph.ops))
        self._root = Subgraph(self, root, None, 0)

    @staticmethod
    def deserialize(fname: str) -> Graph:
        """Read an ``.xmodel``; FormatError or GraphError for what is none (the real one aborts)."""
        return Graph(read_xmodel(fname))

    def serialize(self, fname: str) -> None:
        """Write the graph with its attributes as they are now."""
        write_xmodel(replace(self._graph, ops=tuple(op._changed() for op in self._ops.values()),
                             root=self._root._changed(), attrs=self._attrs), fname)

    def get_name(self) -> str:
        """The graph's name."""
        return self._graph.name

    def get_root_subgraph(self) -> Subgraph:
        """The subgraph that is the whole graph."""
        return self._root

    def get_leaf_subgraph(self, op: Op) -> Subgraph | None:
        """The leaf that holds an operator."""
        found: Subgraph | None = self._root
        while found is not None and not found.is_leaf:
            found = found.find_child_subgraph_by_op(op)
        return found

    def get_op(self, name: str) -> Op:
        """The operator of that name; GraphError if there is none."""
        if name not in self._ops:
            raise GraphError("no such operator", where=repr(self), got=name)
        return self._ops[name]

    def toposort(self) -> list[Op]:
        """Every operator, in the file's order, which is topological."""
        return list(self._ops.values())

    def get_ops(self) -> set[Op]:
        """Every operator, unordered as in the binding."""
        return set(self._ops.values())

    def get_op_num(self) -> int:
        """How many operators."""
        return len(self._ops)

    def get_head_ops(self) -> set[Op]:
        """Operators that read nothing."""
        return {op for op in self._ops.values() if not op.get_input_num()}

    def get_tail_ops(self) -> set[Op]:
        """Operators that nobody reads."""
        read = {name for op in self._graph.ops for names in op.args.values() for name in names}
        return {op for name, op in self._ops.items() if name not in read}

    def get_tensors(self) -> set[Tensor]:
        """Every operator's output."""
        return {op.get_output_tensor() for op in self._ops.values()}

    def get_tensor(self, name: str) -> Tensor:
        """The tensor of that name; GraphError if there is none."""
        for tensor in self.get_tensors():
            if tensor.name == name:
                return tensor
        raise GraphError("no such tensor", where=repr(self), got=name)

    def get_tensor_producer(self, tensor: Tensor) -> Op:
        """The operator that yields a tensor."""
        return tensor.producer
