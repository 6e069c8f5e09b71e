"""``deploy_model.pb``: the graph that the DNNDK compiler reads (quantizer specification, section 8).

FixNeurons are folded: into quantized tensors and ``wpos``/``bpos`` for constants, into ``opos`` of
their producers for activations; groups become one compute node that carries its parameters.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from dpuedge import fixed
from dpuflow.errors import QuantizeError
from dpuflow.formats.graphdef import TFGraph, TFNode, rewire
from dpuflow.formats.tf_import import import_tf
from dpuflow.formats.tf_values import TShape
from dpuflow.ir.graph import Array, Shape
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.order import topological
from dpuflow.quant.patterns import Match, find_matches

# Constant operands that become attributes of these operators: operand index, attribute.
_ATTRIBUTE_OPERANDS = {
    "Mean": (1, "reduction_indices"), "Pad": (1, "paddings"), "Concat": (0, "axis"), "ConcatV2": (-1, "axis"),
    "ArgMax": (1, "dimension"), "Reshape": (1, "shape"), "ExpandDims": (1, "dim"),
}


def _without_fixes(graph: TFGraph) -> tuple[TFGraph, dict[str, tuple[int, int]]]:
    """The graph without FixNeurons, and (bits, pos) of the tensors they quantized."""
    rename = {node.name: node.operands[0] for node in graph.nodes if node.op == "FixNeuron"}
    fixes: dict[str, tuple[int, int]] = {}
    for node in graph.nodes:
        if node.op != "FixNeuron":
            continue
        producer = node.operands[0]
        while producer in rename:
            producer = rename[producer]
        here = (int(node.get("bit_width")), int(node.get("quantize_pos")))
        if producer in fixes and fixes[producer] != here:
            warnings.warn(f"[DECENT_WARNING] two FixNeurons in a row differ after {producer}", stacklevel=3)
        fixes.setdefault(producer, here)
    nodes = [node for node in graph.nodes if node.name not in rename]
    return graph.replace(rewire(nodes, rename)), fixes


def quantized_constant(data: Array, bits: int, pos: int) -> Array:
    """A float32 constant on its grid, rounded half away; the sign of a zero stays."""
    if pos == fixed.ALL_ZERO_POS:
        return data
    return fixed.snap(data, pos, "half_away", bits)


def _cut(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """Identities go; only what lies between input and output nodes stays."""
    rename = {node.name: node.operands[0] for node in graph.nodes if node.op == "Identity"}
    graph = graph.replace(rewire((node for node in graph.nodes if node.name not in rename), rename))
    needed: set[str] = set()
    stack = [rename.get(name, name) for name in config.output_nodes]
    stack = [f"{name}/aquant" if f"{name}/aquant" in graph.by_name else name for name in stack]
    while stack:
        name = stack.pop()
        if name in needed:
            continue
        needed.add(name)
        if name not in config.input_nodes:
            stack.extend(graph.node(name).operands)
    return graph.replace(node for node in graph.nodes if node.name in needed)


class _Writer:
    """Turns groups into compute nodes."""

    def __init__(self, graph: TFGraph, fixes: Mapping[str, tuple[int, int]]) -> None:
        self.graph, self.fixes = graph, fixes
        self.replaced: dict[str, TFNode | None] = {}
        self.rename: dict[str, str] = {}

    def parameter(self, name: str) -> tuple[Array, tuple[int, int]]:
        node = self.graph.node(name)
        if node.op != "Const":
            raise QuantizeError("[DEPLOY ERROR] a parameter is not constant", where=f"node '{name}'", got=node.op)
        if name not in self.fixes:
            raise QuantizeError("[DEPLOY ERROR] a parameter is not quantized", where=f"node '{name}'")
        bits, pos = self.fixes[name]
        return quantized_constant(node.tensor(), bits, pos), (bits, pos)

    def compute(self, match: Match) -> None:
        roles = match.roles
        node = self.graph.node(roles["compute"])
        weights, wpos = self.parameter(roles["weights"])
        made = node.replace(inputs=node.inputs[:1]).with_attrs(weights=weights, wpos=wpos)
        if "biases" in roles:
            bias, bpos = self.parameter(roles["biases"])
            made = made.with_attrs(bias=bias, bpos=bpos)
            self.replaced[roles["bias"]] = None
            self.rename[roles["bias"]] = node.name
        if match.last in self.fixes:
            made = made.with_attrs(opos=self.fixes[match.last])
            if "relu" in roles:
                relu = self.graph.node(roles["relu"])
                self.replaced[relu.name] = relu.with_attrs(opos=self.fixes[match.last])
        self.replaced[node.name] = made

    def pool(self, match: Match) -> None:
        node = self.graph.node(match.roles["avgpool"])
        made = node.with_attrs(opos=self.fixes[match.last]) if match.last in self.fixes else node
        self.replaced[node.name] = made
        self.replaced[match.last] = None
        self.rename[match.last] = node.name

    def other(self, match: Match) -> None:
        for name in match.claimed:
            if match.last in self.fixes and name in (match.last, match.roles.get("other"), match.roles.get("array")):
                self.replaced[name] = self.graph.node(name).with_attrs(opos=self.fixes[match.last])

    def convert(self, match: Match) -> None:
        if "compute" in match.roles:
            self.compute(match)
        elif match.kind == "avgpool_mul":
            self.pool(match)
        else:
            self.other(match)

    def result(self) -> TFGraph:
        nodes = [self.replaced.get(node.name, node) for node in self.graph.nodes]
        return self.graph.replace(rewire((node for node in nodes if node is not None), self.rename))


def _operands_to_attributes(graph: TFGraph, shapes: Mapping[str, Shape]) -> TFGraph:
    """Constant operands move into attributes, under the names of section 8."""
    nodes = []
    for node in graph.nodes:
        if node.op in _ATTRIBUTE_OPERANDS:
            index, attribute = _ATTRIBUTE_OPERANDS[node.op]
            index %= len(node.inputs)
            value = _attribute_value(graph, node, index, shapes)
            kept = tuple(name for at, name in enumerate(node.inputs) if at != index)
            node = node.replace(inputs=kept).with_attrs(**{attribute: value})
        nodes.append(node)
    return graph.replace(nodes)


def _attribute_value(graph: TFGraph, node: TFNode, index: int, shapes: Mapping[str, Shape]) -> Array:
    if node.op == "Reshape":
        return np.array(shapes[node.name], np.int32)
    operand = graph.node(node.operands[index])
    if operand.op != "Const":
        raise QuantizeError("[DEPLOY ERROR] an operand is not constant", where=f"node '{node.name}' ({node.op})",
                            got=operand.name)
    return operand.tensor()


def _set_input_positions(graph: TFGraph) -> TFGraph:
    """``ipos`` is the producers' ``opos`` in operand order."""
    nodes = []
    for node in graph.nodes:
        ipos = [number for operand in graph.operands(node) for number in operand.get("opos", ())]
        nodes.append(node.with_attrs(ipos=ipos) if ipos else node)
    return graph.replace(nodes)


