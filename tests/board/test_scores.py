# ruff: noqa - must run on Python 2.7 too, newer spelling would break it
"""Tests of dpuedge.scores. Python 2.7 and 3.5+."""
from __future__ import division

import math

import numpy as np
import pytest

from dpuedge import scores


def test_softmax_of_literal_logits():
    assert scores.softmax([0.0, math.log(3.0)]).tolist() == pytest.approx([0.25, 0.75])
    assert scores.softmax([[0.0, 0.0], [5.0, 5.0]]).tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_softmax_and_p_real_do_not_overflow():
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, 1e4]])
    assert np.isfinite(scores.softmax(logits)).all()
    assert scores.p_real(logits, 2).tolist() == [1.0, 0.0]


def test_p_real_is_the_sigmoid_of_logsumexp_minus_fake():
    logits = np.array([0.5, -1.25, 2.0, 1.5])
    expected = 1 / (1 + math.exp(1.5 - math.log(math.exp(0.5) + math.exp(-1.25) + math.exp(2.0))))
    assert float(scores.p_real(logits, 3)) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("fake", [0, 1, 3])
def test_p_real_is_what_softmax_leaves_for_the_real_classes(fake):
    logits = np.random.RandomState(3).normal(0, 4, (50, 4))
    real = scores.drop_fake(scores.softmax(logits), fake).sum(axis=-1)
    assert scores.p_real(logits, fake) == pytest.approx(real, abs=1e-12)


def test_p_real_without_a_fake_class_is_one():
    assert scores.p_real(np.zeros((2, 5)), None).tolist() == [1.0, 1.0]


def test_the_fake_class_never_is_the_answer():
    assert scores.classify([[1.0, 9.0, 2.0]], 1).tolist() == [1]  # the second real class stands at output 2
    top = scores.top_k([1.0, 9.0, 2.0], ("A", "b"), 1, 5)
    assert [guess.label for guess in top] == ["b", "A"]
    assert top[0].probability == pytest.approx(math.exp(2) / (math.exp(1) + math.exp(9) + math.exp(2)))


def test_ties_go_to_the_lowest_index():
    assert scores.classify([3.0, 3.0, 3.0], None) == 0
    assert [guess.index for guess in scores.top_k([1.0, 3.0, 3.0, 1.0], "abcd", None, 4)] == [1, 2, 0, 3]


def test_top_k_agrees_with_classify():
    for logits in np.random.RandomState(5).normal(0, 2, (20, 6)):
        assert scores.top_k(logits, "abcde", 2, 1)[0].index == scores.classify(logits, 2)
