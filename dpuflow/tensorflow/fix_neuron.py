"""Load graphs with FixNeurons into TensorFlow 1 or 2 (see the package's docstring)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from dpuflow.formats.graphdef import parse_graphdef, read_graphdef, serialize_graphdef
from dpuflow.tensorflow.expand import expand_fix_neurons

_V1: Any = getattr(getattr(tf, "compat", tf), "v1", tf)
# Where the releases keep import_graph_def.
_PLACES: tuple[Any, ...] = tuple(place for place in (
    tf, _V1, getattr(tf, "graph_util", None), getattr(_V1, "graph_util", None)) if hasattr(place, "import_graph_def"))
_ORIGINAL: Callable[..., Any] = _V1.import_graph_def
_registered = False


def expand_graph_def(graph_def: Any) -> Any:
    """A GraphDef without FixNeurons; one that holds none is returned as it is."""
    if not any(node.op == "FixNeuron" for node in getattr(graph_def, "node", ())):
        return graph_def
    expanded = _V1.GraphDef()
    expanded.ParseFromString(serialize_graphdef(expand_fix_neurons(parse_graphdef(graph_def.SerializeToString()))))
    expanded.versions.CopyFrom(graph_def.versions)
    return expanded


@functools.wraps(_ORIGINAL)
def import_graph_def(graph_def: Any = None, *args: Any, **options: Any) -> Any:
    """TensorFlow's ``import_graph_def`` for graphs that may hold FixNeurons."""
    return _ORIGINAL(expand_graph_def(graph_def), *args, **options)


def register() -> None:
    """From here on every ``import_graph_def`` of this TensorFlow takes FixNeurons; twice is once."""
    global _registered
    for place in _PLACES if not _registered else ():
        place.import_graph_def = import_graph_def
    _registered = True


def unregister() -> None:
    """Give TensorFlow its own ``import_graph_def`` back."""
    global _registered
    for place in _PLACES if _registered else ():
        place.import_graph_def = _ORIGINAL
    _registered = False


def import_evaluation_graph(path: Path | str, return_elements: Sequence[str] | None = None, name: str = "") -> Any:
    """Import ``quantize_eval_model.pb`` into the current default graph."""
    graph_def = _V1.GraphDef()
    graph_def.ParseFromString(serialize_graphdef(expand_fix_neurons(read_graphdef(path))))
    return _ORIGINAL(graph_def, name=name, return_elements=return_elements)
