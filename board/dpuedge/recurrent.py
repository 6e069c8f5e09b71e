"""A long short-term memory (LSTM) layer in NumPy, for the processor behind the DPU. Python 2.7 and 3.5+.

The equations are Keras's: gates in the order input, forget, cell, output; sigmoid and tanh; one bias;
a state of zeros before the first step.
"""
from __future__ import division

import numpy as np


def lstm(x, kernel, recurrent, bias, reverse=False):
    """The outputs of all steps: x (N, T, C), kernel (C, 4U), recurrent (U, 4U), bias (4U) to (N, T, U), float32.

    ``reverse`` reads the sequence from its end; outputs stand at the steps that they belong to.
    """
    count, steps, _ = x.shape
    units = recurrent.shape[0]
    # sigmoid(v) = tanh(v / 2) / 2 + 1 / 2: with the halves in the weights one tanh serves all four gates.
    halves = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), units)
    recurrent = np.ascontiguousarray(recurrent * halves, dtype=np.float32)
    drive = (np.dot(x.reshape(count * steps, -1), kernel) + bias) * halves
    drive = np.ascontiguousarray(drive.reshape(count, steps, -1).swapaxes(0, 1), dtype=np.float32)
    result = np.empty((steps, count, units), np.float32)
    state, cell = np.zeros((count, units), np.float32), np.zeros((count, units), np.float32)
    for step in (range(steps - 1, -1, -1) if reverse else range(steps)):
        gates = np.dot(state, recurrent)
        gates += drive[step]
        np.tanh(gates, out=gates)
        entry, kept, new, shown = (gates[:, at:at + units] for at in range(0, 4 * units, units))
        cell *= kept * _HALF + _HALF
        cell += (entry * _HALF + _HALF) * new
        np.multiply(shown * _HALF + _HALF, np.tanh(cell), out=result[step])
        state = result[step]
    return np.ascontiguousarray(result.swapaxes(0, 1))


_HALF = np.float32(0.5)
