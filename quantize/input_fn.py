"""Calibration images for decent_q: ``--input_fn input_fn.calibration_input``.

Runs in the vendor's container too (Python 2.7 and 3.6, NumPy). The train stage left preprocessed
images; the environment says where: DPUFLOW_CALIBRATION (a .npz with an array ``x``),
DPUFLOW_CALIBRATION_BATCH (default 128) and DPUFLOW_INPUT_NODE (default input_real).
"""
from __future__ import division, print_function

import os

import numpy as np

_CACHE = {}


def _images():
    path = os.environ.get("DPUFLOW_CALIBRATION")
    if not path:
        raise ValueError("DPUFLOW_CALIBRATION does not name the calibration images (.npz with an array x)")
    if path not in _CACHE:
        with np.load(path) as archive:
            _CACHE[path] = archive["x"]
    return _CACHE[path]


def calibration_input(iter):
    """One batch, NHWC float32; wraps around at the end of the images."""
    images = _images()
    batch = int(os.environ.get("DPUFLOW_CALIBRATION_BATCH", "128"))
    rows = (np.arange(batch) + iter * batch) % len(images)
    return {os.environ.get("DPUFLOW_INPUT_NODE", "input_real"): images[rows].astype(np.float32)}
