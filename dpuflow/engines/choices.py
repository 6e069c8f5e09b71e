"""Which library computed a network faster on this computer, by size of batch."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence

import numpy as np

from dpuflow.engines.remembered import Store, state
from dpuflow.ir.graph import Graph, Node

STORE = Store("choices.json", 256)


class Choices:
    """The choices for one network and number of threads.

    Only speed depends on them: whoever follows one still compares the libraries' bits.
    """

    def __init__(self, graph: Graph, threads: int, packages: Sequence[str]) -> None:
        self.graph, self.threads, self.packages = graph, threads, packages
        self.base: str | None = None

    def known(self, wanted: Sequence[str], batch: int) -> str | None:
        """The library that was faster, if that was ever measured."""
        key = self._key(wanted, batch)
        found = STORE.all().get(key) if key else None
        return found if isinstance(found, str) else None

    def keep(self, wanted: Sequence[str], batch: int, library: str) -> None:
        """Note the faster library."""
        key = self._key(wanted, batch)
        if key:
            STORE.keep(key, library)

    def _key(self, wanted: Sequence[str], batch: int) -> str | None:
        if self.base is None:
            here = state(*self.packages)
            self.base = f"{here}\n{self.threads}\n{_outline(self.graph)}" if here else ""
        text = f"{self.base}\n{' '.join(wanted)}\n{batch}"
        return hashlib.sha256(text.encode()).hexdigest() if self.base else None


def _outline(graph: Graph) -> str:
    """One text that differs where networks do."""
    return "\n".join(_line(node) for node in graph.nodes)


def _line(node: Node) -> str:
    data = "" if node.data is None else f"{node.data.dtype} {zlib.crc32(np.ascontiguousarray(node.data).data)}"
    return f"{node.op} {node.name} {node.inputs} {node.attrs} {node.shape} {node.fix} {data}"
