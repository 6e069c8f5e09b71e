"""Read sources one by one, on one or several threads, and take the times. Python 2.7 and 3.5+."""
from __future__ import division, print_function

import time
from collections import namedtuple

import numpy as np

from dpuedge import fixed
from dpuedge.console import as_text
from dpuedge.errors import ImageError
from dpuedge.tasks import TASKS

clock = getattr(time, "perf_counter", time.time)  # Python 2.7 has no perf_counter

ROUNDINGS = {"round": "half_up", "trunc": "trunc"}  # trunc: what N2Cube and VART do with float input


class Times(namedtuple("Times", "pre_ms run_ms post_ms")):
    """Milliseconds of one image.

    ``pre_ms`` reads, preprocesses and quantizes; ``run_ms`` is the back end alone, the median of the
    repetitions; ``post_ms`` makes an answer of its output: the layers behind the DPU, probabilities, decoding.
    """

    __slots__ = ()


class Failure(namedtuple("Failure", "name message")):
    """One source that could not be read, and why."""

    __slots__ = ()


def to_int8(values, tensor, rounding, saturate=True):
    """One image (H, W, C) as the network's int8 input (1, H, W, C); int8 passes unchanged.

    ``rounding`` is "round" (half up, as the quantizer does) or "trunc" (as the board's runtimes do);
    both saturate (board specification, sections 3 and 7), or without ``saturate`` a value beyond int8 is an
    ImageError: N2Cube would end the program, VART would wrap.
    """
    if values.dtype != np.int8:
        if not saturate:
            _check_range(values, tensor, rounding)
        values = fixed.quantize(values, tensor.fix_point, ROUNDINGS[rounding])
    return np.ascontiguousarray(values).reshape(tensor.shape)


def _check_range(values, tensor, rounding):
    half = 0.5 if rounding == "round" else 1.0  # how far beyond the last integer still rounds onto it
    step = 2.0 ** -tensor.fix_point
    low, high = (-128 - half) * step, (127 + half) * step
    if values.min() < low or (rounding == "trunc" and values.min() <= low) or values.max() >= high:
        raise ImageError("a value is beyond the int8 range of the input", where=tensor.name,
                         expected="%g to %g" % (-128 * step, 127 * step), got="%g to %g" % (values.min(), values.max()),
                         remedy="leave out --no-saturate, or scale the input as in training")


def warm_up(runners, model, count):
    """So many runs of zeros on every runner, before anything is timed."""
    zeros = np.zeros(model.inputs[0].shape, np.int8)
    for runner in runners:
        for _ in range(count):
            runner.run(zeros)


def predict(source, model, runner, options):
    """What the model's task makes of one source (``dpuedge.tasks``), or its :class:`Failure`: it cannot be read."""
    started = clock()
    try:
        image = to_int8(source.values(), model.inputs[0], options.quantize_input, options.saturate)
    except ImageError as error:
        return Failure(source.name, as_text(error.__str__()))
    ready = clock()
    runs = [_timed(runner, image) for _ in range(options.repeat)]
    logits, ended, task = runs[0][0], clock(), TASKS[model.task]
    output = fixed.dequantize(logits, model.outputs[0].fix_point).reshape(model.outputs[0].shape)
    fields = task.read(output, model, options)
    times = Times(1e3 * (ready - started), median([ms for _, ms in runs]), 1e3 * (clock() - ended))
    return task.result(name=source.name, logits=logits, times=times, **fields)


def median(values):
    """The middle of a list of numbers, or the mean of the two in the middle.

    >>> median([5.0, 1.0, 2.0]), median([4.0, 1.0])
    (2.0, 2.5)
    """
    ordered = sorted(values)  # np.median would load half of NumPy: 8 ms for the first picture
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _timed(runner, image):
    started = clock()
    logits = runner.run(image)
    return logits, 1e3 * (clock() - started)


def predict_all(sources, model, runners, options):
    """Results of all sources in their order; each of ``runners`` works on a thread of its own."""
    if len(runners) == 1:
        for source in sources:
            yield predict(source, model, runners[0], options)
        return
    from multiprocessing.pool import ThreadPool
    free = list(runners)  # append and pop are atomic; there are as many threads as runners

    def work(source):
        runner = free.pop()
        try:
            return predict(source, model, runner, options)
        finally:
            free.append(runner)

    pool = ThreadPool(len(runners))
    try:
        results = pool.imap(work, sources)
        for _ in sources:
            yield results.next(1e6)  # with a time-out, so that Ctrl-C gets through on Python 2.7
    finally:
        pool.terminate()
