"""The model manifest: what a runner needs to know beside the model file.

Read on the board by ``dpuedge.manifest``, which defines the schema.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from dpuedge import fixed
from dpuflow.compiler.compiled import Compiled
from dpuflow.ir.graph import Array, Node
from dpuflow.target.arch import core_fields

SCHEMA = 1


def _tensor(compiled: Compiled, name: str) -> dict[str, Any]:
    node = compiled.graph.by_name[name]
    made: dict[str, Any] = {"name": name, "shape": list(node.shape)}
    if node.fix:
        made["fix_point"] = node.fix.pos
    return made


def _tail_step(compiled: Compiled, node: Node, last: bool) -> dict[str, Any]:
    """A layer behind the DPU as ``dpuedge.tail`` computes it; a closing softmax needs no more than its name."""
    step: dict[str, Any] = {"name": node.name, "op": node.op}
    if last and node.op == "softmax":
        return step
    operands = compiled.graph.operands(node)
    step["inputs"] = [operand.name for operand in operands if operand.data is None]
    parameters = [operand.name for operand in operands if operand.data is not None]
    if node.op == "conv2d" and operands[1].shape[:2] == (1, 1) and node.attrs.stride == (1, 1):
        step["op"] = "dense"  # the same at every step
    attrs = {field.name: getattr(node.attrs, field.name) for field in dataclasses.fields(node.attrs)}
    known = {key: attrs[key] for key in ("reverse", "axis", "shape", "nonlinear") if key in attrs}
    return {**step, **({"attrs": known} if known else {}), **({"parameters": parameters} if parameters else {})}


def tail_nodes(compiled: Compiled) -> tuple[Node, ...]:
    """The nodes behind the last DPU kernel, in order."""
    last = compiled.dpu_kernels[-1].id
    return tuple(node for kernel in compiled.kernels if kernel.id > last for node in compiled.nodes(kernel))


def tail_parameters(compiled: Compiled) -> dict[str, Array]:
    """The weights of the layers behind the DPU, float32; those of 1 x 1 convolutions as (in, out)."""
    found: dict[str, Array] = {}
    for node in tail_nodes(compiled):
        for operand in compiled.graph.operands(node):
            if operand.data is not None:
                data = fixed.dequantize(operand.data, operand.fix.pos) if operand.fix else operand.data
                flat = data.reshape(data.shape[2:]) if data.ndim == 4 and data.shape[:2] == (1, 1) else data
                found[operand.name] = np.asarray(flat, np.float32)
    return found


def model_manifest(compiled: Compiled, files: Mapping[str, str], info: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest as JSON values. ``files``: SHA-256 by file name; ``info``: labels, fake_class,
    preprocessing, task and blank as the train stage recorded them."""
    from dpuflow import __version__

    first, last = compiled.dpu_kernels[0], compiled.dpu_kernels[-1]
    tail = tail_nodes(compiled)
    inputs = first.inputs or tuple(node.name for node in compiled.graph.inputs)
    known = {key: info[key] for key in ("preprocessing", "labels", "fake_class", "task", "blank") if key in info}
    return {
        "schema": SCHEMA, "name": compiled.name, "kernel": first.name, "tool": f"dpuflow {__version__}",
        "inputs": [_tensor(compiled, name) for name in inputs],
        "outputs": [_tensor(compiled, name) for name in last.outputs],
        "cpu_tail": [_tail_step(compiled, node, node is tail[-1]) for node in tail],
        "core": {"target": compiled.core.name, **core_fields(compiled.core), "name": compiled.core.arch},
        "files": dict(files), **known,
    }
