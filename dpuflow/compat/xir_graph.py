"""The stand-in for the vendor's module ``xir``: graphs, subgraphs, operators and tensors of a file.

Signatures, property names and container types are those of the Python binding of XIR 3.5 (sets
where it gives sets, lists where it gives lists). Graphs are read, walked and written back with
changed attributes; they are not built operator by operator.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from dpuflow.errors import GraphError
from dpuflow.formats.xir import XGraph, XOp, XSubgraph, XTensor, XValue, read_xmodel, write_xmodel


class Dimensions(int):
    """A tensor's number of dimensions. Releases before 1.4 gave the sizes themselves under this
    name, so that programs of then write ``tuple(tensor.ndim)``; both work."""

    sizes: tuple[int, ...]

    def __iter__(self) -> Any:
        return iter(self.sizes)


def _plain(value: XValue) -> Any:
    """An attribute as the binding hands it out: vectors are lists, maps are dicts."""
    if value.kind.startswith("map_"):
        return {key: _bytes(item) for key, item in value.value.items()}
    return [_bytes(item) for item in value.value] if isinstance(value.value, tuple) else _bytes(value.value)


def _bytes(value: Any) -> Any:
    """Large payloads are views of the file; the binding gives bytes."""
    return bytes(value) if isinstance(value, memoryview) else value


def _typed(value: Any) -> XValue:
    """A Python value with the XIR type that the binding chooses for it."""
    scalars = ((bool, "bool"), (int, "int32"), (float, "double"), (str, "string"), (bytes, "bytes"))
    for kind, name in scalars:
        if isinstance(value, kind):
            return XValue(name, value)
    for kind, name in scalars[:4]:
        if isinstance(value, list) and value and all(isinstance(item, kind) for item in value):
            return XValue(f"{name}_vec", tuple(value))
    for kind, name in scalars[1:4:2]:
        if isinstance(value, dict) and value and all(isinstance(item, kind) for item in value.values()):
            return XValue(f"map_string_2_{name}", dict(value))
    raise GraphError("no XIR type for an attribute's value", got=type(value).__name__,
                     expected="bool, int, float, str, bytes, or a list or dict of one of them")


class Attributes:
    """``has_attr``, ``get_attr``, ``set_attr`` and their plurals, as every XIR object has them."""

    def __init__(self, kind: str, name: str, attrs: Mapping[str, XValue]) -> None:
        self._kind, self._name, self._attrs = kind, name, dict(attrs)

    def has_attr(self, name: str) -> bool:
        """Whether there is an attribute of that name."""
        return name in self._attrs

    def get_attr(self, name: str) -> Any:
        """An attribute's value; GraphError listing what there is (the real one aborts)."""
        if name not in self._attrs:
            raise GraphError(f"no attribute '{name}'", where=f"{self._kind} '{self._name}'",
                             expected=", ".join(sorted(self._attrs)) or "none at all")
        return _plain(self._attrs[name])

    def get_attrs(self) -> dict[str, Any]:
        """Every attribute by name."""
        return {name: _plain(value) for name, value in self._attrs.items()}

    def set_attr(self, name: str, value: Any) -> Any:
        """Set one attribute; an existing one keeps its type where the value fits it."""
        old = self._attrs.get(name)
        made = _typed(value)
        if old is not None and old.kind.removeprefix("u").replace("64", "32") == made.kind:
            made = XValue(old.kind, made.value)
        self._attrs[name] = made
        return self

    def set_attrs(self, attrs: Mapping[str, Any]) -> Any:
        """Set several attributes."""
        for name, value in attrs.items():
            self.set_attr(name, value)
        return self

    def __repr__(self) -> str:
        return f"<xir.{self._kind} named '{self._name}'>"


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


def cut(subgraph: Subgraph) -> tuple[XGraph, list[Tensor], list[Tensor]]:
    """A subgraph as a graph of its own, with its input and output tensors in the runner's order.

    What it reads from outside becomes an input of that name; constants come along.
    """
    graph = subgraph._graph._graph
    inside = {op.get_name() for op in subgraph.toposort()}
    outside = {name for name in inside for names in graph.by_name[name].args.values() for name in names} - inside
    constants = {name for name in outside if graph.by_name[name].type in ("const", "const-fix")}
    ops = tuple(_as_input(op) if op.name in outside - constants else op
                for op in graph.ops if op.name in inside | outside)
    outputs = _sorted(subgraph.get_output_tensors())
    names = tuple(tensor.producer.get_name() for tensor in outputs)
    root = XSubgraph("root", children=(replace(subgraph._subgraph),)) if not subgraph.is_root else graph.root
    made = XGraph(subgraph.get_name(), ops, root, {"return_ops": XValue("string_vec", names)})
    return made, [t for t in _sorted(subgraph.get_input_tensors())
                  if t.producer.get_name() not in constants], outputs


def _as_input(op: XOp) -> XOp:
    kind = "data-fix" if op.tensor.data_type == "XINT" else "data"
    return op if op.type == kind else XOp(op.name, kind, {}, op.attrs, op.tensor)


def _sorted(tensors: Iterable[Tensor]) -> list[Tensor]:
    return sorted(tensors, key=lambda tensor: tensor.name)
