"""Descriptions of GraphDef and XIR files."""

from __future__ import annotations

import dataclasses
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from dpuflow.artifact import file_digest
from dpuflow.describe.description import Description, Layer, Part
from dpuflow.errors import GraphError
from dpuflow.formats.xir import XGraph, XOp, XSubgraph, read_xmodel
from dpuflow.formats.xir_check import broken_rules
from dpuflow.formats.xir_defs import XIR_OPS
from dpuflow.formats.xir_import import parameter_arrays
from dpuflow.formats.xir_importer import is_simulated
from dpuflow.ir.graph import Graph, Node
from dpuflow.model import QUANTIZED_XMODEL, XMODEL, Model, model_from_xir

_CONSTANTS = ("const", "const-fix")
_SHOWN = ("kernel", "stride", "dilation", "pad", "pad_mode", "group", "nonlinear", "type", "axis", "hsigmoid_in",
          "shift_hsigmoid", "alpha", "mode", "scale", "workload", "workload_on_arch", "channel_augmentation")


def _attrs(node: Node) -> dict[str, Any]:
    return {item.name: value for item in dataclasses.fields(node.attrs)
            if (value := getattr(node.attrs, item.name)) != item.default and not callable(value)}


def _plain(value: Any) -> Any:
    """An attribute as JSON takes it."""
    if hasattr(value, "__iter__") and not isinstance(value, (str, bytes, dict)):
        return tuple(_plain(item) for item in value)
    return value if isinstance(value, (int, float, str, bool)) else str(value)


def graph_layers(graph: Graph) -> tuple[Layer, ...]:
    """The computed nodes of a network."""
    return tuple(Layer(
        node.name, node.op, tuple(name for name in node.inputs if graph.by_name[name].data is None), node.shape,
        node.fix.pos if node.fix else None, node.fix.bits if node.fix else None,
        parameters=sum(operand.data.size for operand in graph.operands(node) if operand.data is not None),
        layer=node.label, notes={key: _plain(value) for key, value in _attrs(node).items()})
        for node in graph.nodes if node.data is None)


def parameter_count(graph: Graph) -> int:
    """Values in all constants."""
    return sum(node.data.size for node in graph.nodes if node.data is not None)


def describe_graph(model: Model, path: Path) -> Description:
    """A GraphDef, or any other model that holds nothing but its network."""
    facts: dict[str, Any] = {"inputs": tuple(f"{node.name} {'x'.join(map(str, node.shape))}"
                                             for node in model.graph.inputs)}
    if model.tf:
        facts["nodes in the file"] = dict(Counter(node.op for node in model.tf.nodes).most_common())
    digest, size = (file_digest(path), path.stat().st_size) if path.is_file() else ("", 0)  # zoo:NAME is no file
    return Description(str(path), model.kind, digest, size, model.quantized, parameter_count(model.graph),
                       facts=facts, layers=graph_layers(model.graph), outputs=model.graph.outputs)


def _where_held(graph: XGraph) -> dict[str, str]:
    children = graph.root.children if graph.root else ()
    return {name: child.name for child in children for leaf in child.leaves() for name in leaf.ops}


def _sizes(graph: XGraph) -> dict[str, int]:
    sizes = {}
    for op in graph.ops:
        if op.type in _CONSTANTS:
            size = 1
            for length in op.tensor.dims:
                size *= length
            sizes[op.name] = size
    return sizes


def xir_layers(graph: XGraph) -> tuple[Layer, ...]:
    """The operators of an XIR graph but its constants."""
    held, sizes = _where_held(graph), _sizes(graph)
    fixes = {op.name: op for op in graph.ops if op.type == "fix" and set(op.args.get("input", ())) & set(sizes)}
    source = {name: op.args["input"][0] for name, op in fixes.items()}
    return tuple(_xir_layer(op, sizes, source, held.get(op.name, "")) for op in graph.ops
                 if op.name not in sizes and op.name not in fixes)


def _xir_layer(op: XOp, sizes: dict[str, int], source: dict[str, str], part: str) -> Layer:
    operands = tuple(name for names in op.args.values() for name in names)
    constants = [source.get(name, name) for name in operands if source.get(name, name) in sizes]
    position = op.tensor.attrs.get("fix_point", op.attrs.get("fix_point"))
    fixed = position is not None and (op.tensor.data_type == "XINT" or op.type == "fix")
    return Layer(op.name, op.type, tuple(name for name in operands if source.get(name, name) not in sizes),
                 op.tensor.dims, position.value if fixed and position else None, op.tensor.bits if fixed else None,
                 str(op.get("device", "")), part, sum(sizes[name] for name in constants),
                 str(op.get("dpuflow_layer", "")),
                 {key: op.attrs[key].value for key in _SHOWN if key in op.attrs})


def _part(child: XSubgraph) -> Part:
    facts: dict[str, Any] = {}
    for key in ("workload", "workload_on_arch"):
        if child.get(key):
            facts[key] = child.get(key)
    if child.get("mc_code"):
        facts["instruction bytes"] = len(child.get("mc_code"))
    registers, kinds = child.get("reg_id_to_size") or {}, child.get("reg_id_to_context_type_v2") or {}
    if registers:
        facts["registers"] = {key: f"{size} bytes {kinds.get(key, '')}".strip() for key, size in registers.items()}
    return Part(child.name, str(child.get("device", "")), sum(len(leaf.ops) for leaf in child.leaves()), facts)


def xir_core(graph: XGraph) -> dict[str, Any]:
    """The core that a compiled file names: its name and fingerprint."""
    parts = graph.dpu_subgraphs
    if not parts:
        return {}
    fingerprint = parts[0].get("dpu_fingerprint")
    shown = f"0x{fingerprint:016x}" if isinstance(fingerprint, int) else "unknown"
    return {"name": parts[0].get("dpu_name"), "fingerprint": shown}


def describe_xmodel(path: Path) -> Description:
    """An xmodel; one whose network cannot be used is described all the same, with the reason."""
    graph = read_xmodel(path)
    problem, found, parameters = "", list[str](), sum(_sizes(graph).values())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model_from_xir(graph, str(path))
            parameters = sum(array.size for array in parameter_arrays(graph).values())
        except GraphError as error:
            problem = str(error)
        found = [str(item.message) for item in caught]
    facts: dict[str, Any] = {key: value.value for key, value in graph.attrs.items()
                             if key != "return_ops" and value.kind != "bytes"}
    custom = tuple(sorted({op.type for op in graph.ops} - set(XIR_OPS)))
    if custom:
        facts["custom operators"] = (*custom, "(to run it, supply each as a Python function: --custom-op)")
    layers, children = xir_layers(graph), graph.root.children if graph.root else ()
    read = {name for layer in layers for name in layer.inputs}
    outputs = graph.attrs["return_ops"].value if "return_ops" in graph.attrs else tuple(
        layer.name for layer in layers if layer.name not in read)
    return Description(
        str(path), QUANTIZED_XMODEL if is_simulated(graph) else XMODEL, file_digest(path), path.stat().st_size, True,
        parameters, xir_core(graph), facts, tuple(map(_part, children)), layers,
        tuple(outputs), problem, broken_rules(graph), tuple(found))
