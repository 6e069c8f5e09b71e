"""The layers behind the DPU, in NumPy: what the processor of a board computes. Python 2.7 and 3.5+.

The model's manifest lists them as steps in order: an operator of :data:`OPS`, the tensors that it
reads, its attributes, and its weights by name, which lie in ``<stem>.tail.npz``. A closing softmax
is never computed here: whoever reads the scores does what it needs with them.
"""
from __future__ import division

import numpy as np

from dpuedge.recurrent import lstm


def _lstm(operands, weights, attrs):
    return lstm(operands[0], weights[0], weights[1], weights[2], bool(attrs.get("reverse", False)))


def _dense(operands, weights, attrs):
    """(..., C) and (C, O) to (..., O)."""
    x, kernel = operands[0], weights[0]
    result = np.dot(x.reshape(-1, x.shape[-1]), kernel).reshape(x.shape[:-1] + (kernel.shape[1],))
    if len(weights) > 1:
        result = result + weights[1]
    return np.maximum(result, np.float32(0)) if attrs.get("nonlinear") == "relu" else result


def _concat(operands, _weights, attrs):
    return np.concatenate(operands, axis=int(attrs["axis"]))


def _reshape(operands, _weights, attrs):
    return operands[0].reshape((operands[0].shape[0],) + tuple(int(size) for size in attrs["shape"]))


def _relu(operands, _weights, _attrs):
    return np.maximum(operands[0], np.float32(0))


def _same(operands, _weights, _attrs):
    return operands[0]


SOFTMAX = "softmax"
OPS = {"lstm": _lstm, "dense": _dense, "concat": _concat, "reshape": _reshape, "relu": _relu, "identity": _same}
NAMES = tuple(sorted(OPS)) + (SOFTMAX,)


def layers(steps):
    """The steps that are computed: all but a closing softmax."""
    return steps[:-1] if steps and steps[-1]["op"] == SOFTMAX else steps


def scores(model, output):
    """What the network says before its closing softmax, float32, from the DPU's ``output`` in real units.

    ``output`` has the shape of the model's output tensor, or more than one image along the first axis.
    """
    last = model.outputs[0].name
    values = {last: output}
    for step in layers(model.cpu_tail):
        last = step["name"]
        values[last] = compute(step, values, model.parameters)
    return values[last]


def compute(step, values, parameters):
    """What one step makes of the tensors before it, ``values`` by name."""
    operands = [values[name] for name in step["inputs"]]
    weights = [parameters[name] for name in step.get("parameters", ())]
    return OPS[step["op"]](operands, weights, step.get("attrs", {}))


def macs(step, values, parameters):
    """Multiplications of a step for one image: every matrix weight once for each row it is applied to."""
    rows = values[step["name"]][0].size // values[step["name"]].shape[-1]
    return rows * sum(parameters[name].size for name in step.get("parameters", ()) if parameters[name].ndim == 2)
