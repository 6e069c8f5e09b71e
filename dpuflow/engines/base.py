"""What every engine offers: int8 or float arrays in, arrays by tensor name out."""

from __future__ import annotations

import abc
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from dpuedge import fixed
from dpuflow.engines.evaluate import check_input
from dpuflow.errors import EngineError, GraphError
from dpuflow.ir.graph import Array, Graph, Node

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

INPUT_MODES = {"quantizer": "half_up", "runtime": "trunc"}


def encode_input(node: Node, value: Array, input_mode: str = "quantizer") -> Array:
    """An input as the network holds it: int8 stays, floats are rounded onto the input's grid.

    "quantizer" rounds half up and saturates; "runtime" truncates as board runtimes do, and a value
    out of range is an error (arithmetic specification, section 9).
    """
    value = np.asarray(value)
    check_input(node, value)
    if value.dtype == np.int8 and node.fix is not None:
        return value
    if node.fix is None:
        return value.astype(np.float32)
    if value.dtype.kind not in "fiu":
        raise GraphError("the input is not an array of numbers", where=f"input '{node.name}'", got=value.dtype)
    if value.dtype.kind == "f" and np.isnan(value).any():
        raise GraphError("the input holds NaN", where=f"input '{node.name}'", remedy="clean the data")
    if input_mode == "runtime":
        _check_range(node, value)
    return fixed.quantize(value, node.fix.pos, INPUT_MODES[input_mode], node.fix.bits)


def _check_range(node: Node, value: Array) -> None:
    assert node.fix is not None
    low, high = fixed.int_range(node.fix.bits)
    scaled = fixed.trunc(value.astype(np.float64) * 2.0**node.fix.pos)
    if scaled.min() < low or scaled.max() > high:
        raise GraphError("a value is outside the range of the input's position", where=f"input '{node.name}'",
                         expected=f"{low}..{high} after scaling by 2**{node.fix.pos}",
                         got=f"{scaled.min():g}..{scaled.max():g}",
                         remedy="saturate the input, or use the quantizer's input mode")


@lru_cache(maxsize=1)
def _workers() -> ThreadPoolExecutor:
    """The threads of asynchronous runs, shared by all engines of the process."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(max_workers=max(os.cpu_count() or 1, 2), thread_name_prefix="dpuflow")


class Engine(abc.ABC):
    """Runs one network. ``description`` says in words what computes it."""

    name: str = ""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._known: set[tuple[str, ...]] = set()  # lists of tensors that were found to exist

    @property
    @abc.abstractmethod
    def description(self) -> str:
        """What computes which layer."""

    @abc.abstractmethod
    def compute(self, values: dict[str, Array], wanted: tuple[str, ...]) -> Mapping[str, Array]:
        """The wanted tensors, int8 where the network is quantized, from the inputs' values."""

    def run(self, inputs: Mapping[str, Array] | Array, tensors: Iterable[str] | None = None,
            int8: bool = False, input_mode: str = "quantizer") -> dict[str, Array]:
        """Arrays by name: the outputs, or the tensors asked for.

        ``inputs``: one array (N, H, W, C) per input, float in the network's scale or int8; one
        array alone for a network with one input. Quantized tensors come back as float32, or with
        ``int8`` as the integers themselves.
        """
        wanted = self.graph.outputs if tensors is None else tuple(tensors)
        if wanted not in self._known:
            self._known.add(tuple(self.graph.node(name).name for name in wanted))
        results = self.compute(self.encode(inputs, input_mode), wanted)
        return {name: results[name] if int8 else self.decode(name, results[name]) for name in wanted}

    def run_async(self, inputs: Mapping[str, Array] | Array, tensors: Iterable[str] | None = None,
                  int8: bool = False, input_mode: str = "quantizer") -> Future[dict[str, Array]]:
        """:meth:`run` on a thread of its own; the future holds its result or its error.

        Engines release Python's lock while they compute, so several of them run side by side. The
        inputs must not be changed before the future is done.
        """
        return _workers().submit(self.run, inputs, tensors, int8, input_mode)

    def encode(self, inputs: Mapping[str, Array] | Array, input_mode: str) -> dict[str, Array]:
        """The inputs as the network holds them."""
        nodes = self.graph.inputs
        # The common case first: asking whether an array is a Mapping costs as much as all the rest.
        if isinstance(inputs, np.ndarray) or not isinstance(inputs, Mapping):
            if len(nodes) == 1:
                return {nodes[0].name: encode_input(nodes[0], inputs, input_mode)}
            raise GraphError("the network has several inputs", expected=", ".join(n.name for n in nodes),
                             got="one array", remedy="give a dict of arrays by input name")
        missing = [node.name for node in nodes if node.name not in inputs]
        if missing:
            raise GraphError("no value for an input", where=", ".join(missing))
        values = {node.name: encode_input(node, inputs[node.name], input_mode) for node in nodes}
        if len({value.shape[0] for value in values.values()}) > 1:
            raise GraphError("the inputs' batches differ")
        return values

    def decode(self, name: str, value: Array) -> Array:
        """A tensor in real units, float32."""
        fix = self.graph.by_name[name].fix
        return fixed.dequantize(value, fix.pos) if fix else np.asarray(value, np.float32)


def engine_unavailable(name: str, reason: str) -> EngineError:
    """The error of an engine that cannot serve here."""
    return EngineError(reason, where=f"engine {name!r}",
                       remedy="use --engine reference, which is exact everywhere")
