"""The model manifest: what a runner needs to know beside the model file.

Read on the board by ``dpuedge.manifest``, which defines the schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dpuflow.compiler.compiled import Compiled
from dpuflow.target.arch import core_fields

SCHEMA = 1


def _tensor(compiled: Compiled, name: str) -> dict[str, Any]:
    node = compiled.graph.by_name[name]
    made: dict[str, Any] = {"name": name, "shape": list(node.shape)}
    if node.fix:
        made["fix_point"] = node.fix.pos
    return made


def model_manifest(compiled: Compiled, files: Mapping[str, str], info: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest as JSON values. ``files``: SHA-256 by file name; ``info``: labels, fake_class,
    preprocessing as the train stage recorded them."""
    from dpuflow import __version__

    first, last = compiled.dpu_kernels[0], compiled.dpu_kernels[-1]
    tail = [node for kernel in compiled.kernels if kernel.id > last.id for node in compiled.nodes(kernel)]
    inputs = first.inputs or tuple(node.name for node in compiled.graph.inputs)
    known = {key: info[key] for key in ("preprocessing", "labels", "fake_class") if key in info}
    return {
        "schema": SCHEMA, "name": compiled.name, "kernel": first.name, "tool": f"dpuflow {__version__}",
        "inputs": [_tensor(compiled, name) for name in inputs],
        "outputs": [_tensor(compiled, name) for name in last.outputs],
        "cpu_tail": [{"name": node.name, "op": node.op} for node in tail],
        "core": {"target": compiled.core.name, **core_fields(compiled.core), "name": compiled.core.arch},
        "files": dict(files), **known,
    }
