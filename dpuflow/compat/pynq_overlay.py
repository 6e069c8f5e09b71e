"""The stand-in for the vendor's module ``pynq_dpu`` (board specification, section 4).

``DpuOverlay`` takes the name of a bitstream and touches no hardware and no system file; the real
one programs the FPGA, copies an xclbin to /usr/lib and rewrites /etc/vart.conf.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dpuflow.compat.vart_runner import Runner, fail
from dpuflow.compat.xir_graph import Graph


class DpuOverlay:
    """Holds one model's graph and runner."""

    def __init__(self, bitfile_name: str, dtbo: str | None = None, download: bool = True,
                 ignore_version: bool = False, device: Any = None) -> None:
        self.bitfile_name = bitfile_name
        self.graph: Graph | None = None
        self.runner: Runner | None = None

    def download(self) -> None:
        """Nothing to program here."""

    def set_runtime(self, runtime: str) -> None:
        """Only "vart" is emulated."""
        if runtime != "vart":
            raise fail("only the runtime vart is emulated", where="set_runtime", got=runtime)

    def load_model(self, model: str) -> None:
        """Load an ``.xmodel`` with exactly one DPU subgraph, as the real one demands."""
        path = Path(model)
        if not path.is_file():
            path = Path(self.bitfile_name).parent / model
        if not path.is_file():
            raise ValueError(f"File {model} does not exist.")
        if path.suffix != ".xmodel":
            raise RuntimeError("Currently only xmodel files can be loaded.")
        self.graph = Graph.deserialize(str(path))
        found = [child for child in self.graph.get_root_subgraph().toposort_child_subgraph()
                 if child.has_attr("device") and child.get_attr("device").upper() == "DPU"]
        if len(found) != 1:
            raise fail("the overlay takes models with one DPU subgraph", where=path, got=len(found), expected=1)
        self.runner = Runner.create_runner(found[0], "run")
