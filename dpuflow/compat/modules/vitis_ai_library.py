"""The vendor's module name ``vitis_ai_library``, on the path only inside ``dpuflow compat run``."""

from dpuflow.compat.vart_runner import GraphRunner

__all__ = ["GraphRunner"]
