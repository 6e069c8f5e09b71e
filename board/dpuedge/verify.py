"""``--verify golden.npz``: the int8 outputs of a back end against the emulator's bits. Python 2.7 and 3.5+.

The file holds ``input`` (N, H, W, C) and ``output`` (N, values), both int8, at the boundary of the
DPU's kernel: what lies inside a kernel cannot be seen from outside it.
"""
from __future__ import division, print_function

import numpy as np

from dpuedge.errors import ImageError

MAKE = "make it with `make board-bundle`"


def load(path, tensor, outputs):
    """The arrays (input, output) of a golden file that fits the model; ImageError if it does not."""
    try:
        with np.load(path) as arrays:
            found = dict((name, arrays[name]) for name in ("input", "output"))
    except (IOError, OSError, ValueError, KeyError) as error:
        raise ImageError("cannot read the golden file (%s)" % error, where=path, remedy=MAKE)
    given, expected = found["input"], found["output"]
    fits = (given.dtype == np.int8 and expected.dtype == np.int8 and given.shape[1:] == tensor.shape[1:]
            and len(given) == len(expected) > 0 and expected.size == len(given) * outputs)
    if not fits:
        raise ImageError("the golden file is for another model", where=path, got="%s %s -> %s %s" % (
            given.dtype, given.shape, expected.dtype, expected.shape), remedy=MAKE)
    return given, expected.reshape(len(given), -1)


def compare(runner, given, expected):
    """Run every image; (images that differ, values that differ, text of the first difference or None)."""
    images, values, first = 0, 0, None
    for index in range(len(given)):
        answer = np.asarray(runner.run(given[index:index + 1])).reshape(-1)
        wrong = np.nonzero(answer != expected[index])[0]
        if len(wrong) and first is None:
            at = int(wrong[0])
            first = "image %d, value %d: %d instead of %d" % (index, at, answer[at], expected[index][at])
        images += bool(len(wrong))
        values += len(wrong)
    return images, values, first
