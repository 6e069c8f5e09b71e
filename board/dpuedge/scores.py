"""From logits to what a person reads: probabilities, P(real), the best classes.

The network has one output per real class and, if it was trained as a semi-supervised GAN, one for
"fake". A picture's class is its best *real* class; whether it is a character at all is P(real)
(issue: P(real) = sigmoid(logsumexp(real logits) - fake logit)). The softmax runs over all outputs, so
the probabilities of the real classes add up to P(real). All in float64, with the maximum subtracted
(board specification, section 6). Python 2.7 and 3.5+.
"""
from __future__ import division

from collections import namedtuple

import numpy as np


class Guess(namedtuple("Guess", "index label probability")):
    """One class: its position among the real classes, its label, its probability."""

    __slots__ = ()


def softmax(logits):
    """Softmax over the last axis, float64; safe for logits of any size.

    >>> softmax([1000.0, 1000.0]).tolist()
    [0.5, 0.5]
    """
    logits = np.asarray(logits, np.float64)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def logsumexp(logits):
    """``log(sum(exp(logits)))`` over the last axis, float64, without overflow."""
    logits = np.asarray(logits, np.float64)
    top = logits.max(axis=-1, keepdims=True)
    return np.log(np.exp(logits - top).sum(axis=-1)) + top[..., 0]


def sigmoid(values):
    """``1 / (1 + exp(-values))`` without overflow for values of either sign.

    >>> sigmoid([0.0, -1e4, 1e4]).tolist()
    [0.5, 0.0, 1.0]
    """
    values = np.asarray(values, np.float64)
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1.0, small) / (1.0 + small)


def drop_fake(values, fake_class):
    """``values`` (..., C) without the column of the fake class; unchanged when that is None."""
    values = np.asarray(values)
    return values if fake_class is None else np.delete(values, fake_class, axis=-1)


def p_real(logits, fake_class):
    """P(real) of logits (..., C): shape (...), float64; all ones when there is no fake class.

    >>> p_real([0.0, 0.0, 0.0, 0.0], 3).tolist()
    0.75
    """
    logits = np.asarray(logits, np.float64)
    if fake_class is None:
        return np.ones(logits.shape[:-1])
    return sigmoid(logsumexp(drop_fake(logits, fake_class)) - logits[..., fake_class])


def classify(logits, fake_class):
    """Index of the best real class of logits (..., C); the lowest index wins a tie."""
    return np.argmax(drop_fake(logits, fake_class), axis=-1)


def top_k(logits, labels, fake_class, count):
    """The ``count`` best real classes of one row of logits (C,), best first; ties by index."""
    probabilities = drop_fake(softmax(logits), fake_class)
    order = np.argsort(-probabilities, kind="mergesort")[:count]
    return [Guess(int(index), labels[int(index)], float(probabilities[index])) for index in order]
