"""LSTM layers as TensorFlow's BlockLSTM writes them: over sequences with time first, batch second.

    Transpose [1, 0, 2] -> (ReverseV2) -> BlockLSTM:6 -> (ReverseV2) -> Transpose [1, 0, 2]

Our graphs keep the batch first, so that transposes and reversals are only views: they turn into the
direction of the ``lstm`` operator between them.
"""

from __future__ import annotations

import numpy as np

from dpuflow.errors import GraphError, UnsupportedOp
from dpuflow.formats.graphdef import TFNode
from dpuflow.formats.tf_context import Importer, TimeFirst
from dpuflow.ir.graph import Array, Node, const
from dpuflow.ops.recurrent import LstmAttrs

OUTPUT = "6"  # the output of BlockLSTM that holds the layer's outputs; the others are its inner states
TIME_FIRST = [1, 0, 2]


def _where(node: TFNode) -> str:
    return f"node '{node.name}' ({node.op})"


def transpose(importer: Importer, node: TFNode) -> None:
    """Between batch first and time first; other transposes are not supported."""
    order = importer.constant(node, 1, "order of axes").reshape(-1).tolist()
    if order != TIME_FIRST:
        raise UnsupportedOp("a transpose that is not between batch and time", where=_where(node), got=order,
                            expected=TIME_FIRST)
    source = importer.views.get(node.operands[0])
    if source is None:
        importer.views[node.name] = TimeFirst(importer.made(node.operands[0]).name)
    elif source.reverse:
        raise UnsupportedOp("a sequence that runs backwards is used as it is", where=_where(node),
                            remedy="reverse it again before the transpose")
    else:
        importer.alias[node.name] = source.node


def reverse(importer: Importer, node: TFNode) -> None:
    """A sequence read from its other end."""
    source = _view(importer, node, node.operands[0])
    if importer.constant(node, 1, "axis").reshape(-1).tolist() != [0]:
        raise UnsupportedOp("a reversal along another axis than time", where=_where(node))
    importer.views[node.name] = TimeFirst(source.node, not source.reverse)


def block_lstm(importer: Importer, node: TFNode) -> None:
    """One direction of an LSTM layer; its peepholes, clipping and first state must be off."""
    _check_plain(importer, node)
    names = node.operands
    source = _view(importer, node, names[1])
    x = importer.nodes[source.node]
    weights, bias = (_constant(importer, node, name) for name in (names[4], names[8]))
    units = bias.size // 4
    if weights.ndim != 2 or weights.shape[1] != 4 * units or weights.shape[0] <= units:
        raise GraphError("the weights do not fit the bias", where=_where(node), got=f"{weights.shape}, {bias.shape}")
    bias = bias + np.repeat(np.array([0, 0, node.get("forget_bias", 1.0), 0], np.float32), units)
    parts = (("kernel", weights[:-units]), ("recurrent", weights[-units:]), ("bias", bias))
    made = [_parameter(importer, f"{node.name}/{name}", _keras_order(value, units)) for name, value in parts]
    importer.emit(node, "lstm", (x, *made), LstmAttrs(source.reverse))
    importer.views[node.name] = TimeFirst(node.name, source.reverse)


def _keras_order(values: Array, units: int) -> Array:
    """Gates in the order input, forget, cell, output from BlockLSTM's input, cell, forget, output."""
    gates = [values[..., at:at + units] for at in range(0, 4 * units, units)]
    return np.ascontiguousarray(np.concatenate([gates[0], gates[2], gates[1], gates[3]], axis=-1))


def _parameter(importer: Importer, name: str, value: Array) -> Node:
    while name in importer.nodes or name in importer.graph.by_name:  # a name of the file itself
        name += "_"
    importer.nodes[name] = const(name, value)
    return importer.nodes[name]


def _constant(importer: Importer, node: TFNode, name: str) -> Array:
    data = importer.made(name).data
    if data is None:
        raise GraphError("its weights are computed, not constant", where=_where(node), got=name)
    return data


def _view(importer: Importer, node: TFNode, name: str) -> TimeFirst:
    if name not in importer.views:
        raise UnsupportedOp("its operand is not a sequence with time first", where=_where(node), got=name,
                            expected=f"a Transpose {TIME_FIRST} before it")
    return importer.views[name]


def _check_plain(importer: Importer, node: TFNode) -> None:
    if len(node.operands) != 9:
        raise GraphError("wrong number of operands", where=_where(node), expected=9, got=len(node.operands))
    if node.get("use_peephole", False) or node.get("cell_clip", 3.0) > 0:
        raise UnsupportedOp("an LSTM with peepholes or a clipped cell", where=_where(node),
                            remedy="set use_peephole to false and cell_clip to -1")
    for name in node.operands[2:4]:
        state = importer.graph.node(name)
        value = importer.static_value(state.operands[1] if state.op == "Fill" else name)
        if value is None or value.any():
            raise UnsupportedOp("an LSTM whose first state is not zero", where=_where(node), got=name)
