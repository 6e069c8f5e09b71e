"""A float network from any file a framework leaves: frozen .pb, .onnx, .keras, .h5, SavedModel folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dpuflow.errors import FormatError
from dpuflow.formats.graphdef import TFGraph, read_graphdef
from dpuflow.ir.graph import Shape

SUFFIXES = (".pb", ".onnx", ".keras", ".h5")


def read_network(path: Path | str, shapes: Sequence[Shape] = ()) -> TFGraph:
    """The network as a frozen GraphDef, NHWC; an ONNX file with Q/DQ pairs has FixNeurons in it.

    ``shapes``: the inputs' shapes, for ONNX files that leave sizes open; a GraphDef's importer takes
    them itself. FormatError for other files, ConfigError where the framework to read it is not installed,
    GraphError or UnsupportedOp naming the node that cannot be expressed.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if path.is_dir() or suffix in (".keras", ".h5"):
        from dpuflow.formats.keras_freeze import freeze_file

        return freeze_file(path)
    if suffix == ".onnx":
        from dpuflow.formats.onnx_import import read_onnx

        return read_onnx(path, shapes)
    if suffix == ".pb" or not path.exists():
        return read_graphdef(path)
    raise FormatError("not a float network that can be read here", where=path, got=suffix or "no suffix",
                      expected=" or ".join((*SUFFIXES, "a SavedModel folder")))
