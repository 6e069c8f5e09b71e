"""A plan that quantizes a frozen graph with the vendor's quantizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from dpuflow.vendor.plan import Plan
from dpuflow.vendor.releases import Release

_INPUT_FN = "calibration_input.py"
# Runs inside the vendor's image: Python 2.7 and 3.6.
_INPUT_FN_TEXT = '''"""Calibration batches from calibration.npz: an array for each input node."""
import os

import numpy as np

ARRAYS = dict(np.load(os.path.join(os.path.dirname(os.path.abspath(__file__)), "calibration.npz")).items())
BATCH = {batch}


def calibration_input(iter):
    """The batch of one iteration, by input node."""
    return dict((name, array[iter * BATCH:(iter + 1) * BATCH]) for name, array in ARRAYS.items())
'''


@dataclass(frozen=True)
class QuantizeRequest:
    """What to quantize: frozen graph, nodes, calibration images by input node (``.npz``)."""

    frozen_graph: Path
    calibration: Path
    input_nodes: Sequence[str]
    input_shapes: Sequence[Sequence[int]]
    output_nodes: Sequence[str]
    method: int = 1
    calib_iter: int = 10
    batch: int = 128


def quantize_plan(request: QuantizeRequest, release: Release) -> Plan:
    """The plan; its products are the two graphs that ``decent_q`` writes (1.4 and later: one)."""
    shapes = ":".join(",".join(("?", *map(str, shape[1:]))) for shape in request.input_shapes)
    command = [
        release.quantizer, "quantize", "--input_frozen_graph", "frozen_model.pb",
        "--input_nodes", ",".join(request.input_nodes), "--input_shapes", shapes,
        "--output_nodes", ",".join(request.output_nodes), "--input_fn", "calibration_input.calibration_input",
        "--method", str(request.method), "--calib_iter", str(request.calib_iter), "--output_dir", "../out",
    ]
    writes_deploy = release.compiler_input == "deploy_model.pb" or release.name == "1.3"
    products = ("quantize_eval_model.pb", *(("deploy_model.pb",) if writes_deploy else ()))
    return Plan(
        f"quantize {request.frozen_graph.name} with the vendor's {release.quantizer}", release,
        {"frozen_model.pb": request.frozen_graph, "calibration.npz": request.calibration},
        (" ".join(map(quote, command)),), products,
        {_INPUT_FN: _INPUT_FN_TEXT.format(batch=request.batch)},
        notes=("afterwards `dpuflow diff` compares the vendor's files with ours",),
    )
