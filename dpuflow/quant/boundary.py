"""The position of the int8 tensor where the DPU hands over to the processor.

The quantizer's rule chooses it by the error of the tensor itself. What counts is the error of what
the float layers behind make of it, so the neighbours of that position are tried on calibration
images and the one with the smallest error at the network's outputs is kept. Nothing before the
tensor depends on its position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpuedge.fixed import ALL_ZERO_POS
from dpuflow.engines.evaluate import evaluate
from dpuflow.errors import QuantizeError
from dpuflow.formats.graphdef import TFGraph, TFNode
from dpuflow.formats.tf_import import import_tf
from dpuflow.ir.graph import Array, Graph, Node
from dpuflow.ops.elementwise import FixAttrs
from dpuflow.passes import lower
from dpuflow.passes.fuse_bias import COMPUTE
from dpuflow.target.limits import SHIFT_MAX

_MOVES = ("Reshape", "Squeeze", "Identity", "FixNeuron")  # what only hands values on
NEIGHBOURS = (-2, -1, 0, 1, 2)


@dataclass(frozen=True)
class BoundaryChoice:
    """The position chosen for ``tensor``, the rule's own, and the mean squared error at the outputs for each tried."""

    tensor: str
    position: int
    by_rule: int
    errors: Mapping[int, float]

    def as_json(self) -> Mapping[str, Any]:
        """The same as a JSON object."""
        return {"tensor": self.tensor, "fix_point": self.position, "fix_point_by_rule": self.by_rule,
                "output_error": {str(pos): error for pos, error in self.errors.items()}}


def fix_chain(graph: TFGraph, tensor: str) -> tuple[str, ...]:
    """The FixNeurons that hold a tensor's position: its own and those it is handed on from, unchanged."""
    node, found = graph.node(f"{tensor}/aquant"), []
    while node.op in _MOVES:
        if node.op == "FixNeuron":
            found.append(node.name)
        node = graph.node(node.operands[0])
    return tuple(found)


def legal_positions(graph: Graph, tensor: str) -> range:
    """The positions of a tensor of a quantized graph with which its layer's shifts stay legal.

    Arithmetic specification, section 8: shift_cut from 0 to 16, shift_bias not below its bound.
    """
    node = graph.node(tensor)
    while node.op in ("reshape", "identity", "concat"):
        node = graph.node(node.inputs[0])
    positions = [operand.fix.pos for operand in graph.operands(node) if operand.fix]
    if node.op not in COMPUTE or len(positions) < 2:
        return range(node.fix.pos, node.fix.pos + 1) if node.fix else range(0)
    scale = positions[0] + positions[1]
    bias = scale - positions[2] if len(positions) > 2 else 0
    return range(scale - SHIFT_MAX - min(bias, 0), scale + 1)


def choose_boundary(evaluation: TFGraph, float_graph: TFGraph, tensor: str,
                    images: Mapping[str, Array]) -> BoundaryChoice:
    """Try the positions around the rule's that the DPU's shifts allow.

    ``images`` by input node, as the network takes them. The error is that of the outputs against the
    float network's. QuantizeError for a tensor without a position.
    """
    chain = fix_chain(evaluation, tensor)
    by_rule = int(evaluation.node(chain[0]).get("quantize_pos", ALL_ZERO_POS))
    if by_rule == ALL_ZERO_POS:
        raise QuantizeError("the tensor was zero in every calibration image: it has no position", where=tensor,
                            remedy="calibrate with images that reach this layer")
    outputs = [node.name for node in float_graph.sinks]
    wanted = evaluate(import_tf(float_graph, outputs), images)
    network = import_tf(evaluation, outputs)
    allowed = legal_positions(lower(network), tensor)
    errors = {by_rule + step: _error(network, chain, by_rule + step, images, wanted)
              for step in NEIGHBOURS if step == 0 or by_rule + step in allowed}
    best = min(errors, key=lambda pos: (errors[pos], abs(pos - by_rule)))
    return BoundaryChoice(tensor, best, by_rule, errors)


def _error(network: Graph, chain: Sequence[str], pos: int, images: Mapping[str, Array],
           wanted: Mapping[str, Array]) -> float:
    results = evaluate(network.replace(_moved(node, chain, pos) for node in network.nodes), images)
    return float(np.mean([np.mean((results[name].astype(np.float64) - value) ** 2) for name, value in wanted.items()]))


def _moved(node: Node, chain: Sequence[str], pos: int) -> Node:
    if node.name not in chain:
        return node
    return node.replace(attrs=FixAttrs(pos, node.attrs.bits, node.attrs.rounding))


def with_boundary(graph: TFGraph, chain: Sequence[str], pos: int) -> TFGraph:
    """An evaluation or deploy graph with another position of the tensors in ``chain`` (FixNeurons' names)."""
    holders = set(chain) | {name.removesuffix("/aquant") for name in chain}

    def moved(node: TFNode) -> TFNode:
        if node.name not in holders:
            return node
        if node.op == "FixNeuron":
            return node.with_attrs(quantize_pos=pos)
        if "opos" in node.attrs:
            return node.with_attrs(opos=[int(node.get("opos")[0]), pos])
        return node

    return graph.replace(moved(node) for node in graph.nodes)
