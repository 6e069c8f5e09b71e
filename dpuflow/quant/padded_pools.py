"""Padded average pools: simulation and DPU compute them differently (arithmetic specification, section 6.2)."""

from __future__ import annotations

import warnings

from dpuflow.ir.graph import Graph


def padded_pools(network: Graph) -> list[str]:
    """The average pools whose windows reach over the border of the map."""
    return [node.name for node in network.nodes if node.op == "avg_pool" and any(node.attrs.padding)]


def warn_padded_pools(network: Graph) -> None:
    """Name them: at the border TensorFlow divides by the real pixels, the DPU always by the whole kernel."""
    names = padded_pools(network)
    if names:
        warnings.warn(f"[DECENT_WARNING] Padded average pool: {', '.join(names)}. At the border the simulated graph "
                      "divides by the pixels inside the image, the DPU always by the whole kernel: results there "
                      "differ. Use VALID padding, or train with the DPU's rule.", stacklevel=3)
