"""The stand-in for the vendor's module ``vart``: runners that emulate a DPU subgraph on this computer.

What the real runtime does with its buffers is kept (board specification, section 4; arithmetic
specification, section 9): float32 input is multiplied by 2**fix_point and cast, which truncates and
wraps; jobs are ``(id, status)`` tuples; ``wait`` takes that tuple. Where the real one aborts the
process, this one raises, or aborts too after ``abort_as_the_real_one_does()``.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.compat.xir_cut import cut
from dpuflow.compat.xir_graph import Graph, Subgraph, Tensor
from dpuflow.engines import open_engine
from dpuflow.errors import BackendError, DpuError
from dpuflow.formats.xir_import import import_xir
from dpuflow.ir.graph import Array

MODES = ("run", "ref", "sim")  # each is emulated in the same way here
_options = {"strict": False, "engine": "fast"}


def configure(*, strict: bool = False, engine: str = "fast") -> None:
    """Set what the runners made from now on do; ``dpuflow compat run`` calls it."""
    _options.update(strict=strict, engine=engine)


def fail(what: str, **details: Any) -> DpuError:
    """The error to raise where the real runtime aborts; in strict mode the process aborts here."""
    error = BackendError(what, **details)
    if _options["strict"]:
        print(f"vart (stand-in): {error}", file=sys.stderr, flush=True)
        os.abort()
    return error


class TensorBuffer:
    """Memory of one tensor; ``numpy.asarray(buffer)`` is a view of it."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor
        self._array: Array = np.zeros(tensor.dims, np.int8 if tensor.dtype == "xint8" else np.float32)

    def get_tensor(self) -> Tensor:
        """What the memory is for."""
        return self._tensor

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if dtype is None or np.dtype(dtype) == self._array.dtype:
            return self._array.copy() if copy else self._array
        return self._array.astype(dtype)

    def __repr__(self) -> str:
        return f"TensorBuffer of {self._tensor.name} {self._tensor.dims}"


def _checked(buffer: Any, tensor: Tensor, what: str, dynamic: bool) -> Array:
    """A caller's buffer as an array that can be read or filled; errors where the real one aborts."""
    array: Array = buffer._array if isinstance(buffer, TensorBuffer) else buffer
    where = f"{what} '{tensor.name}'"
    if not isinstance(array, np.ndarray):
        array = np.asarray(memoryview(buffer))
    if array.dtype not in (np.int8, np.float32):
        raise fail("a buffer of a type that the runtime does not take", where=where, got=array.dtype,
                   expected="int8 or float32 (int16 is for 16-bit tensors)")
    if not array.flags.c_contiguous or not array.flags.writeable:
        raise fail("a buffer must be C-contiguous and writable", where=where,
                   remedy="allocate it with numpy.empty(dims, dtype, order='C')")
    if dynamic:
        return array
    if array.size < tensor.get_element_num():
        raise fail("a buffer is smaller than its tensor; the real runtime writes or reads beyond it", where=where,
                   got=array.shape, expected=tensor.dims)
    return array.reshape(-1)[:tensor.get_element_num()].reshape(tensor.dims)


def _to_int8(values: Array, tensor: Tensor) -> Array:
    if values.dtype == np.int8 or tensor.dtype != "xint8":
        return values
    return fixed.cast_to_int8(values, tensor.get_attr("fix_point"))


def _fill(buffer: Array, values: Array, tensor: Tensor) -> None:
    if buffer.dtype == np.float32 and values.dtype == np.int8:
        values = fixed.dequantize(values, tensor.get_attr("fix_point"))
    elif buffer.dtype != values.dtype:
        raise fail("a float tensor cannot be given as int8", where=f"output '{tensor.name}'")
    buffer[...] = values.reshape(buffer.shape)


