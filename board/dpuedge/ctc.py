"""Reading a word off a network's time steps: connectionist temporal classification (CTC).

A network trained with the CTC loss (A. Graves and others, ICML 2006) gives scores of C symbols, one of
them the blank, at each of T steps. A path of T symbols stands for the word that is left when repeats
are merged and blanks dropped; a word's probability is the sum over all its paths. Two ways to a
word: :func:`greedy` takes the best symbol at each step, :func:`beam_search` follows the ``width`` best
words at once and sums over their paths. Python 2.7 and 3.5+.
"""
from __future__ import division

import numpy as np

BEAM_WIDTH = 10
_NEVER = -1e30  # a log probability of zero that can still be added and compared


def log_softmax(scores):
    """Log probabilities over the last axis, float64; safe for scores of any size.

    >>> np.exp(log_softmax([1000.0, 1000.0])).tolist()
    [0.5, 0.5]
    """
    scores = np.asarray(scores, np.float64)
    scores = scores - scores.max(axis=-1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))


def collapse(path, blank):
    """The word of one path of symbols: repeats merged, blanks dropped.

    >>> collapse([3, 3, 9, 3, 5, 9], 9)
    (3, 3, 5)
    """
    path = np.asarray(path)
    kept = path != blank
    kept[1:] &= path[1:] != path[:-1]
    return tuple(path[kept].tolist())


def greedy(scores, blank):
    """The words of the best paths of scores (N, T, C): a list of N tuples of symbols."""
    return [collapse(path, blank) for path in np.asarray(scores).argmax(axis=-1)]


def word_probabilities(scores, words, blank):
    """The probability of each word under scores (N, T, C), summed over all its paths: float64 (N,).

    >>> scores = np.log([[[0.6, 0.4], [0.6, 0.4]]])  # one symbol and the blank, two steps
    >>> word_probabilities(scores, [(0,)], 1).round(6).tolist(), word_probabilities(scores, [()], 1).round(6).tolist()
    ([0.84], [0.16])
    """
    logs = log_softmax(scores)
    count, states = len(words), 2 * max([len(word) for word in words] or [0]) + 1
    if not count:
        return np.zeros(0)
    rows = np.arange(count)
    symbols = np.full((count, states), blank)
    for row, word in enumerate(words):
        symbols[row, 1:2 * len(word):2] = word
    ends = np.array([2 * len(word) for word in words])
    emitted = logs[rows[:, None], :, symbols]  # (N, states, T)
    skips = np.zeros((count, states), bool)  # over a blank between two different symbols
    skips[:, 2:] = (symbols[:, 2:] != blank) & (symbols[:, 2:] != symbols[:, :-2])
    forward = np.full((count, states), _NEVER)
    forward[:, :2] = emitted[:, :2, 0]
    for step in range(1, logs.shape[1]):
        before = forward
        forward = before.copy()
        forward[:, 1:] = np.logaddexp(forward[:, 1:], before[:, :-1])
        jumped = np.where(skips[:, 2:], before[:, :-2], _NEVER)
        forward[:, 2:] = np.logaddexp(forward[:, 2:], jumped)
        forward = forward + emitted[:, :, step]
    last = np.where(ends > 0, forward[rows, np.maximum(ends - 1, 0)], _NEVER)
    return np.exp(np.logaddexp(forward[rows, ends], last))


def beam_search(scores, blank, width=BEAM_WIDTH):
    """The best words of one image's scores (T, C), best first: at most ``width`` pairs (word, probability).

    The probability sums over those paths of the word that stayed in the beam: a lower bound.

    >>> scores = np.log([[0.4, 0.6], [0.4, 0.6]])  # the best path is blank, blank; the likelier word is (0,)
    >>> [(word, round(p, 6)) for word, p in beam_search(scores, 1)]
    [((0,), 0.64), ((), 0.36)]
    """
    logs = log_softmax(scores)
    words, ended, open_ = [()], np.zeros(1), np.full(1, _NEVER)  # log probabilities: last step blank, or a symbol
    for step in logs:
        words, ended, open_ = _advance(words, ended, open_, step, blank, width)
    totals = np.logaddexp(ended, open_)
    order = np.argsort(-totals, kind="mergesort")
    return [(words[index], float(np.exp(totals[index]))) for index in order]


def _advance(words, ended, open_, step, blank, width):
    """One step of the beam: every word stays as it is or grows by one symbol; the ``width`` best are kept."""
    total = np.logaddexp(ended, open_)
    stay_ended = total + step[blank]
    stay_open = np.array([open_[at] + step[word[-1]] if word else _NEVER for at, word in enumerate(words)])
    grown = total[:, None] + step[None, :]
    place = dict((word, at) for at, word in enumerate(words))
    for at, word in enumerate(words):
        if word:  # a repeated symbol is a new one only after a blank
            grown[at, word[-1]] = ended[at] + step[word[-1]]
    grown[:, blank] = 2 * _NEVER
    for at, word in enumerate(words):
        parent = place.get(word[:-1]) if word else None
        if parent is not None:  # the same word reached in two ways
            stay_open[at] = np.logaddexp(stay_open[at], grown[parent, word[-1]])
            grown[parent, word[-1]] = 2 * _NEVER
    ranks = np.concatenate([np.logaddexp(stay_ended, stay_open), grown.reshape(-1)])
    best = [index for index in np.argsort(-ranks, kind="mergesort")[:width] if ranks[index] > _NEVER]
    made = [_candidate(int(index), words, stay_ended, stay_open, grown) for index in best]
    return [word for word, _, _ in made], np.array([e for _, e, _ in made]), np.array([o for _, _, o in made])


def _candidate(index, words, stay_ended, stay_open, grown):
    if index < len(words):
        return words[index], stay_ended[index], stay_open[index]
    parent, symbol = divmod(index - len(words), grown.shape[1])
    return words[parent] + (symbol,), _NEVER, grown[parent, symbol]
