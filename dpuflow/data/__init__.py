"""Data sets for training, calibration and evaluation, as gray pictures with labels."""
