"""Graphs that were trained with FixNeurons: meta graph and checkpoint to a frozen graph.

Quantizer specification, section 11. The meta graph is read here; the checkpoint through TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dpuflow.errors import FormatError, GraphError
from dpuflow.files import atomic_path, read_bytes
from dpuflow.formats.graphdef import TFGraph, TFNode, const_node, parse_graphdef, serialize_graphdef
from dpuflow.formats.graphdef_proto import GraphDef, MetaGraphDef
from dpuflow.formats.protobuf import parse, serialize
from dpuflow.formats.tf_constants import FOLDABLE, fold
from dpuflow.ir.graph import Array
from dpuflow.quant.config import QuantizeConfig
from dpuflow.quant.deploy import deployed_outputs
from dpuflow.quant.prepare.fold_constants import import_order
from dpuflow.quant.strip import between

_VARIABLES = frozenset({"VariableV2", "Variable", "VarHandleOp"})
_READERS = frozenset({"Identity", "ReadVariableOp"})
ReadVariable = Callable[[str], Array]


def read_meta_graph(path: Path | str) -> TFGraph:
    """The graph inside a ``.meta`` file; FormatError if there is none."""
    message = parse(MetaGraphDef, read_bytes(path), path)
    if not message.graph_def:
        raise FormatError("the file holds no graph", where=path, expected="a MetaGraphDef (.meta)")
    return parse_graphdef(message.graph_def, path)


def write_meta_graph(graph: TFGraph, source: Path | str, path: Path) -> None:
    """The meta graph of ``source`` with other nodes; savers, collections, versions and functions stay."""
    message = parse(MetaGraphDef, read_bytes(source), source)
    kept = parse(GraphDef, message.graph_def, source)
    kept.ClearField("node")
    kept.MergeFromString(serialize_graphdef(graph))
    message.graph_def = serialize(kept)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(serialize(message))


def freeze(graph: TFGraph, read: ReadVariable) -> TFGraph:
    """Variables become constants of their values, their readers Identities."""
    variables = {node.name for node in graph.nodes if node.op in _VARIABLES}

    def frozen(node: TFNode) -> TFNode:
        if node.name in variables:
            return const_node(node.name, read(node.name))
        if node.op == "ReadVariableOp" and node.operands[0] in variables:
            kind = node.get("dtype")
            return node.replace(op="Identity").with_attrs(drop=("dtype",), **({"T": kind} if kind else {}))
        return node

    return graph.replace(frozen(node) for node in graph.nodes)


def freeze_checkpoint(graph: TFGraph, path: Path | str) -> TFGraph:
    """A meta graph with the values of a checkpoint; a folder means its latest checkpoint."""
    try:
        from dpuflow.tensorflow.checkpoint import checkpoint_reader
    except ImportError:
        raise FormatError("reading a checkpoint needs TensorFlow", where=path,
                          remedy="install the train extra, or freeze the graph and give --input_frozen_graph") from None
    return freeze(graph, checkpoint_reader(path))


def constant_parameters(graph: TFGraph, config: QuantizeConfig) -> TFGraph:
    """What FixNeurons read is folded to constants where it depends on constants alone.

    Only the part between the network's inputs and outputs is kept: optimizers and savers of a
    training graph go.
    """
    inside = between(graph, config.input_nodes, deployed_outputs(graph, config))
    main = graph.replace(node for node in graph.nodes if node.name in inside)
    if not any(node.op == "FixNeuron" for node in main.nodes):
        raise GraphError("the graph holds no FixNeuron", where=graph.source,
                         expected="a graph that was quantized", remedy="run `decent_q quantize`")
    made: dict[str, TFNode] = {}
    for node in import_order(main):
        operands = [made[name].tensor() for name in node.operands if name in made]
        if node.op in FOLDABLE and operands and len(operands) == len(node.operands):
            node = const_node(node.name, fold(node, operands))
        if node.op == "Const":
            made[node.name] = node
    return main.replace(made.get(node.name, node) for node in main.nodes)
