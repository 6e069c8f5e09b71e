"""The child process that opens a board's runtime: ``python -m dpuedge.native SPEC`` (JSON).

The runtimes print to standard output, exit and abort; here that ends this process only. What the
parent (:mod:`dpuedge.child`) reads comes through a copy of standard output; the runtime's own words
go to the error stream. Python 2.7 and 3.5+.

Frames, both ways: a big-endian 32-bit length and that many bytes. First comes one JSON frame from
here, {"input": ..., "output": ...} or {"error": ...}. Then for each frame of input bytes one frame
back: a byte 0, the DPU's microseconds as a double, the output bytes; or a byte 1 and JSON of the
error. An empty frame ends the process.
"""
from __future__ import division, print_function

import json
import os
import struct
import sys

from dpuedge.errors import DpuError


def _open_n2cube(spec):
    from dpuedge import n2cube
    return n2cube.open_task(spec)


def _open_vart(spec):
    from dpuedge import xrt
    return xrt.open_vart(spec)


def _open_pynq(spec):
    from dpuedge import xrt
    return xrt.open_pynq(spec)


OPENERS = {"n2cube": _open_n2cube, "vart": _open_vart, "pynq": _open_pynq}


def read_exactly(stream, count):
    """``count`` bytes, or None when the stream ended before."""
    data = b""
    while len(data) < count:
        more = os.read(stream, count - len(data))
        if not more:
            return None
        data += more
    return data


def read_frame(stream):
    """The next frame's bytes, None at the stream's end."""
    head = read_exactly(stream, 4)
    return read_exactly(stream, struct.unpack(">I", head)[0]) if head else None


def write_frame(stream, data):
    """Write a frame."""
    data = struct.pack(">I", len(data)) + data
    while data:
        data = data[os.write(stream, data):]


def error_fields(error):
    """An exception as JSON values."""
    fields = ("what", "where", "got", "expected", "remedy")
    if isinstance(error, DpuError):
        return dict((name, None if getattr(error, name) is None else u"%s" % getattr(error, name)) for name in fields)
    return {"what": u"%s: %s" % (type(error).__name__, error)}


def _as_json(value):
    return json.dumps(value).encode("utf-8")


def serve(spec, source, sink):
    """Open the runtime and answer frames until the parent ends."""
    try:
        task = OPENERS[spec["backend"]](spec)
    except Exception as error:  # whatever a vendor's module raises is the user's to see
        write_frame(sink, _as_json({"error": error_fields(error)}))
        return
    write_frame(sink, _as_json({"input": task.input, "output": task.output}))
    while True:
        data = read_frame(source)
        if not data:
            task.close()
            return
        try:
            answer = task.run(data)
            answer = b"\0" + struct.pack(">d", task.dpu_us()) + answer
        except Exception as error:
            answer = b"\1" + _as_json(error_fields(error))
        write_frame(sink, answer)


def main():
    """Keep the parent's pipe for frames, send everything else that is printed to the error stream."""
    sink = os.dup(1)
    os.dup2(2, 1)
    serve(json.loads(sys.argv[1]), 0, sink)


if __name__ == "__main__":
    main()
