"""Open any model file this library reads: the suffix tells the container, the content the kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dpuedge.elf import Elf
from dpuflow.errors import EngineError, FormatError, GraphError
from dpuflow.files import read_bytes
from dpuflow.formats.xir import XGraph, parse_xmodel
from dpuflow.formats.xir_import import import_xir
from dpuflow.formats.xir_importer import is_simulated
from dpuflow.ir.graph import Graph, Shape
from dpuflow.ops.custom import CustomFunction
from dpuflow.passes import lower

if TYPE_CHECKING:
    from dpuflow.formats.graphdef import TFGraph

CustomFunctions = Mapping[str, CustomFunction]


@dataclass(frozen=True)
class Model:
    """A model file: what it is, its network, and the file's own form for those who need it."""

    source: str
    kind: str
    graph: Graph
    quantized: bool
    tf: TFGraph | None = None
    xir: XGraph | None = None
    elf: Elf | None = None


FRAMEWORK_KINDS = {".onnx": "ONNX network", ".keras": "Keras network", ".h5": "Keras network"}
FLOAT_GRAPH = "frozen float graph"
EVALUATION_GRAPH = "quantized graph with FixNeurons (quantize_eval_model.pb)"
DEPLOY_GRAPH = "deploy graph (deploy_model.pb)"
XMODEL = "compiled xmodel"
DNNDK = "DNNDK model file"
QUANTIZED_XMODEL = "quantized xmodel, not yet compiled"


ZOO_NETWORK = "network of the zoo with made-up weights"
ZOO_PREFIX = "zoo:"


def model_from_tf(tf: TFGraph, name: str, shapes: Mapping[str, Shape] | None = None) -> Model:
    """A GraphDef as a model: float, with FixNeurons, or a deploy graph."""
    # On demand: an xmodel, which starts often, needs none of these readers.
    from dpuflow.formats.deploy_import import import_deploy, is_deploy
    from dpuflow.formats.tf_import import import_tf

    if is_deploy(tf):
        return Model(tf.source, DEPLOY_GRAPH, _whole(import_deploy(tf, name), tf.source), True, tf)
    graph = _whole(import_tf(tf, [node.name for node in tf.sinks], shapes, name), tf.source)
    if any(node.op == "fix" for node in graph.nodes):
        return Model(tf.source, EVALUATION_GRAPH, lower(graph), True, tf)
    return Model(tf.source, FLOAT_GRAPH, graph, False, tf)


def _whole(graph: Graph, where: object) -> Graph:
    """The graph, if it computes anything from anything."""
    if not graph.inputs or not graph.outputs:
        raise GraphError("the network has no " + ("output" if graph.inputs else "input"), where=where,
                         expected="at least one input and one computed output")
    return graph


def _parse_pb(data: bytes, path: Path) -> Model:
    from dpuflow.formats.graphdef import parse_graphdef

    return model_from_tf(parse_graphdef(data, path), path.stem)


def _from_framework(path: Path) -> Model:
    """An ONNX, Keras or SavedModel network; Q/DQ pairs of ONNX make it a quantized one."""
    from dpuflow.formats.float_source import read_network

    model = model_from_tf(read_network(path), path.stem)
    kind = FRAMEWORK_KINDS.get(path.suffix.lower(), "SavedModel") + (", quantized (Q/DQ)" if model.quantized else "")
    return replace(model, source=str(path), kind=kind)


def model_from_xir(xir: XGraph, source: str, custom: CustomFunctions | None = None) -> Model:
    """An XIR graph as a model: compiled, or quantized and not yet compiled."""
    graph = _whole(import_xir(xir, custom), source)
    if is_simulated(xir):
        return Model(source, QUANTIZED_XMODEL, lower(graph), True, xir=xir)
    return Model(source, XMODEL, graph, True, xir=xir)


def _from_zoo(source: str) -> Model:
    """A network of the zoo, quantized, with made-up weights."""
    from dpuflow.zoo import quantized_network

    return Model(source, ZOO_NETWORK, quantized_network(source.removeprefix(ZOO_PREFIX)), True)


def model_from_elf(path: Path, like: Path | str | None = None, kernel: str | None = None) -> Model:
    """A DNNDK kernel as a model: by conventions that are warned of, or with the structure of the graph ``like``."""
    from dpuflow.formats.dnndk import kernel_of, read_elf
    from dpuflow.formats.dnndk_import import import_kernel, import_kernel_like

    elf = read_elf(path)
    part = kernel_of(elf, kernel, path)
    graph = import_kernel(part) if like is None else import_kernel_like(part, quantized_graph(load(like)), like)
    return Model(str(path), DNNDK, graph, True, elf=elf)


def load(path: Path | str, custom: CustomFunctions | None = None, like: Path | str | None = None,
         kernel: str | None = None) -> Model:
    """Read a frozen GraphDef (float, evaluation or deploy), an ``.xmodel``, a DNNDK ``.elf`` or ``.so``,
    an ``.onnx``, ``.keras`` or ``.h5`` file or a SavedModel folder; or make ``zoo:NAME``.

    ``custom``: Python functions for an xmodel's custom operators, by type. ``like``: the quantized
    graph that a DNNDK file was compiled from; ``kernel``: which kernel of one with several.
    FormatError for a file that is none of these, GraphError or UnsupportedOp naming the node for a
    network that cannot be used.
    """
    if str(path).startswith(ZOO_PREFIX):
        return _from_zoo(str(path))
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in FRAMEWORKS or (path / "saved_model.pb").is_file():
        return _from_framework(path)
    if suffix not in SUFFIXES and not path.is_dir() and path.exists():
        raise FormatError("not a model file that can be read here", where=path,
                          expected=" or ".join(SUFFIXES), got=path.suffix or "no suffix")
    if suffix in (".elf", ".so"):
        return model_from_elf(path, like, kernel)
    data = read_bytes(path)
    if suffix == ".xmodel":
        return model_from_xir(parse_xmodel(data, path), str(path), custom)
    return _parse_pb(data, path)


def quantized_graph(model: Model) -> Graph:
    """The model's network; EngineError if it is not quantized."""
    if not model.quantized:
        raise EngineError("the graph is not quantized, so it has no bits to emulate", where=model.source,
                          got=model.kind, remedy="run `decent_q quantize` on it first")
    return model.graph


FRAMEWORKS = (".onnx", ".keras", ".h5")
SUFFIXES = (".pb", ".xmodel", ".elf", ".so", *FRAMEWORKS)