class Runner:
    """Runs one subgraph. One runner belongs to one thread, as with the real runtime."""

    def __init__(self, subgraph: Subgraph, mode: str = "run") -> None:
        graph, self._inputs, self._outputs = cut(subgraph)
        network = import_xir(graph)
        self._output_names = dict(zip((t.name for t in self._outputs), network.outputs, strict=True))
        self._engine = open_engine(network, str(_options["engine"]))
        self._jobs = itertools.count()
        self._open: dict[int, None] = {}
        self._lock = threading.Lock()

    @classmethod
    def create_runner(cls, subgraph: Subgraph, mode: str = "") -> Any:
        """A runner for a DPU subgraph (for others the real one finds no library and aborts)."""
        if not isinstance(subgraph, Subgraph):
            raise fail("not a subgraph", where="create_runner", got=type(subgraph).__name__,
                       expected="one of graph.get_root_subgraph().toposort_child_subgraph()")
        if mode not in ("", *MODES):
            raise fail("no such mode", where="create_runner", got=mode, expected=", ".join(MODES))
        if not subgraph.has_attr("device") or str(subgraph.get_attr("device")).upper() not in ("DPU", "CPU"):
            raise fail("the subgraph has no runner", where=f"subgraph '{subgraph.get_name()}'",
                       got=subgraph.get_attrs().get("device", "no device"), expected="device DPU")
        return cls(subgraph, mode or "run")

    def get_input_tensors(self) -> list[Tensor]:
        """The tensors that ``execute_async`` takes, in order."""
        return list(self._inputs)

    def get_output_tensors(self) -> list[Tensor]:
        """The tensors that ``execute_async`` fills, in order."""
        return list(self._outputs)

    def execute_async(self, inputs: Sequence[Any], outputs: Sequence[Any],
                      enable_dynamic_array: bool = False) -> tuple[int, int]:
        """Run one batch: int8 or float32 buffers in the order of the tensors; ``(id, status)``."""
        for what, given, wanted in (("input", inputs, self._inputs), ("output", outputs, self._outputs)):
            if len(given) != len(wanted):
                raise fail(f"wrong number of {what}s", where="execute_async", got=len(given), expected=len(wanted))
        values = {t.producer.get_name(): _to_int8(_checked(a, t, "input", enable_dynamic_array), t)
                  for a, t in zip(inputs, self._inputs, strict=True)}
        sinks = [_checked(a, t, "output", enable_dynamic_array) for a, t in zip(outputs, self._outputs, strict=True)]
        results = self._engine.run(values, tuple(self._output_names.values()), int8=True)
        for tensor, sink in zip(self._outputs, sinks, strict=True):
            _fill(sink, results[self._output_names[tensor.name]], tensor)
        with self._lock:
            job = next(self._jobs)
            self._open[job] = None
        return job, 0

    def wait(self, job_id: tuple[int, int] | int, timeout: int = -1) -> int:
        """Wait for a job; 0. Takes the tuple of ``execute_async`` (releases before 1.4: its number)."""
        number = job_id[0] if isinstance(job_id, tuple) else job_id
        with self._lock:
            if number not in self._open:
                raise fail("no such job", where="wait", got=job_id, expected="what execute_async returned")
            del self._open[number]
        return 0

    def __repr__(self) -> str:
        return f"<vart.{type(self).__name__} (emulated, {self._engine.name})>"


class RunnerExt(Runner):
    """A runner that also hands out buffers."""

    def get_inputs(self) -> list[TensorBuffer]:
        """Fresh buffers for the input tensors."""
        return [TensorBuffer(tensor) for tensor in self._inputs]

    def get_outputs(self) -> list[TensorBuffer]:
        """Fresh buffers for the output tensors."""
        return [TensorBuffer(tensor) for tensor in self._outputs]


class GraphRunner(RunnerExt):
    """``vitis_ai_library.GraphRunner``: the whole graph, CPU parts included."""

    @classmethod
    def create_graph_runner(cls, graph: Graph) -> GraphRunner:
        """A runner for every subgraph of a file."""
        return cls(graph.get_root_subgraph())


def warn_emulated() -> None:
    """Say once per program that no DPU runs."""
    warnings.warn("vart is dpuflow's stand-in: jobs are emulated on this computer, no DPU runs", stacklevel=3)
