"""The vendor's module name ``vart``, on the path only inside ``dpuflow compat run``."""

from dpuflow.compat.vart_runner import Runner, RunnerExt, TensorBuffer, warn_emulated

__all__ = ["Runner", "RunnerExt", "TensorBuffer"]
warn_emulated()
