"""The vendor's module name ``pynq_dpu``, on the path only inside ``dpuflow compat run``."""

from dpuflow.compat.pynq_overlay import DpuOverlay

__all__ = ["DpuOverlay"]
