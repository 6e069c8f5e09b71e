# ruff: noqa - must run on Python 2.7 too, newer spelling would break it
"""Tests of dpuedge.ctc against a sum over all paths. Python 2.7 and 3.5+."""
import itertools

import numpy as np
import pytest

from dpuedge import ctc


def all_words(scores, blank):
    """The probability of every word, path by path."""
    probabilities = np.exp(ctc.log_softmax(scores))
    totals = {}
    for path in itertools.product(range(scores.shape[1]), repeat=len(scores)):
        word, last = [], None
        for symbol in path:
            if symbol != last and symbol != blank:
                word.append(symbol)
            last = symbol
        probability = 1.0
        for step, symbol in enumerate(path):
            probability *= probabilities[step, symbol]
        totals[tuple(word)] = totals.get(tuple(word), 0.0) + probability
    return totals


@pytest.mark.parametrize("seed", range(6))
def test_probabilities_and_beam_are_sums_over_paths(seed):
    scores = np.random.RandomState(seed).normal(0, 2, (5, 3))
    expected = all_words(scores, 2)
    words = sorted(expected)
    got = ctc.word_probabilities(np.stack([scores] * len(words)), words, 2)
    np.testing.assert_allclose(got, [expected[word] for word in words], rtol=1e-9)
    beam = ctc.beam_search(scores, 2, 1000)
    assert len(beam) == len(words)
    for word, probability in beam:
        assert probability == pytest.approx(expected[word])
    assert beam[0][0] == max(expected, key=expected.get)
    assert [p for _, p in beam] == sorted([p for _, p in beam], reverse=True)


def test_a_narrow_beam_keeps_its_width_and_never_overstates():
    scores = np.random.RandomState(9).normal(0, 1, (6, 4))
    expected = all_words(scores, 3)
    beam = ctc.beam_search(scores, 3, 2)
    assert len(beam) == 2
    assert all(probability <= expected[word] + 1e-12 for word, probability in beam)


@pytest.mark.parametrize("path, word", [
    ([4, 4, 4], ()), ([1, 1, 1], (1,)), ([1, 4, 1], (1, 1)), ([1, 2, 2, 4, 2], (1, 2, 2)), ([4, 0, 4, 4], (0,)),
])
def test_greedy_merges_repeats_and_drops_blanks(path, word):
    scores = np.full((1, len(path), 5), -1.0)
    scores[0, np.arange(len(path)), path] = 3.0
    assert ctc.greedy(scores, 4) == [word]


def test_repeated_symbols_need_a_blank_between():
    scores = np.zeros((1, 2, 2))
    assert ctc.word_probabilities(scores, [(0, 0)], 1)[0] == 0.0
    assert ctc.word_probabilities(np.zeros((1, 3, 2)), [(0, 0)], 1)[0] == pytest.approx(1.0 / 8)


def test_the_blank_may_be_any_output():
    scores = np.random.RandomState(3).normal(0, 1, (4, 3))
    turned = scores[:, [1, 2, 0]]
    assert ctc.word_probabilities(turned[None], [(0, 1)], 2)[0] == pytest.approx(
        ctc.word_probabilities(scores[None], [(1, 2)], 0)[0])
    assert [p for _, p in ctc.beam_search(turned, 2)] == pytest.approx([p for _, p in ctc.beam_search(scores, 0)])


def test_no_images_and_scores_of_any_size():
    assert ctc.word_probabilities(np.zeros((0, 4, 3)), [], 2).shape == (0,)
    assert ctc.greedy(np.zeros((0, 4, 3)), 2) == []
    huge = np.array([[1e5, -1e5, 0.0], [-1e5, 1e5, 0.0]])
    assert ctc.beam_search(huge, 2)[0] == ((0, 1), 1.0)
