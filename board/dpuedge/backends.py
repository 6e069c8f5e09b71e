"""Which back end runs the model: a literal table, and the choice between its rows.

An explicit choice that is not there is an error, never replaced by another one. Python 2.7 and 3.5+.
"""
from __future__ import division, print_function

import glob
import os
from collections import namedtuple

from dpuedge import emulator, n2cube, runtimes
from dpuedge.errors import BackendError
from dpuedge.manifest import SUFFIX


class Backend(namedtuple("Backend", "name emulated open_runner find_missing suffixes")):
    """A way to run a model.

    ``open_runner(model, options)`` makes a runner; ``find_missing()`` lists what the back end lacks on
    this machine; ``suffixes`` are those of the model files it takes.
    """

    __slots__ = ()


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
    missing = [] if os.path.exists(n2cube.device()) else ["device %s" % n2cube.device()]
    return missing if n2cube.find_library() else missing + ["library %s" % n2cube.LIBRARY]


def _missing_vart():
    has_device = os.path.exists(n2cube.device()) or glob.glob("/dev/dri/renderD*")
    return ([] if has_device else ["device /dev/dpu or /dev/dri/renderD*"]) + _missing_modules("vart", "xir")


def _missing_pynq():
    return _missing_modules("pynq_dpu")


def _open_emulator(model, options):
    return emulator.open_runner(model, options.engine)


XMODEL, ELF = (".xmodel",), (".elf", ".so")
BACKENDS = (
    Backend("emulator", True, _open_emulator, emulator.find_missing, XMODEL),
    Backend("n2cube", False, runtimes.open_n2cube, _missing_n2cube, ELF),
    Backend("vart", False, runtimes.open_vart, _missing_vart, XMODEL),
    Backend("pynq", False, runtimes.open_pynq, _missing_pynq, XMODEL),
)
NAMES = ("auto",) + tuple(backend.name for backend in BACKENDS)


def choose(name, path=SUFFIX, overlay=None):
    """The :class:`Backend` that ``name``, one of ``NAMES``, means for a model file, and a note on an automatic choice.

    ``auto`` takes the first DPU back end for this kind of file that can run here (pynq only with an
    overlay: it reprograms the FPGA), else the emulator, and says why. BackendError when the one
    asked for is not there.
    """
    if name == "auto":
        return _automatic(path, overlay)
    backend = dict((row.name, row) for row in BACKENDS)[name]
    if not path.endswith(backend.suffixes):
        raise BackendError("back end '%s' does not run this kind of file" % name, where=path,
                           expected=" or ".join(backend.suffixes))
    if name == "pynq" and not overlay:
        raise BackendError("back end 'pynq' programs the FPGA: name the bitstream", expected="--overlay dpu.bit")
    if backend.find_missing():
        remedy = emulator.REMEDY if backend.emulated else "use --backend emulator for the same bits without a board"
        raise BackendError("back end '%s' is not available: it %s" % (name, _reason(backend)), remedy=remedy)
    return backend, None


def _automatic(path, overlay):
    for row in BACKENDS:
        wanted = overlay if row.name == "pynq" else not overlay
        if not row.emulated and wanted and path.endswith(row.suffixes) and not row.find_missing():
            return row, None
    reasons = "; ".join("%s %s" % (row.name, _reason(row)) for row in BACKENDS
                        if not row.emulated and path.endswith(row.suffixes))
    if overlay or not path.endswith(XMODEL):
        raise BackendError("no back end for this model is available here: %s" % reasons, where=path,
                           remedy="run it on the board, or give the .xmodel for the emulator")
    return choose("emulator", path)[0], "emulating the DPU on this CPU, because no DPU is used: %s" % reasons


def _reason(backend):
    if backend.name == "pynq" and not backend.find_missing():
        return "needs --overlay"
    return "lacks %s" % ", ".join(backend.find_missing())
