"""The emulator back end: dpuflow's bit-exact engine instead of a DPU.

The only module under ``board/`` that uses dpuflow, and only once the emulator is opened. Python 2.7
and 3.5+ can import it; running it takes what dpuflow takes.
"""
from __future__ import division, print_function

import sys

from dpuedge.errors import BackendError

REMEDY = "install dpuflow on a PC (`make`, then .venv/bin/python board/run_dpu.py ...)"
PYTHON = (3, 10)  # dpuflow's oldest


def find_missing():
    """What the emulator lacks here: a list of texts, empty when it can run."""
    if sys.version_info[:2] < PYTHON:
        return ["Python %d.%d or newer (this is %d.%d)" % (PYTHON + sys.version_info[:2])]
    from importlib.util import find_spec
    return [] if find_spec("dpuflow") else ["the Python package dpuflow"]


def open_runner(model, engine):
    """A runner that emulates ``model``; ``engine`` is dpuflow's name of it, "fast" or "reference"."""
    try:
        from dpuflow.engines import open_engine
    except ImportError as error:
        raise BackendError("the emulator cannot be loaded (%s)" % error, remedy=REMEDY)
    return EmulatorRunner(model, open_engine(model.path, engine=engine), engine)


def _size(shape):
    count = 1
    for size in shape:
        count *= size
    return count


class EmulatorRunner(object):
    """Runs one model on one thread: int8 in, int8 out, as a DPU task does."""

    def __init__(self, model, engine, name):
        self.model = model
        self.engine = engine
        self.name = getattr(engine, "name", name)  # a named fall-back shows its own name

    def run(self, image):
        """The int8 values of the output tensor, flat, of one int8 image (1, H, W, C)."""
        source, sink = self.model.inputs[0].name, self.model.outputs[0]
        logits = self.engine.run({source: image}, (sink.name,), int8=True)[sink.name]
        if logits.size != _size(sink.shape):
            raise BackendError("the output is not what the manifest says", where=self.model.path,
                               expected=sink.shape, got=logits.shape)
        return logits.reshape(-1)

    def close(self):
        """Let the engine go."""
        self.engine = None
