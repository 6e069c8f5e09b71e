"""Which back end runs the model: a literal table, and the choice between its rows.

An explicit choice that is not there is an error, never replaced by another one. Python 2.7 and 3.5+.
"""
from __future__ import division, print_function

import glob
import os
from collections import namedtuple

from dpuedge import emulator
from dpuedge.errors import BackendError


class Backend(namedtuple("Backend", "name emulated open_runner find_missing")):
    """A way to run a model.

    ``open_runner(model, engine)`` makes a runner, or is None where this version has none;
    ``find_missing()`` lists what the back end lacks on this machine.
    """

    __slots__ = ()


LIBRARY_FOLDERS = ("/usr/local/lib", "/usr/lib", "/lib")  # where the DNNDK runtime is looked for


def _has_module(name):
    try:
        from importlib.util import find_spec
    except ImportError:  # Python 2.7
        import imp
        try:
            imp.find_module(name)
        except ImportError:
            return False
        return True
    return find_spec(name) is not None


def _missing_modules(*names):
    return ["Python module %s" % name for name in names if not _has_module(name)]


def _missing_n2cube():
    missing = [] if os.path.exists("/dev/dpu") else ["device /dev/dpu"]
    if not any(os.path.exists(os.path.join(folder, "libn2cube.so")) for folder in LIBRARY_FOLDERS):
        missing.append("library libn2cube.so")
    return missing


def _missing_vart():
    has_device = os.path.exists("/dev/dpu") or glob.glob("/dev/dri/renderD*")
    return ([] if has_device else ["device /dev/dpu or /dev/dri/renderD*"]) + _missing_modules("vart", "xir")


def _missing_pynq():
    return _missing_modules("pynq_dpu")


BACKENDS = (
    Backend("emulator", True, emulator.open_runner, emulator.find_missing),
    Backend("n2cube", False, None, _missing_n2cube),
    Backend("vart", False, None, _missing_vart),
    Backend("pynq", False, None, _missing_pynq),
)
NAMES = ("auto",) + tuple(backend.name for backend in BACKENDS)


def choose(name):
    """The :class:`Backend` that ``name``, one of ``NAMES``, means, and a note on an automatic choice.

    ``auto`` takes the emulator as long as no DPU back end can run here, and says so in the note.
    BackendError when the one asked for is not there.
    """
    if name == "auto":
        backend, note = choose("emulator")[0], "emulating the DPU on this CPU, because no DPU is used: %s"
        return backend, note % "; ".join(
            "%s %s" % (row.name, _reason(row)) for row in BACKENDS if not row.emulated)
    backend = dict((row.name, row) for row in BACKENDS)[name]
    if backend.open_runner is None or backend.find_missing():
        remedy = emulator.REMEDY if backend.emulated else "use --backend emulator for the same bits without a board"
        raise BackendError("back end '%s' is not available: it %s" % (name, _reason(backend)), remedy=remedy)
    return backend, None


def _reason(backend):
    missing = backend.find_missing()
    if missing:
        return "lacks %s" % ", ".join(missing)
    return "is not supported by this version"
