"""A runner whose runtime lives in a child process; nothing the runtime does ends or hangs this one.

See :mod:`dpuedge.native` for what is exchanged. Python 2.7 and 3.5+.
"""
from __future__ import division, print_function

import json
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time

from dpuedge import failures, native
from dpuedge.errors import BackendError

OPEN_TIMEOUT_S = 60.0  # an overlay's download takes its time
WORDS_BYTES = 2000  # how much of the runtime's last words an error shows


class ChildRunner(object):
    """Runs one model in one child process; one per thread.

    ``input`` and ``output`` describe the boundary tensors: name, shape, size (elements of one
    image), fix_point. ``dpu_us`` holds the microseconds of the last run on the DPU.
    """

    def __init__(self, spec, timeout_s=10.0, open_timeout_s=OPEN_TIMEOUT_S):
        self.name = spec["backend"]
        self.where = spec.get("model") or spec.get("kernel")
        self.timeout_s = timeout_s
        self.dpu_us = None
        self.words = tempfile.TemporaryFile()
        here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        paths = [here] + [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dpuedge.native", json.dumps(spec)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.words, env=dict(os.environ, PYTHONPATH=os.pathsep.join(paths)), bufsize=0)
        self.source, self.sink = self.process.stdout.fileno(), self.process.stdin.fileno()
        try:
            self._greet(open_timeout_s)
        except BaseException:
            self._kill()
            raise

    def _greet(self, timeout_s):
        answer = json.loads(self._read(timeout_s).decode("utf-8"))
        if "error" in answer:
            raise self._explained(answer["error"])
        self.input, self.output = answer["input"], answer["output"]

    def run(self, image):
        """Int8 (C,...) of one int8 image (1, H, W, C); BackendError for whatever the runtime does instead."""
        import numpy as np
        answer = self.exchange(image.tobytes())
        return np.frombuffer(answer, dtype=np.int8)

    def exchange(self, data):
        """Output bytes for input bytes."""
        try:
            native.write_frame(self.sink, data)
        except (IOError, OSError):
            raise self._ended()
        answer = self._read(self.timeout_s)
        if answer[:1] == b"\1":
            raise self._explained(json.loads(answer[1:].decode("utf-8")))
        self.dpu_us = struct.unpack(">d", answer[1:9])[0]
        return answer[9:]

    def _read(self, timeout_s):
        """The next frame; BackendError when it does not come in time or the process ended."""
        head = self._bytes(4, time.time() + timeout_s)
        return self._bytes(struct.unpack(">I", head)[0], time.time() + timeout_s)

    def _bytes(self, count, until):
        data = b""
        while len(data) < count:
            ready = self._ready(until - time.time())
            more = os.read(self.source, count - len(data)) if ready else None
            if more is None:
                raise self._timed_out()
            if not more:
                raise self._ended()
            data += more
        return data

    def _ready(self, left_s):
        while True:
            try:
                return select.select([self.source], [], [], max(left_s, 0))[0]
            except select.error as error:  # Python 2.7 does not go on after a signal
                if error.args[0] != 4:
                    raise

    def _timed_out(self):
        words = self._last_words()
        self._kill()
        known = failures.explain(words + " DPU timeout")
        return BackendError("%s; its process was ended" % known.meaning, where=self.where, got=words or None,
                            remedy=known.remedy)

    def _ended(self):
        self._kill()
        words = self._last_words()
        known = failures.explain(words)
        return BackendError("%s (%s)" % (known.meaning, _end(self.process.returncode)), where=self.where,
                            got=words or None, remedy=known.remedy)

    def _explained(self, fields):
        error = BackendError(fields["what"], where=fields.get("where") or self.where, got=fields.get("got"),
                             expected=fields.get("expected"), remedy=fields.get("remedy"))
        if not error.remedy:
            known = failures.explain("%s %s %s" % (error.what, error.got, self._last_words()))
            error.what, error.remedy = "%s (%s)" % (known.meaning, error.what), known.remedy
        return error

    def _last_words(self):
        self.words.seek(0, os.SEEK_END)
        self.words.seek(max(self.words.tell() - WORDS_BYTES, 0))
        lines = self.words.read().decode("utf-8", "replace").strip().split("\n")
        return " / ".join(line.strip() for line in lines[-3:] if line.strip())

    def _kill(self):
        until = time.time() + 0.2  # Python 2.7's wait has no time-out
        while self.process.poll() is None and time.time() < until:
            time.sleep(0.005)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            stream.close()

    def close(self):
        """End the process in an orderly way; it is killed when it does not end."""
        if not self.process.stdin.closed:
            try:
                native.write_frame(self.sink, b"")
                self._ready(2.0)  # the pipe closes when the process is through
            except (IOError, OSError):
                pass
            self._kill()
        self.words.close()


def _end(code):
    """A return code in words."""
    if code is not None and code < 0:
        names = dict((getattr(signal, name), name) for name in sorted(dir(signal), reverse=True)
                     if name.startswith("SIG") and not name.startswith("SIG_"))
        return "signal %s" % names.get(-code, -code)
    return "exit code %s" % code
