"""The model manifest: what a compiled model expects and what its outputs mean.

``<stem>.json`` lies beside ``<stem>.xmodel`` and is written by the compile stage. :func:`load` reads
and checks it; whoever holds a :class:`Model` need not check anything again. Python 2.7 and 3.5+.
"""
from __future__ import division, print_function

import hashlib
import io
import json
import numbers
import os
from collections import namedtuple

from dpuedge import image
from dpuedge.errors import ImageError, ManifestError

SCHEMA = 1
SUFFIX = ".xmodel"
TEXT = (str, type(u""))
REBUILD = "compile the model again (make compile) and keep both files together"
TAIL_OPS = ("softmax",)  # what the host can run behind the DPU


class Tensor(namedtuple("Tensor", "name shape fix_point")):
    """A boundary tensor: node name, NHWC shape of one image, position (value = int * 2**-fix_point)."""

    __slots__ = ()


class Model(namedtuple("Model", "path sha256 name kernel tool inputs outputs cpu_tail preprocessing labels "
                            "fake_class core")):
    """A checked model manifest and the model file it belongs to.

    ``labels`` name the real classes in output order; ``fake_class`` is the output index of the class
    "not one of them", or None. ``sha256`` is the digest of the model file at ``path``.
    """

    __slots__ = ()


def load(path):
    """The :class:`Model` of an ``.xmodel`` file, or of the one in a folder.

    Raises ManifestError when the model or its manifest is missing, is not what it should be, or when
    the two do not belong together (digest, label count, shapes).
    """
    path = find_model(path)
    manifest_path = os.path.splitext(path)[0] + ".json"
    data = _read_json(manifest_path)
    model = _build(data, path, manifest_path)
    _check_counts(model, manifest_path)
    return model


def find_model(path):
    """The path of the model file that ``path``, a file or a folder, means (ManifestError)."""
    if os.path.isdir(path):
        return _only_model(path)
    if not os.path.exists(path):
        raise ManifestError("no such model", where=path, remedy="run `make compile`, or check the path")
    if not path.endswith(SUFFIX):
        raise ManifestError("not a compiled model", where=path, expected="a %s file or its folder" % SUFFIX,
                            got=os.path.basename(path),
                            remedy="give the file that `make compile` or `dnnc` wrote")
    return path


def _only_model(folder):
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX))
    except OSError as error:
        raise ManifestError("cannot read the folder (%s)" % (error.strerror or error), where=folder)
    if len(names) != 1:
        raise ManifestError("no single model in this folder", where=folder, expected="one %s file" % SUFFIX,
                            got=", ".join(names) or "none", remedy="name the file itself, or run `make compile`")
    return os.path.join(folder, names[0])


