"""Keep one harmless line of LiteRT off the console; everything else is passed on."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO

_NOTICE = b"Created TensorFlow Lite XNNPACK delegate"
_held_back = False


def _nameless_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("held back"), "w+b")
    import tempfile  # on demand: it costs a start several milliseconds

    return tempfile.TemporaryFile()


@contextlib.contextmanager
def without_delegate_notice() -> Iterator[None]:
    """Hold back what native code writes to the error stream, then write it again without the notice.

    LiteRT prints its notice once per process, when the first model is made ready, and offers no
    switch for it; so only the first use does anything.
    """
    global _held_back
    if _held_back:
        yield
        return
    _held_back = True
    sys.stderr.flush()
    saved = os.dup(2)
    with _nameless_file() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            held.seek(0)
            for line in held:
                if _NOTICE not in line:
                    os.write(2, line)