def _drop_unread_constants(graph: TFGraph) -> TFGraph:
    """Constants whose readers carry them as attributes now, and what only fed such, go."""
    while True:
        dead = {node.name for node in graph.nodes
                if not graph.users[node.name] and node.op in ("Const", "Shape", "StridedSlice", "Pack")}
        if not dead:
            return graph
        graph = graph.replace(node for node in graph.nodes if node.name not in dead)


def _deployed(node: TFNode) -> TFNode:
    """No device; the Placeholder's batch becomes 1."""
    node = node.replace(device="")
    if node.op != "Placeholder":
        return node
    shape = node.get("shape", TShape(None))
    return node.with_attrs(shape=TShape((1, *shape.dims[1:]))) if shape.dims else node


def deploy_graph(evaluation: TFGraph, config: QuantizeConfig) -> TFGraph:
    """The deploy graph of an evaluation graph with final positions."""
    graph, fixes = _without_fixes(_cut(evaluation, config))
    outputs = [node.name for node in graph.sinks]
    shapes = {node.name: node.shape for node in import_tf(graph, outputs, config.shapes).nodes}
    graph = topological(graph)
    ignored = set(config.ignore_nodes)
    writer = _Writer(graph, fixes)
    for match in find_matches(graph):
        if ignored.intersection(match.claimed):
            for name in match.claimed:
                writer.replaced[name] = graph.node(name).with_attrs(quantize_ignored=True)
        else:
            writer.convert(match)
    graph = _drop_unread_constants(_operands_to_attributes(writer.result(), shapes))
    graph = _set_input_positions(topological(graph))
    return graph.replace(_deployed(node) for node in graph.nodes)
