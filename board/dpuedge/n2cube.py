"""DNNDK's runtime library ``libn2cube.so`` through ctypes: one kernel, one task, int8 in and out.

Written from the interface facts of the board specification, section 3; the vendor's Python package
is not used. The library may print and end its process, so only the child process of
:mod:`dpuedge.native` opens it. Nothing here needs NumPy. Python 2.7 and 3.5+.
"""
from __future__ import division, print_function

import ctypes
import math
import os

from dpuedge.errors import BackendError

FOLDERS = ("/usr/local/lib", "/usr/lib", "/lib")  # where the runtime looks for model libraries too
LIBRARY = "libn2cube.so"
RETURN_CODES = 1  # exception mode: 0 prints and exits, 1 returns codes

_TEXT, _INT, _HANDLE = ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p
_BYTES = ctypes.POINTER(ctypes.c_int8)
_NODE = [_HANDLE, _TEXT, _INT]
_DATA = [_HANDLE, _TEXT, _BYTES, _INT, _INT]

# Symbol -> (result, arguments), for the calls that are used.
SYMBOLS = {
    "pyc_dpuSetExceptionMode": (_INT, [_INT]), "pyc_dpuGetExceptionMessage": (_TEXT, [_INT]),
    "pyc_dpuOpen": (_INT, []), "pyc_dpuClose": (_INT, []),
    "pyc_dpuLoadKernel": (_HANDLE, [_TEXT]), "pyc_dpuDestroyKernel": (_INT, [_HANDLE]),
    "pyc_dpuCreateTask": (_HANDLE, [_HANDLE, _INT]), "pyc_dpuDestroyTask": (_INT, [_HANDLE]),
    "pyc_dpuRunTask": (_INT, [_HANDLE]), "pyc_dpuGetTaskProfile": (ctypes.c_longlong, [_HANDLE]),
    "pyc_dpuGetInputTensorCnt": (_INT, [_HANDLE, _TEXT]), "pyc_dpuGetOutputTensorCnt": (_INT, [_HANDLE, _TEXT]),
    "pyc_dpuGetInputTensorSize": (_INT, _NODE), "pyc_dpuGetOutputTensorSize": (_INT, _NODE),
    "pyc_dpuGetInputTensorScale": (ctypes.c_float, _NODE), "pyc_dpuGetOutputTensorScale": (ctypes.c_float, _NODE),
    "pyc_dpuGetInputTensorHeight": (_INT, _NODE), "pyc_dpuGetOutputTensorHeight": (_INT, _NODE),
    "pyc_dpuGetInputTensorWidth": (_INT, _NODE), "pyc_dpuGetOutputTensorWidth": (_INT, _NODE),
    "pyc_dpuGetInputTensorChannel": (_INT, _NODE), "pyc_dpuGetOutputTensorChannel": (_INT, _NODE),
    "pyc_dpuSetInputTensorInHWCInt8": (_INT, _DATA), "pyc_dpuGetOutputTensorInHWCInt8": (_INT, _DATA),
}


def find_library():
    """The path of the runtime library: ``DPUEDGE_N2CUBE``, else the usual folders; None if it is not there."""
    paths = [os.environ["DPUEDGE_N2CUBE"]] if os.environ.get("DPUEDGE_N2CUBE") else [
        os.path.join(folder, LIBRARY) for folder in FOLDERS]
    return next((path for path in paths if os.path.exists(path)), None)


def device():
    """The driver's device file; ``DPUEDGE_DEVICE`` names another one."""
    return os.environ.get("DPUEDGE_DEVICE") or "/dev/dpu"


