"""dpuflow: bring a neural network onto a Xilinx DPU, and emulate it bit for bit.

    network = dpuflow.load("frozen_model.pb")
    quantized = dpuflow.quantize(network, images)
    compiled = dpuflow.compile(quantized, target="zedboard")
    outputs = dpuflow.run(compiled, images)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpuflow.api import compile, load, quantize, run

__version__ = "0.1.0"
__all__ = ["compile", "load", "quantize", "run"]


def __getattr__(name: str) -> Any:
    # Loaded on first use, so that `import dpuflow` costs next to nothing.
    if name in __all__:
        from dpuflow import api

        return getattr(api, name)
    raise AttributeError(f"module 'dpuflow' has no attribute {name!r}")
