"""VART's Python modules behind the same four calls as N2Cube: open, run, dpu_us, close.

Only the child process of :mod:`dpuedge.native` opens them, because they abort on bad input (board
specification, section 4). ``pynq_dpu`` is used when an overlay is named: it reprograms the FPGA and
rewrites /etc/vart.conf. Python 3.5+ (there is no VART for Python 2.7), and parsed by 2.7.
"""
from __future__ import division, print_function

import time

from dpuedge.errors import BackendError


def dpu_subgraphs(graph):
    """The children of a graph that run on the DPU, in order."""
    root = graph.get_root_subgraph()
    children = [] if root.is_leaf else root.toposort_child_subgraph()
    return [child for child in children if child.has_attr("device") and child.get_attr("device").upper() == "DPU"]


class Job(object):
    """One runner with its two int8 buffers."""

    def __init__(self, runner):
        import numpy as np
        self.runner = runner
        inputs, outputs = runner.get_input_tensors(), runner.get_output_tensors()
        if len(inputs) != 1 or len(outputs) != 1:
            raise BackendError("only models with one input and one output are run", got="%d and %d" % (
                len(inputs), len(outputs)), expected="1 and 1")
        self.input, self.output = _described(inputs[0]), _described(outputs[0])
        self.given = np.zeros(self.input["shape"], dtype=np.int8, order="C")
        self.taken = np.zeros(self.output["shape"], dtype=np.int8, order="C")
        self.last_us = 0.0

    def run(self, data):
        """Output bytes for input bytes; the first image of the runner's batch is used."""
        import numpy as np
        self.given.reshape(-1)[:len(data)] = np.frombuffer(data, dtype=np.int8)
        started = time.time()
        self.runner.wait(self.runner.execute_async([self.given], [self.taken]))
        self.last_us = 1e6 * (time.time() - started)
        return self.taken[:1].tobytes()

    def dpu_us(self):
        """Wall microseconds around the job: VART gives no time of its own."""
        return self.last_us

    def close(self):
        """Let the runner go."""
        self.runner = None


def _described(tensor):
    shape = [int(size) for size in tensor.dims]
    size = 1
    for length in shape[1:]:
        size *= length
    return {"name": tensor.name, "shape": shape, "size": size, "fix_point": int(tensor.get_attr("fix_point"))}


def open_vart(spec):
    """A job on the model's DPU subgraph through ``vart``."""
    import vart
    import xir
    graph = xir.Graph.deserialize(spec["model"])
    found = dpu_subgraphs(graph)
    if len(found) != 1:
        raise BackendError("the model must have one DPU subgraph to be run here", where=spec["model"], got=len(found),
                           expected=1, remedy="keep the layers between DPU parts off the CPU: see `dpuflow inspect`")
    job = Job(vart.Runner.create_runner(found[0], "run"))
    job.graph = graph  # the subgraph is a part of it
    return job


def open_pynq(spec):
    """A job through ``pynq_dpu`` with the overlay that was named."""
    from pynq_dpu import DpuOverlay
    overlay = DpuOverlay(spec["overlay"])
    overlay.load_model(spec["model"])
    job = Job(overlay.runner)
    job.overlay = overlay
    return job
