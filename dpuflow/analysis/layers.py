"""Which FixNeurons make up one layer: a compute operator's parameters and its output's, or one tensor's."""

from __future__ import annotations

from dataclasses import dataclass

from dpuflow.formats.graphdef import TFGraph, TFNode
from dpuflow.quant.positions import fix_neurons

COMPUTE = ("Conv2D", "DepthwiseConv2dNative", "DepthwiseConv2d", "MatMul", "Conv2DBackpropInput", "Conv3D")


@dataclass(frozen=True)
class Layer:
    """``name`` as the vendor's tools call it, its operator, its FixNeurons, and those that feed it."""

    name: str
    op: str
    fixes: tuple[str, ...]
    inputs: tuple[str, ...]

    @property
    def weights(self) -> tuple[str, ...]:
        """The parameters' FixNeurons."""
        return tuple(name for name in self.fixes if name.endswith("/wquant"))

    @property
    def output(self) -> str | None:
        """The output's FixNeuron; None for a layer whose output stays in float."""
        return next((name for name in self.fixes if name.endswith("/aquant")), None)


def _region(graph: TFGraph, start: str, taken: set[str]) -> tuple[list[TFNode], list[str]]:
    """The nodes behind ``start`` up to the next FixNeurons, and those."""
    nodes, fixes, stack, seen = [], [], [start], set(taken)
    while stack:
        name = stack.pop()
        if name in seen:
            continue
        seen.add(name)
        node = graph.by_name[name]
        if node.op == "FixNeuron":
            fixes.append(name)
            continue
        nodes.append(node)
        stack.extend(node.operands)
    return nodes, fixes


def _layer(graph: TFGraph, start: str, fix: str | None) -> Layer:
    nodes, fixes = _region(graph, start, set())
    compute = next((node for node in nodes if node.op in COMPUTE), None)
    other = next((node for node in nodes if node.op not in ("Const", "Relu", "Relu6", "Mul", "Identity")), nodes[0])
    node = compute or other
    parameters = tuple(name for name in reversed(fixes) if name.endswith("/wquant"))
    return Layer(node.name, node.op, parameters + ((fix,) if fix else ()),
                 tuple(name for name in fixes if not name.endswith("/wquant")))


def find_layers(evaluation: TFGraph) -> tuple[Layer, ...]:
    """The layers in graph order; every FixNeuron belongs to the first that holds it."""
    layers: list[Layer] = []
    taken: set[str] = set()
    for name, fix in fix_neurons(evaluation).items():
        if int(fix.get("mode", 1)) != 1:
            continue
        layer = _layer(evaluation, fix.operands[0], name)
        kept = tuple(own for own in layer.fixes if own not in taken)
        taken.update(kept)
        layers.append(Layer(layer.name, layer.op, kept, layer.inputs))
    for sink in evaluation.sinks:  # parameters that only an unquantized end reads
        if sink.op != "FixNeuron":
            layer = _layer(evaluation, sink.name, None)
            kept = tuple(own for own in layer.fixes if own not in taken)
            if kept:
                taken.update(kept)
                layers.append(Layer(layer.name, layer.op, kept, layer.inputs))
    return tuple(layers)
