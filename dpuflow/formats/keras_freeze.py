"""Freeze SavedModels and .keras files with TensorFlow: variables become constants.

TensorFlow and Keras are imported when a file is frozen, not before; they come with the ``train`` extra.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dpuflow.artifact import file_digest, json_digest
from dpuflow.errors import ConfigError, FormatError
from dpuflow.formats.graphdef import TFGraph, parse_graphdef
from dpuflow.formats.keras_layers import freeze_layers, has_recurrent


def source_digest(path: Path) -> str:
    """The digest of a file, or of every file below a folder."""
    if path.is_dir():
        return json_digest({str(p.relative_to(path)): file_digest(p) for p in sorted(path.rglob("*")) if p.is_file()})
    if not path.exists():
        raise FormatError("no such file or folder", where=path, expected="a SavedModel folder or a .keras file")
    return file_digest(path)


def _saved_model_function(path: Path) -> tuple[Any, Any]:
    """The model, which owns the variables and so must live, and its function."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    if not loaded.signatures:
        raise FormatError("the SavedModel has no signature to freeze", where=path,
                          remedy="export it with model.export(...)")
    names = list(loaded.signatures)
    return loaded, loaded.signatures["serving_default" if "serving_default" in names else names[0]]


def _keras_function(model: Any) -> tuple[Any, Any]:
    import tensorflow as tf

    specs = [tf.TensorSpec((None, *spec.shape[1:]), spec.dtype, name=spec.name) for spec in model.inputs]
    function = tf.function(lambda *inputs: model(inputs[0] if len(inputs) == 1 else list(inputs), training=False))
    return model, function.get_concrete_function(*specs)


def _require_tensorflow(path: Path) -> None:
    try:
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"reading this model needs TensorFlow ({error})", where=path,
                          remedy="pip install 'dpuflow[train]', or bring a .pb or .onnx file") from None


def freeze_file(path: Path) -> TFGraph:
    """The frozen graph of a SavedModel folder, a .keras or a .h5 file; FormatError if it is none."""
    if path.is_dir() and not (path / "saved_model.pb").is_file():
        raise FormatError("the folder holds no saved_model.pb", where=path, expected="a SavedModel")
    _require_tensorflow(path)
    import keras

    try:
        model = None if path.is_dir() else keras.models.load_model(path, compile=False)
        if model is not None and has_recurrent(model):
            return freeze_layers(model, path)
        owner, function = _saved_model_function(path) if model is None else _keras_function(model)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise FormatError(f"cannot load the model ({error})", where=path) from error
    return _frozen(function, owner, path)


def freeze_model(model: Any) -> TFGraph:
    """The frozen inference graph of a Keras model in memory."""
    owner, function = _keras_function(model)
    return _frozen(function, owner, f"Keras model '{model.name}'")


def _frozen(function: Any, owner: Any, source: object) -> TFGraph:
    """A traced function with its variables, which ``owner`` keeps alive, as constants."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(function)
    definition = frozen.graph.as_graph_def()
    definition.ClearField("library")
    del owner
    return without_closing_identities(parse_graphdef(definition.SerializeToString(), source))


def without_closing_identities(graph: TFGraph) -> TFGraph:
    """The network without the Identity that only names an output of the traced function."""
    while closing := {node.name for node in graph.sinks
                      if node.op == "Identity" and graph.node(node.operands[0]).op not in ("Placeholder", "Const")}:
        graph = graph.replace(node for node in graph.nodes if node.name not in closing)
    return graph