def file_sha256(path):
    """SHA-256 of a file as hexadecimal text; ManifestError if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                digest.update(block)
    except (IOError, OSError) as error:
        raise ManifestError("cannot read the model (%s)" % (error.strerror or error), where=path)
    return digest.hexdigest()


def _read_json(path):
    try:
        with io.open(path, encoding="utf-8") as stream:
            data = json.load(stream)
    except (IOError, OSError) as error:
        raise ManifestError("cannot read the model's manifest (%s)" % (error.strerror or error), where=path,
                            remedy=REBUILD)
    except (ValueError, RuntimeError) as error:  # RuntimeError: nested deeper than the parser goes
        raise ManifestError("the manifest is not JSON (%s)" % error, where=path, remedy=REBUILD)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ManifestError("unknown manifest schema", where=path, expected=SCHEMA,
                            got=data.get("schema") if isinstance(data, dict) else type(data).__name__,
                            remedy=REBUILD)
    return data


# -- fields: each reader takes (value, where) and returns the value it stands for --------------------

def _wrong(where, expected, value):
    got = repr(value)
    return ManifestError("wrong entry in the model's manifest", where=where, expected=expected,
                         got=got if len(got) <= 60 else got[:57] + "...", remedy=REBUILD)


def _text(value, where):
    if not isinstance(value, TEXT) or not value:
        raise _wrong(where, "a text that is not empty", value)
    return value


def _int(value, where):
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise _wrong(where, "a whole number", value)
    return int(value)


def _int_or_none(value, where):
    return None if value is None else _int(value, where)


def _dict(value, where):
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    return value


def _list_of(reader, least=0):
    def read(value, where):
        if not isinstance(value, list) or len(value) < least:
            raise _wrong(where, "a list of at least %d" % least if least else "a list", value)
        return tuple(reader(item, "%s[%d]" % (where, index)) for index, item in enumerate(value))
    return read


def _shape(value, where):
    shape = _list_of(_int, least=2)(value, where)
    if shape[0] != 1 or min(shape) < 1:
        raise _wrong(where, "positive sizes of one image, 1 first", value)
    return shape


def _position(value, where):
    position = _int(value, where)
    if not -64 <= position <= 64:
        raise _wrong(where, "a position between -64 and 64", value)
    return position


def _tensor(value, where):
    value = _dict(value, where)
    return Tensor(_get(value, "name", _text, where), _get(value, "shape", _shape, where),
                  _get(value, "fix_point", _position, where))


def _tail(value, where):
    value = _dict(value, where)
    op = _get(value, "op", _text, where)
    if op not in TAIL_OPS:
        raise _wrong(where + ".op", "one of: %s" % ", ".join(TAIL_OPS), op)
    return {"name": _get(value, "name", _text, where), "op": op}


def _preprocessing(value, where):
    try:
        image.check_spec(value)
    except ImageError as error:
        raise ManifestError(error.what, where=where, expected=error.expected, got=error.got, remedy=REBUILD)
    _get(value, "id", _text, where)
    return value


def _core(value, where):
    value = _dict(value, where)
    _get(value, "name", _text, where)
    _get(value, "target", _text, where)
    return value


def _get(data, key, reader, where):
    name = "%s.%s" % (where, key) if where else key
    if key not in data:
        raise _wrong(name, "an entry", None)
    return reader(data[key], name)


FIELDS = (
    ("name", _text), ("kernel", _text), ("tool", _text),
    ("inputs", _list_of(_tensor, least=1)), ("outputs", _list_of(_tensor, least=1)),
    ("cpu_tail", _list_of(_tail)), ("preprocessing", _preprocessing), ("labels", _list_of(_text, least=2)),
    ("fake_class", _int_or_none), ("core", _core),
)


def _build(data, path, manifest_path):
    try:
        values = dict((key, _get(data, key, reader, "")) for key, reader in FIELDS)
        files = _get(data, "files", _dict, "")
        expected = _get(files, os.path.basename(path), _text, "files")
    except ManifestError as error:
        error.where = "%s: %s" % (manifest_path, error.where)
        raise
    digest = file_sha256(path)
    if digest != expected:
        raise ManifestError("the model is not the one its manifest describes", where=path,
                            expected="sha256 %s" % expected[:16], got=digest[:16], remedy=REBUILD)
    return Model(path=path, sha256=digest, **values)


def _check_counts(model, where):
    """One image in, one row of logits out, a label for each class."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ManifestError("only networks with one input and one output can classify pictures", where=where,
                            expected="1 and 1", got="%d and %d" % (len(model.inputs), len(model.outputs)))
    wanted, shape = image.input_shape(model.preprocessing), model.inputs[0].shape
    if wanted != shape:
        raise ManifestError("the preprocessing does not fit the network's input", where=where, expected=shape,
                            got=wanted, remedy=REBUILD)
    classes = model.outputs[0].shape[-1]
    if len(model.outputs[0].shape) > 2 and max(model.outputs[0].shape[:-1]) > 1:
        raise ManifestError("the output is not one row of logits", where=where, got=model.outputs[0].shape,
                            expected=(1, classes))
    if model.fake_class is not None and not 0 <= model.fake_class < classes:
        raise ManifestError("the fake class is not one of the outputs", where=where,
                            expected="0..%d" % (classes - 1), got=model.fake_class, remedy=REBUILD)
    named = classes - (model.fake_class is not None)
    if len(model.labels) != named:
        raise ManifestError("the labels do not fit the outputs", where=where, expected="%d labels" % named,
                            got=len(model.labels), remedy=REBUILD)
