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

import numpy as np

from dpuedge import image, tail, tasks
from dpuedge.errors import ImageError, ManifestError

SCHEMA = 1
SUFFIX = ".xmodel"
SUFFIXES = (SUFFIX, ".elf", ".so")  # the vendor's ELF files carry no digest in the manifest unless one was added
TEXT = (str, type(u""))
REBUILD = "compile the model again (make compile) and keep both files together"
TAIL_OPS = tail.NAMES  # what the host can run behind the DPU
TAIL_SUFFIX = ".tail.npz"


class Tensor(namedtuple("Tensor", "name shape fix_point")):
    """A boundary tensor: node name, NHWC shape of one image, position (value = int * 2**-fix_point)."""

    __slots__ = ()


class Model(namedtuple("Model", "path sha256 name kernel tool inputs outputs cpu_tail preprocessing labels "
                            "fake_class core task blank parameters")):
    """A checked model manifest and the model file it belongs to.

    ``labels`` name the real classes in output order; ``fake_class`` is the output index of the class
    "not one of them", or None. ``task`` says what the network does (``dpuedge.tasks``); of a network that
    reads text ``blank`` is the output that stands for no symbol. ``parameters`` are the weights of the layers
    behind the DPU by name. ``sha256`` is the digest of the model file at ``path``.
    """

    __slots__ = ()


def load(path):
    """The :class:`Model` of an ``.xmodel`` file, or of the one in a folder.

    Raises ManifestError when the model or its manifest is missing, is not what it should be, or when
    the two do not belong together (digest, label count, shapes).
    """
    path = find_model(path)
    manifest_path = manifest_of(path)
    data = _read_json(manifest_path)
    model = _build(data, path, manifest_path)
    _check_input(model, manifest_path)
    tasks.TASKS[model.task].check(model, manifest_path)
    return model


def find_model(path):
    """The path of the model file that ``path``, a file or a folder, means (ManifestError)."""
    if os.path.isdir(path):
        return _only_model(path)
    if not os.path.exists(path):
        raise ManifestError("no such model", where=path, remedy="run `make compile`, or check the path")
    if not path.endswith(SUFFIXES):
        raise ManifestError("not a compiled model", where=path, expected="a %s file or its folder" % SUFFIX,
                            got=os.path.basename(path),
                            remedy="give the file that `make compile` or `dnnc` wrote")
    return path


def manifest_of(path):
    """The manifest's path beside a model file: ``<stem>.json``; of DNNDK's files the network's name is the stem."""
    folder, name = os.path.split(os.path.splitext(path)[0])
    for prefix in ("libdpumodel", "dpu_"):
        if not path.endswith(SUFFIX) and name.startswith(prefix):
            name = name[len(prefix):]
    return os.path.join(folder, name + ".json")


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
    step = {"name": _get(value, "name", _text, where), "op": op}
    for key, reader in (("inputs", _list_of(_text, least=1)), ("attrs", _dict), ("parameters", _list_of(_text))):
        if key in value:
            step[key] = _get(value, key, reader, where)
    return step


def _task(value, where):
    if value not in tasks.TASKS:
        raise _wrong(where, "one of: %s" % ", ".join(sorted(tasks.TASKS)), value)
    return value


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


OPTIONAL = (("task", _task, tasks.CLASSIFICATION), ("blank", _int_or_none, None))


def _build(data, path, manifest_path):
    try:
        values = dict((key, _get(data, key, reader, "")) for key, reader in FIELDS)
        values.update((key, _get(data, key, reader, "") if key in data else default)
                      for key, reader, default in OPTIONAL)
        files = _get(data, "files", _dict, "")
        own = os.path.basename(path)
        expected = _get(files, own, _text, "files") if own in files or path.endswith(SUFFIX) else None
    except ManifestError as error:
        error.where = "%s: %s" % (manifest_path, error.where)
        raise
    digest = file_sha256(path)
    if expected is not None and digest != expected:
        raise ManifestError("the model is not the one its manifest describes", where=path,
                            expected="sha256 %s" % expected[:16], got=digest[:16], remedy=REBUILD)
    parameters = _parameters(values["cpu_tail"], files, path) if values["cpu_tail"] else {}
    return Model(path=path, sha256=digest, parameters=parameters, **values)


def _parameters(steps, files, path):
    """The weights of the layers behind the DPU; ManifestError when the file is missing or another one."""
    wanted = [name for step in steps for name in step.get("parameters", ())]
    if not wanted:
        return {}
    path = os.path.splitext(path)[0] + TAIL_SUFFIX
    expected, got = files.get(os.path.basename(path)), file_sha256(path)
    if expected != got:
        raise ManifestError("the weights behind the DPU are not those that the manifest describes", where=path,
                            expected="sha256 %s" % as_short(expected), got=got[:16], remedy=REBUILD)
    try:
        with np.load(path) as archive:
            return dict((name, np.asarray(archive[name], np.float32)) for name in wanted)
    except (IOError, OSError, ValueError, KeyError, EOFError) as error:
        raise ManifestError("cannot read the weights behind the DPU (%s)" % error, where=path, remedy=REBUILD)


def as_short(digest):
    """The start of a digest, to show."""
    return digest[:16] if isinstance(digest, TEXT) else "none"


def _check_input(model, where):
    """One image in, one tensor out, and the preprocessing fits."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ManifestError("only networks with one input and one output can read pictures", where=where,
                            expected="1 and 1", got="%d and %d" % (len(model.inputs), len(model.outputs)))
    wanted, shape = image.input_shape(model.preprocessing), model.inputs[0].shape
    if wanted != shape:
        raise ManifestError("the preprocessing does not fit the network's input", where=where, expected=shape,
                            got=wanted, remedy=REBUILD)
