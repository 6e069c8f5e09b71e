"""Calibration data: where batches come from, what is wrong with them, how accuracy is measured."""

from dpuflow.calibration.batches import CalibrationSet
from dpuflow.calibration.sources import Reading, open_calibration

__all__ = ["CalibrationSet", "Reading", "open_calibration"]
