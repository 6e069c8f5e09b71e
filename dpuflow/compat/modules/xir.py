"""The vendor's module name ``xir``, on the path only inside ``dpuflow compat run``."""

from dpuflow.compat.xir_graph import Graph, Op, Subgraph, Tensor

__all__ = ["Graph", "Op", "Subgraph", "Tensor"]