class Library(object):
    """The runtime with every used symbol declared; a negative result raises BackendError."""

    def __init__(self, path):
        try:
            self.handle = ctypes.CDLL(path)
        except OSError as error:
            raise BackendError("the DNNDK runtime cannot be loaded (%s)" % error, where=path,
                               remedy="install DNNDK 3.1 on the board; its library is for 32-bit ARM")
        for name, (result, arguments) in SYMBOLS.items():
            try:
                symbol = getattr(self.handle, name)
            except AttributeError:
                raise BackendError("the runtime lacks a function", where=path, got=name,
                                   remedy="use the libn2cube.so of DNNDK 3.1")
            symbol.restype, symbol.argtypes = result, arguments
        self.call("SetExceptionMode", RETURN_CODES)

    def call(self, name, *arguments):
        """``pyc_dpu<name>(...)``; BackendError with the runtime's own words for a negative result."""
        result = getattr(self.handle, "pyc_dpu" + name)(*arguments)
        if isinstance(result, int) and result < 0:
            raise BackendError("dpu%s failed: %s" % (name, self.message(result)), got="code %d" % result)
        return result

    def message(self, code):
        """The runtime's text for an error code."""
        text = self.handle.pyc_dpuGetExceptionMessage(code)
        return text.decode("utf-8", "replace") if text else "no message"


class Task(object):
    """One task of one kernel. Input and output are those of one node each, first tensor."""

    def __init__(self, library, kernel, input_node, output_node, profile=False):
        self.library = library
        self.nodes = [name.encode("utf-8") for name in (input_node, output_node)]
        self.kernel = self.task = None
        library.call("Open")
        self.kernel = self._made("LoadKernel", kernel.encode("utf-8"))
        self.task = self._made("CreateTask", self.kernel, 1 if profile else 0)
        self.input = self._tensor("Input", self.nodes[0], 1)
        self.output = self._tensor("Output", self.nodes[1], -1)
        self.taken = (ctypes.c_int8 * self.output["size"])()

    def _made(self, name, *arguments):
        made = self.library.call(name, *arguments)
        if not made:
            raise BackendError("dpu%s gave nothing" % name, where=str(arguments[0]))
        return made

    def _tensor(self, side, node, sign):
        """Shape (1, H, W, C), bytes and position of a boundary tensor; the scale is 2**position or its inverse."""
        ask = self.library.call
        if ask("Get%sTensorCnt" % side, self.task, node) < 1:
            raise BackendError("the node has no %s tensor" % side.lower(), where=node.decode("utf-8"),
                               remedy="name boundary nodes with --input-node and --output-node")
        shape = [1] + [ask("Get%sTensor%s" % (side, size), self.task, node, 0)
                       for size in ("Height", "Width", "Channel")]
        scale = ask("Get%sTensorScale" % side, self.task, node, 0)
        if not scale > 0:
            raise BackendError("a tensor without a scale", where=node.decode("utf-8"), got=scale)
        return {"name": node.decode("utf-8"), "shape": shape, "size": ask("Get%sTensorSize" % side, self.task, node, 0),
                "fix_point": int(sign * round(math.log(scale, 2)))}

    def run(self, data):
        """Output bytes for input bytes (int8, H*W*C each); the element count is what the runtime compares."""
        source = (ctypes.c_int8 * len(data)).from_buffer_copy(data)
        self.library.call("SetInputTensorInHWCInt8", self.task, self.nodes[0], source, len(data), 0)
        self.library.call("RunTask", self.task)
        self.library.call("GetOutputTensorInHWCInt8", self.task, self.nodes[1], self.taken, len(self.taken), 0)
        return bytes(bytearray(self.taken)) if str is bytes else bytes(self.taken)

    def dpu_us(self):
        """Microseconds of the last run as the runtime counts them."""
        return float(self.library.handle.pyc_dpuGetTaskProfile(self.task))

    def close(self):
        """Give task, kernel and device back, the task first."""
        if self.task:
            self.library.call("DestroyTask", self.task)
        if self.kernel:
            self.library.call("DestroyKernel", self.kernel)
        self.task = self.kernel = None
        self.library.call("Close")


def open_task(spec):
    """The task that ``spec`` (of the parent process) describes; the working folder becomes the library's."""
    if spec.get("folder"):
        os.chdir(spec["folder"])  # the runtime looks for libdpumodel<name>.so there first
    return Task(Library(spec["library"]), spec["kernel"], spec["input_node"], spec["output_node"], spec.get("profile"))
