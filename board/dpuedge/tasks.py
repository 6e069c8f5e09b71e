"""What networks are for: a literal table of tasks, each reading scores in its own way. Python 2.7 and 3.5+.

=================  ======================================================================================
classification     one row of logits, a label for each (and one output for "none of them")
ctc                a row of scores for each time step, the labels being symbols and one output the blank
=================  ======================================================================================
"""
from __future__ import division

from collections import namedtuple

import numpy as np

from dpuedge import ctc, scores, tail
from dpuedge.errors import ManifestError

CLASSIFICATION, CTC = "classification", "ctc"
REBUILD = "compile the model again (make compile) and keep both files together"


class Task(namedtuple("Task", "check read result")):
    """``check(model, where)`` raises ManifestError; ``read(output, model, options)`` gives the fields of ``result``.

    ``output`` is the DPU's, in real units and of the output tensor's shape.
    """

    __slots__ = ()


class Prediction(namedtuple("Prediction", "name best p_real top logits times")):
    """One image's class; ``logits`` are the int8 values (C,) as the network gave them."""

    __slots__ = ()


class Reading(namedtuple("Reading", "name text confidence logits times")):
    """One image's text and the probability of that text; ``logits``: the int8 values that left the DPU."""

    __slots__ = ()


# -- classification -------------------------------------------------------------------------------------

def _check_classes(model, where):
    """One row of logits out, a label for each class."""
    shape = model.outputs[0].shape
    classes = shape[-1]
    if len(shape) > 2 and max(shape[:-1]) > 1:
        raise ManifestError("the output is not one row of logits", where=where, got=shape, expected=(1, classes))
    if tail.layers(model.cpu_tail):
        raise ManifestError("layers behind the DPU's logits", where=where, expected="a softmax at most",
                            got=", ".join(step["op"] for step in model.cpu_tail), remedy=REBUILD)
    if model.fake_class is not None and not 0 <= model.fake_class < classes:
        raise ManifestError("the fake class is not one of the outputs", where=where,
                            expected="0..%d" % (classes - 1), got=model.fake_class, remedy=REBUILD)
    named = classes - (model.fake_class is not None)
    if len(model.labels) != named:
        raise ManifestError("the labels do not fit the outputs", where=where, expected="%d labels" % named,
                            got=len(model.labels), remedy=REBUILD)


def _read_class(output, model, options):
    logits = output.reshape(-1)
    top = scores.top_k(logits, model.labels, model.fake_class, max(options.topk, 1))
    return {"best": top[0], "p_real": float(scores.p_real(logits, model.fake_class)), "top": top}


# -- text -----------------------------------------------------------------------------------------------

def steps_of(model, output):
    """Scores (N, T, C) of the steps from the DPU's output in real units, through the layers behind it."""
    result = tail.scores(model, output)
    return result.reshape(result.shape[0], -1, result.shape[-1])


def _check_text(model, where):
    """A row of scores for each step, behind whatever the processor computes: tried once with zeros."""
    try:
        shape = steps_of(model, np.zeros(model.outputs[0].shape, np.float32)).shape
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise ManifestError("the layers behind the DPU do not fit its output (%s)" % error, where=where,
                            remedy=REBUILD)
    if shape[-1] != len(model.labels) + 1:
        raise ManifestError("the labels do not fit the outputs", where=where, got=len(model.labels),
                            expected="%d labels and the blank" % (shape[-1] - 1), remedy=REBUILD)
    if model.blank != shape[-1] - 1:
        raise ManifestError("the blank is not the last output", where=where, expected=shape[-1] - 1,
                            got=model.blank, remedy=REBUILD)


def _read_text(output, model, options):
    found = steps_of(model, output)
    beam = getattr(options, "beam", None)
    word = ctc.beam_search(found[0], model.blank, beam)[0][0] if beam else ctc.greedy(found, model.blank)[0]
    confidence = float(ctc.word_probabilities(found, [word], model.blank)[0])
    return {"text": "".join(model.labels[symbol] for symbol in word), "confidence": confidence}


TASKS = {
    CLASSIFICATION: Task(_check_classes, _read_class, Prediction),
    CTC: Task(_check_text, _read_text, Reading),
}
